"""The object for asyncio, its batches and its watchers."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from types import TracebackType
from typing import Any, AsyncIterator, Awaitable, Callable, Optional, Union

import redis

from . import aio_types as types
from . import errors, rules
from .aio_link import LOST, Link, share
from .calls import Call, Change, Gap, change, check_id
from .errors import ArgumentError
from .objects import AWAIT_MARGIN
from .settings import Settings, default_id, settings


class Getters:
    """The proxies had from here do I/O only in their methods."""

    id: str
    _run: Callable[[Call[Any]], Awaitable[Any]]

    def get_gcounter(self, name: str) -> types.GCounter:
        return types.GCounter(self._run, self.id, name)

    def get_pncounter(self, name: str) -> types.PNCounter:
        return types.PNCounter(self._run, self.id, name)

    def get_gset(self, name: str, raw: bool = False) -> types.GSet:
        return types.GSet(self._run, self.id, name, raw)

    def get_orset(self, name: str, raw: bool = False) -> types.ORSet:
        return types.ORSet(self._run, self.id, name, raw)

    def get_mvregister(self, name: str, raw: bool = False) -> types.MVRegister:
        return types.MVRegister(self._run, self.id, name, raw)

    def get_ewflag(self, name: str) -> types.EWFlag:
        return types.EWFlag(self._run, self.id, name)

    def get_ormap(self, name: str, raw: bool = False) -> types.ORMap:
        return types.ORMap(self._run, self.id, name, raw)


class AsyncBatch(Getters):
    """Calls that are sent together by `send`, or at the end of an `async with` block that raised nothing.

    Await the methods of its proxies: they only queue, and answer None. What the calls answered is in `results`.
    """

    def __init__(self, link: Callable[[], Link], object_id: str, ids: Callable[[], str], atomic: bool) -> None:
        self.id = object_id
        self.results: list[Any] = []
        self._link, self._ids = link, ids
        self._atomic = ids() if atomic else None
        self._calls: Optional[list[Call[Any]]] = []
        self._run = self._queue

    async def _queue(self, call: Call[Any]) -> None:
        if self._calls is None:
            raise ArgumentError("the batch was sent; make a new one")
        if call.write and self._atomic is None:
            call.id = self._ids()
        self._calls.append(call)

    async def send(self) -> list[Any]:
        """Sends all calls at once; answers what each answered, or raises the first error."""
        calls, self._calls = self._calls, None
        if calls is None:
            raise ArgumentError("the batch was sent; make a new one")
        self.results = await self._link().run(calls, self._atomic) if calls else []
        for result in self.results:
            if isinstance(result, errors.MisoError):
                raise result
        return self.results

    async def __aenter__(self) -> "AsyncBatch":
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: object, trace: Optional[TracebackType]) -> None:
        if kind is None and self._calls is not None:
            await self.send()


class AsyncMisoObject(Getters):
    """`MisoObject` for asyncio: the same arguments, the same names. Its connections belong to the event loop of its
    first call."""

    def __init__(
        self,
        url: Optional[str] = None,
        id: Optional[str] = None,
        *,
        function: Optional[str] = None,
        replica: Optional[str] = None,
        timing: rules.Timing = rules.Timing(),
        _where: Optional[Settings] = None,
        _call_id: Optional[str] = None,
    ) -> None:
        if id is not None and (not isinstance(id, str) or not id):
            raise ArgumentError("an id is a string that is not empty")
        self._where = _where or settings(url, function, replica)
        self._timing = timing
        self.id = id or default_id(self._where.function)
        self._shared: Optional[Link] = None
        self._closed = False
        self._call_id = _call_id
        self._numbers = itertools.count()
        self._run = self._send

    def _link(self) -> Link:
        if self._closed:
            raise errors.NotSent("the object is closed; make a new AsyncMisoObject")
        if self._shared is None:
            self._shared = share(self._where, self._timing)
        return self._shared

    def _next_id(self) -> str:
        if self._call_id is None:
            return uuid.uuid4().hex
        return check_id(f"{self._call_id}:{next(self._numbers)}")

    async def _send(self, call: Call[Any]) -> Any:
        if call.write:
            call.id = self._next_id()
        return await self._link().one(call)

    def object(self, id: str) -> "AsyncMisoObject":
        """Another object of the same function, over the same connections."""
        return AsyncMisoObject(id=id, timing=self._timing, _where=self._where)

    def for_call(self, call_id: Optional[str] = None) -> "AsyncMisoObject":
        """The same object for one call of the platform: see `MisoObject.for_call`."""
        if call_id is not None:
            check_id(f"{call_id}:0")
        return AsyncMisoObject(id=self.id, timing=self._timing, _where=self._where, _call_id=call_id)

    def batch(self) -> AsyncBatch:
        """Calls that are sent together, in order; others may come between them."""
        return AsyncBatch(self._link, self.id, self._next_id, atomic=False)

    def atomic(self) -> AsyncBatch:
        """Calls that run together (MULTI): all or, if one cannot be queued, none; replicated in one piece."""
        return AsyncBatch(self._link, self.id, self._next_id, atomic=True)

    async def delete(self, *names: str) -> int:
        """Deletes these names, or the whole object; answers how many names there were."""
        result: int = await self._run(Call(("MISO.DEL", self.id, *names), int, write=True))
        return result

    async def exists(self, name: Optional[str] = None) -> bool:
        """Whether the object, or this name of it, exists."""
        words = ("MISO.EXISTS", self.id) if name is None else ("MISO.EXISTS", self.id, name)
        result: bool = await self._run(Call(words, lambda reply: int(reply) > 0))
        return result

    async def register(self, replica: Optional[str] = None, ttl: Optional[int] = None) -> None:
        """Tells the node that a replica of the function runs here, again after each reconnect, for `ttl` seconds past
        its connection."""
        await self._link().register(replica or self._where.replica, ttl)

    async def unregister(self) -> bool:
        """Takes it back; answers whether there was one. The node may wait until another has all that it knows."""
        return await self._link().unregister()

    async def token(self) -> str:
        """A causal token: everything that may have been seen here."""
        result: str = await self._run(Call(("MISO.TOKEN",), lambda reply: reply.decode()))
        return result

    async def await_token(self, token: str, timeout: float = 5.0) -> bool:
        """Waits until this node has everything that the token covers; False if it has not within `timeout` seconds."""
        if timeout <= 0:
            raise ArgumentError("a timeout is a number of seconds above 0")
        call = Call(("MISO.AWAIT", token, str(max(1, round(timeout * 1000)))), lambda reply: int(reply) == 1)
        return bool(await self._link().long(call, timeout + AWAIT_MARGIN))

    async def function_name(self) -> str:
        """The function that the connection speaks for."""
        return await self._link().function()

    async def watch(self) -> "AsyncWatcher":
        """Changes of the object, as they come: `async for event in await so.watch()`."""
        watcher = AsyncWatcher(self._link(), self.id)
        watcher._connection = await watcher._open()
        return watcher

    async def close(self) -> None:
        """Ends the connections, if no other object of the event loop uses them."""
        if not self._closed:
            self._closed = True
            if self._shared is not None:
                await self._shared.close()

    async def __aenter__(self) -> "AsyncMisoObject":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()


class AsyncWatcher:
    """An iterator of `Change` and, after each reconnect, `Gap`."""

    def __init__(self, link: Link, object_id: str) -> None:
        self._link, self._object = link, object_id
        self._connection: Any = None

    async def _open(self) -> Any:
        connection = await self._link.own(None)
        channel = f"__miso__:{connection.miso_function}:{self._object}"
        try:
            await self._link.ask(connection, "SUBSCRIBE", channel)
        except redis.ResponseError as error:
            await connection.disconnect(nowait=True)
            raise errors.of_reply(rules.reply_text(error), "SUBSCRIBE") from error
        return connection

    async def __aiter__(self) -> AsyncIterator[Union[Change, Gap]]:
        pause = rules.PAUSE
        while True:
            try:
                if self._connection is None:
                    self._connection = await self._open()
                    pause = rules.PAUSE
                    yield Gap()
                kind, *rest = await self._connection.read_response()
                if kind == b"message":
                    yield change(rest[-1])
            except (*LOST, errors.Unreachable):
                if self._connection is not None:
                    await self._connection.disconnect(nowait=True)
                self._connection = None
                await asyncio.sleep(pause)
                pause = min(2 * pause, rules.LONGEST_PAUSE)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
