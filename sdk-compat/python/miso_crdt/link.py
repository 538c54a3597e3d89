"""The pool of connections of a process to its node, filled by the first call, of blocking objects."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Optional, Sequence

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import errors, rules
from .calls import Call
from .settings import Settings

LOST = (redis.ConnectionError, redis.TimeoutError, OSError)


class Link:
    """One per process and settings; threads share it, and a forked child opens connections of its own."""

    def __init__(self, where: Settings, timing: rules.Timing, key: Any) -> None:
        self.where, self.timing, self.key = where, timing, key
        self.users = 0
        self.closed = False
        self.keeper: Optional[Keeper] = None
        self.kind: Any = redis.SSLConnection if where.tls else redis.Connection
        # By default redis-py sends again what had no reply, up to ten times: every lost reply would count twice.
        self.keywords = {**rules.keywords(where, timing), "retry": Retry(NoBackoff(), 0), "redis_connect_func": self.greet}
        self.pool: Any = redis.ConnectionPool(connection_class=self.kind, **self.keywords)

    def greet(self, connection: Any) -> None:
        """What is asked of every new connection."""
        connection.on_connect()
        name = self.ask(connection, "MISO.FUNCTION").decode()
        if self.where.function not in (None, name):
            try:
                login = self.ask(connection, "ACL", "WHOAMI").decode()
            except redis.ResponseError:
                login = None
            rules.check_function(self.where, name, login)
        try:
            connection.miso_once = self.ask(connection, "COMMAND", "INFO", rules.ONCE)[0] is not None
        except redis.ResponseError:
            connection.miso_once = False
        connection.miso_function = name
        connection.miso_used = time.monotonic()

    @staticmethod
    def ask(connection: Any, *words: Any) -> Any:
        connection.send_command(*words)
        return connection.read_response()

    def own(self, reply_timeout: Optional[float]) -> Any:
        """A connection outside the pool, for what waits long."""
        connection = self.kind(**{**self.keywords, "socket_timeout": reply_timeout})
        try:
            connection.connect()
        except BaseException as cause:
            connection.disconnect()
            if isinstance(cause, Exception):
                raise rules.not_sent(self.where, cause) from cause
            raise
        return connection

    def take(self) -> Any:
        """A connection of the pool that stands."""
        if self.closed:
            raise errors.NotSent("the object is closed; make a new MisoObject")
        try:
            connection = self.pool.get_connection()
        except (redis.RedisError, errors.MisoError, OSError) as cause:
            raise rules.not_sent(self.where, cause) from cause
        if time.monotonic() - connection.miso_used > self.timing.check_after:
            # A process that was frozen does not know that its connection was closed meanwhile.
            try:
                self.ask(connection, "PING")
            except LOST:
                connection.disconnect()
                try:
                    connection.connect()
                except (redis.RedisError, errors.MisoError, OSError) as cause:
                    self.pool.release(connection)
                    raise rules.not_sent(self.where, cause) from cause
        connection.miso_used = time.monotonic()
        return connection

    def run(self, calls: Sequence[Call[Any]], atomic: Optional[str] = None) -> list[Any]:
        """Runs calls on one connection: in a pipeline, or in MULTI and EXEC under the one id `atomic`, if they
        are few and all of them write. Answers a value or an error for each; raises if the node was not reached or the outcome is unknown."""
        attempts = rules.Attempts(any(call.write for call in calls), self.timing.deadline)
        under = rules.named(calls, atomic)
        while True:
            try:
                connection = self.take()
            except errors.MisoError as error:
                if self.closed:
                    raise
                attempts.unconnected(error)
                time.sleep(rules.PAUSE)
                continue
            try:
                once = connection.miso_once and under
                attempts.connected(once)
                replies = self.attempt(connection, rules.lines(calls, atomic, once))
            except LOST as cause:
                attempts.cut(cause, once)
            else:
                if len(replies) > 1 or not rules.not_yet(replies[0]) or attempts.over():
                    return rules.results(calls, replies, atomic)
            finally:
                self.pool.release(connection)
            time.sleep(rules.PAUSE)

    @staticmethod
    def attempt(connection: Any, lines: list[rules.Line]) -> list[Any]:
        """Sends everything in one go and reads every reply."""
        try:
            connection.send_packed_command(connection.pack_commands(lines))
            replies: list[Any] = []
            for _ in lines:
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
            return replies
        except BaseException:
            connection.disconnect()  # A reply that is not read must not be the next call's.
            raise

    def one(self, call: Call[Any]) -> Any:
        """The value of one call, or its error raised."""
        (result,) = self.run([call])
        if isinstance(result, errors.MisoError):
            raise result
        return result

    def long(self, call: Call[Any], seconds: float) -> Any:
        """A read that waits at the server, with a time-out of its own."""
        connection = self.own(seconds)
        try:
            return self.answer(connection, call)
        finally:
            connection.disconnect()

    def answer(self, connection: Any, call: Call[Any]) -> Any:
        """The result of a call on a connection of its own."""
        try:
            (result,) = rules.results([call], self.attempt(connection, [call.words]), None)
        except LOST as cause:
            raise errors.Unreachable(f"no reply: {cause}") from cause
        if isinstance(result, errors.MisoError):
            raise result
        return result

    def function(self) -> str:
        connection = self.take()
        try:
            return str(connection.miso_function)
        finally:
            self.pool.release(connection)

    def register(self, replica: str, ttl: Optional[int]) -> None:
        if self.keeper:
            self.keeper.stop()
        self.keeper = Keeper(self, replica, ttl)

    def unregister(self) -> bool:
        keeper, self.keeper = self.keeper, None
        if keeper is None or keeper.process != os.getpid():
            return False
        keeper.stop()
        words = ("MISO.UNREGISTER", keeper.function, "REPLICA", keeper.replica)
        # The node may wait until another one has everything.
        call = Call(words, lambda reply: int(reply) == 1)
        try:
            # A connection ends what it has registered itself; another one ends what only a TTL still holds.
            if keeper.connection is not None:
                return bool(self.answer(keeper.connection, call))
            return bool(self.long(call, rules.UNREGISTER_TIMEOUT))
        finally:
            keeper.end()

    def close(self) -> None:
        with _lock:
            self.users -= 1
            if self.users > 0:
                return
            self.closed = True
            _links.pop(self.key, None)
        if self.keeper:
            self.keeper.stop()
            self.keeper.end()
        self.pool.disconnect()


class Keeper:
    """Holds the connection that a registration lives on, and registers again after each reconnect."""

    def __init__(self, link: Link, replica: str, ttl: Optional[int]) -> None:
        self.link, self.replica, self.ttl = link, replica, ttl
        self.process = os.getpid()
        self.function = ""
        self.stopped = threading.Event()
        self.connection = self.open()
        self.thread = threading.Thread(target=self.hold, name="miso-registration", daemon=True)
        self.thread.start()

    def open(self) -> Any:
        connection = self.link.own(rules.UNREGISTER_TIMEOUT)
        self.function = connection.miso_function
        more = () if self.ttl is None else ("TTL", self.ttl)
        try:
            self.link.ask(connection, "MISO.REGISTER", self.function, "REPLICA", self.replica, *more)
        except redis.ResponseError as error:
            connection.disconnect()
            raise errors.of_reply(rules.reply_text(error), "MISO.REGISTER") from error
        return connection

    def hold(self) -> None:
        pause = rules.PAUSE
        while not self.stopped.is_set():
            try:
                if self.connection is None:
                    self.connection = self.open()
                    pause = rules.PAUSE
                if self.connection.can_read(timeout=0.2):
                    self.connection.read_response()
            except (*LOST, errors.MisoError):
                if self.connection is not None:
                    self.connection.disconnect()
                self.connection = None
                self.stopped.wait(pause)
                pause = min(2 * pause, rules.LONGEST_PAUSE)

    def stop(self) -> None:
        """Registers no more; the connection stands until `end`."""
        self.stopped.set()
        if self.process == os.getpid():
            self.thread.join()

    def end(self) -> None:
        if self.connection is not None:
            self.connection.disconnect()


_lock = threading.Lock()
_links: dict[Any, Link] = {}


def share(where: Settings, timing: rules.Timing) -> Link:
    """The link with these settings, shared by all objects of the process."""
    key = (where, timing)
    with _lock:
        link = _links.get(key)
        if link is None:
            link = _links[key] = Link(where, timing, key)
        link.users += 1
        return link


def retain(link: Link) -> Link:
    """The same link for one more object."""
    with _lock:
        link.users += 1
        return link


def _after_fork() -> None:
    # Another thread may have held the lock; the registration's thread stayed in the parent.
    global _lock
    _lock = threading.Lock()
    for link in _links.values():
        link.keeper = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
