"""The pool of connections of an event loop to its node, filled by the first call, of objects for asyncio."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from typing import Any, Optional, Sequence

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from . import errors, rules
from .calls import Call
from .link import LOST as LOST_SYNC
from .settings import Settings

LOST = (*LOST_SYNC, asyncio.TimeoutError)


class Link:
    """One per event loop and settings."""

    def __init__(self, where: Settings, timing: rules.Timing) -> None:
        self.where, self.timing = where, timing
        self.process = os.getpid()
        self.users = 0
        self.closed = False
        self.keeper: Optional[Keeper] = None
        self.kind: Any = redis.asyncio.SSLConnection if where.tls else redis.asyncio.Connection
        # By default redis-py sends again what had no reply, up to ten times: every lost reply would count twice.
        self.keywords = {**rules.keywords(where, timing), "retry": Retry(NoBackoff(), 0), "redis_connect_func": self.greet}
        self.pool: Any = redis.asyncio.ConnectionPool(connection_class=self.kind, **self.keywords)

    async def greet(self, connection: Any) -> None:
        """What is asked of every new connection."""
        await connection.on_connect()
        name = (await self.ask(connection, "MISO.FUNCTION")).decode()
        if self.where.function not in (None, name):
            try:
                login = (await self.ask(connection, "ACL", "WHOAMI")).decode()
            except redis.ResponseError:
                login = None
            rules.check_function(self.where, name, login)
        try:
            connection.miso_once = (await self.ask(connection, "COMMAND", "INFO", rules.ONCE))[0] is not None
        except redis.ResponseError:
            connection.miso_once = False
        connection.miso_function = name
        connection.miso_used = time.monotonic()

    @staticmethod
    async def ask(connection: Any, *words: Any) -> Any:
        await connection.send_command(*words)
        return await connection.read_response()

    async def own(self, reply_timeout: Optional[float]) -> Any:
        """A connection outside the pool, for what waits long."""
        connection = self.kind(**{**self.keywords, "socket_timeout": reply_timeout})
        try:
            # The greeting has no time-out of its own on a connection that may wait for ever.
            await asyncio.wait_for(connection.connect(), 2 * self.timing.connect_timeout)
        except BaseException as cause:
            await connection.disconnect(nowait=True)
            if isinstance(cause, Exception):
                raise rules.not_sent(self.where, cause) from cause
            raise
        return connection

    async def take(self) -> Any:
        """A connection of the pool that stands."""
        if self.closed:
            raise errors.NotSent("the object is closed; make a new AsyncMisoObject")
        try:
            connection = await self.pool.get_connection()
        except (redis.RedisError, errors.MisoError, OSError) as cause:
            raise rules.not_sent(self.where, cause) from cause
        try:
            if time.monotonic() - connection.miso_used > self.timing.check_after:
                await self.check(connection)
        except BaseException:
            await self.pool.release(connection)
            raise
        connection.miso_used = time.monotonic()
        return connection

    async def check(self, connection: Any) -> None:
        """A process that was frozen does not know that its connection was closed meanwhile."""
        try:
            await self.ask(connection, "PING")
        except LOST:
            await connection.disconnect(nowait=True)
            try:
                await connection.connect()
            except (redis.RedisError, errors.MisoError, OSError) as cause:
                raise rules.not_sent(self.where, cause) from cause
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def run(self, calls: Sequence[Call[Any]], atomic: Optional[str] = None) -> list[Any]:
        """Runs calls on one connection: in a pipeline, or in MULTI and EXEC under the one id `atomic`, if they
        are few and all of them write. Answers a value or an error for each; raises if the node was not reached or the outcome is unknown."""
        attempts = rules.Attempts(any(call.write for call in calls), self.timing.deadline)
        under = rules.named(calls, atomic)
        while True:
            try:
                connection = await self.take()
            except errors.MisoError as error:
                if self.closed:
                    raise
                attempts.unconnected(error)
                await asyncio.sleep(rules.PAUSE)
                continue
            try:
                once = connection.miso_once and under
                attempts.connected(once)
                replies = await self.attempt(connection, rules.lines(calls, atomic, once))
            except LOST as cause:
                attempts.cut(cause, once)
            else:
                if len(replies) > 1 or not rules.not_yet(replies[0]) or attempts.over():
                    return rules.results(calls, replies, atomic)
            finally:
                await self.pool.release(connection)
            await asyncio.sleep(rules.PAUSE)

    @staticmethod
    async def attempt(connection: Any, lines: list[rules.Line]) -> list[Any]:
        """Sends everything in one go and reads every reply."""
        try:
            await connection.send_packed_command(connection.pack_commands(lines))
            replies: list[Any] = []
            for _ in lines:
                try:
                    replies.append(await connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
            return replies
        except BaseException:
            # A reply that is not read must not be the next call's, also when the task is cancelled.
            await connection.disconnect(nowait=True)
            raise

    async def one(self, call: Call[Any]) -> Any:
        """The value of one call, or its error raised."""
        (result,) = await self.run([call])
        if isinstance(result, errors.MisoError):
            raise result
        return result

    async def long(self, call: Call[Any], seconds: float) -> Any:
        """A read that waits at the server, with a time-out of its own."""
        connection = await self.own(seconds)
        try:
            return await self.answer(connection, call)
        finally:
            await connection.disconnect(nowait=True)

    async def answer(self, connection: Any, call: Call[Any]) -> Any:
        """The result of a call on a connection of its own."""
        try:
            (result,) = rules.results([call], await self.attempt(connection, [call.words]), None)
        except LOST as cause:
            raise errors.Unreachable(f"no reply: {cause}") from cause
        if isinstance(result, errors.MisoError):
            raise result
        return result

    async def function(self) -> str:
        connection = await self.take()
        await self.pool.release(connection)
        return str(connection.miso_function)

    async def register(self, replica: str, ttl: Optional[int]) -> None:
        if self.keeper:
            await self.keeper.stop()
        self.keeper = Keeper(self, replica, ttl)
        await self.keeper.start()

    async def unregister(self) -> bool:
        keeper, self.keeper = self.keeper, None
        if keeper is None:
            return False
        words = ("MISO.UNREGISTER", keeper.function, "REPLICA", keeper.replica)
        # The node may wait until another one has everything.
        call = Call(words, lambda reply: int(reply) == 1)
        try:
            # A connection ends what it has registered itself; another one ends what only a TTL still holds.
            if keeper.connection is None:
                return bool(await self.long(call, rules.UNREGISTER_TIMEOUT))
            return int(await asyncio.wait_for(keeper.ask(words), rules.UNREGISTER_TIMEOUT)) == 1
        except LOST as cause:
            raise errors.Unreachable(f"no reply to MISO.UNREGISTER: {cause}") from cause
        finally:
            await keeper.stop()

    async def close(self) -> None:
        self.users -= 1
        if self.users > 0:
            return
        self.closed = True
        if self.keeper:
            await self.keeper.stop()
        await self.pool.disconnect()


class Keeper:
    """Holds the connection that a registration lives on, and registers again after each reconnect."""

    def __init__(self, link: Link, replica: str, ttl: Optional[int]) -> None:
        self.link, self.replica, self.ttl = link, replica, ttl
        self.function = ""
        self.connection: Any = None
        self.asked: Optional[asyncio.Future[Any]] = None  # Gets the next reply; then nothing is registered again.
        self.task: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        self.connection = await self.open()
        self.task = asyncio.get_running_loop().create_task(self.hold())

    async def open(self) -> Any:
        connection = await self.link.own(None)
        self.function = connection.miso_function
        more = () if self.ttl is None else ("TTL", self.ttl)
        try:
            await self.link.ask(connection, "MISO.REGISTER", self.function, "REPLICA", self.replica, *more)
        except redis.ResponseError as error:
            await connection.disconnect(nowait=True)
            raise errors.of_reply(rules.reply_text(error), "MISO.REGISTER") from error
        return connection

    async def hold(self) -> None:
        pause = rules.PAUSE
        while True:
            try:
                if self.connection is None:
                    self.connection = await self.open()
                    pause = rules.PAUSE
                reply = await self.connection.read_response()
                if self.asked is not None and not self.asked.done():
                    self.asked.set_result(reply)
            except (*LOST, redis.ResponseError, errors.MisoError) as cause:
                if self.asked is not None:
                    if not self.asked.done():
                        self.asked.set_exception(cause)
                    return
                if self.connection is not None:
                    await self.connection.disconnect(nowait=True)
                self.connection = None
                await asyncio.sleep(pause)
                pause = min(2 * pause, rules.LONGEST_PAUSE)

    async def ask(self, words: tuple[str, ...]) -> Any:
        """The reply to a last command on this connection, which `hold` reads: a read that is cancelled would close it."""
        self.asked = asyncio.get_running_loop().create_future()
        await self.connection.send_command(*words)
        return await self.asked

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        if self.connection is not None:
            await self.connection.disconnect(nowait=True)


_links: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Link]]" = weakref.WeakKeyDictionary()


def share(where: Settings, timing: rules.Timing) -> Link:
    """The link with these settings of the running event loop. Connections that a fork inherited are left alone."""
    links = _links.setdefault(asyncio.get_running_loop(), {})
    link = links.get((where, timing))
    if link is None or link.closed or link.process != os.getpid():
        link = links[(where, timing)] = Link(where, timing)
    link.users += 1
    return link
