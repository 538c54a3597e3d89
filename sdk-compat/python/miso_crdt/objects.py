"""The blocking object, its batches and its watchers."""

from __future__ import annotations

import itertools
import time
import uuid
from types import TracebackType
from typing import Any, Callable, Iterator, Optional, Union

import redis

from . import errors, rules, types
from .calls import Call, Change, Gap, change, check_id
from .errors import ArgumentError
from .link import LOST, Link, retain, share
from .settings import default_id, settings

AWAIT_MARGIN = 2.0


class Getters:
    """The proxies had from here do I/O only in their methods."""

    id: str
    _run: Callable[[Call[Any]], Any]

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


class Batch(Getters):
    """Calls that are sent together by `send`, or at the end of a `with` block that raised nothing.

    The methods of its proxies answer None; what the calls answered is in `results`, in order.
    """

    def __init__(self, link: Link, object_id: str, ids: Callable[[], str], atomic: bool) -> None:
        self.id = object_id
        self.results: list[Any] = []
        self._link, self._ids = link, ids
        self._atomic = ids() if atomic else None
        self._calls: Optional[list[Call[Any]]] = []
        self._run = self._queue

    def _queue(self, call: Call[Any]) -> None:
        if self._calls is None:
            raise ArgumentError("the batch was sent; make a new one")
        if call.write and self._atomic is None:
            call.id = self._ids()
        self._calls.append(call)

    def send(self) -> list[Any]:
        """Sends all calls at once; answers what each answered, or raises the first error."""
        calls, self._calls = self._calls, None
        if calls is None:
            raise ArgumentError("the batch was sent; make a new one")
        self.results = self._link.run(calls, self._atomic) if calls else []
        for result in self.results:
            if isinstance(result, errors.MisoError):
                raise result
        return self.results

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: object, trace: Optional[TracebackType]) -> None:
        if kind is None and self._calls is not None:
            self.send()


class MisoObject(Getters):
    """A stateful object: some named CRDTs that live on the node beside the function. Making one does no I/O.

    Raises `SettingError` if neither the arguments nor the environment say where the node is.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        id: Optional[str] = None,
        *,
        function: Optional[str] = None,
        replica: Optional[str] = None,
        timing: rules.Timing = rules.Timing(),
        _link: Optional[Link] = None,
        _call_id: Optional[str] = None,
    ) -> None:
        if id is not None and (not isinstance(id, str) or not id):
            raise ArgumentError("an id is a string that is not empty")
        _link = share(settings(url, function, replica), timing) if _link is None else retain(_link)
        self.id = id or default_id(_link.where.function)
        self._link = _link
        self._closed = False
        self._call_id = _call_id
        self._numbers = itertools.count()
        self._run = self._send

    def _next_id(self) -> str:
        if self._call_id is None:
            return uuid.uuid4().hex
        return check_id(f"{self._call_id}:{next(self._numbers)}")

    def _send(self, call: Call[Any]) -> Any:
        if call.write:
            call.id = self._next_id()
        return self._link.one(call)

    def object(self, id: str) -> "MisoObject":
        """Another object of the same function, over the same connections."""
        return MisoObject(id=id, _link=self._link)

    def for_call(self, call_id: Optional[str] = None) -> "MisoObject":
        """The same object for one call of the platform, with the platform's own id of it (`aws_request_id`,
        `X-Call-Id`): a repeat of the whole call that makes the same writes in the same order changes nothing."""
        if call_id is not None:
            check_id(f"{call_id}:0")
        return MisoObject(id=self.id, _link=self._link, _call_id=call_id)

    def batch(self) -> Batch:
        """Calls that are sent together, in order; others may come between them."""
        return Batch(self._link, self.id, self._next_id, atomic=False)

    def atomic(self) -> Batch:
        """Calls that run together (MULTI): all or, if one cannot be queued, none; replicated in one piece."""
        return Batch(self._link, self.id, self._next_id, atomic=True)

    def delete(self, *names: str) -> int:
        """Deletes these names, or the whole object; answers how many names there were."""
        result: int = self._run(Call(("MISO.DEL", self.id, *names), int, write=True))
        return result

    def exists(self, name: Optional[str] = None) -> bool:
        """Whether the object, or this name of it, exists."""
        words = ("MISO.EXISTS", self.id) if name is None else ("MISO.EXISTS", self.id, name)
        result: bool = self._run(Call(words, lambda reply: int(reply) > 0))
        return result

    def register(self, replica: Optional[str] = None, ttl: Optional[int] = None) -> None:
        """Tells the node that a replica of the function runs here, again after each reconnect, for `ttl` seconds past
        its connection. It belongs to this process: a forked child registers itself."""
        self._link.register(replica or self._link.where.replica, ttl)

    def unregister(self) -> bool:
        """Takes it back; answers whether there was one. The node may wait until another has all that it knows."""
        return self._link.unregister()

    def token(self) -> str:
        """A causal token: everything that may have been seen here."""
        result: str = self._run(Call(("MISO.TOKEN",), lambda reply: reply.decode()))
        return result

    def await_token(self, token: str, timeout: float = 5.0) -> bool:
        """Waits until this node has everything that the token covers; False if it has not within `timeout` seconds."""
        if timeout <= 0:
            raise ArgumentError("a timeout is a number of seconds above 0")
        call = Call(("MISO.AWAIT", token, str(max(1, round(timeout * 1000)))), lambda reply: int(reply) == 1)
        return bool(self._link.long(call, timeout + AWAIT_MARGIN))

    def function_name(self) -> str:
        """The function that the connection speaks for."""
        return self._link.function()

    def watch(self) -> "Watcher":
        """Changes of the object, as they come: `for event in so.watch()`."""
        return Watcher(self._link, self.id)

    def close(self) -> None:
        """Ends the connections, if no other object of the process uses them."""
        if not self._closed:
            self._closed = True
            self._link.close()

    def __enter__(self) -> "MisoObject":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Watcher:
    """An iterator of `Change` and, after each reconnect, `Gap`. It listens from the moment that it is made."""

    def __init__(self, link: Link, object_id: str) -> None:
        self._link, self._object = link, object_id
        self._closed = False
        self._connection = self._open()

    def _open(self) -> Any:
        connection = self._link.own(self._link.timing.reply_timeout)
        channel = f"__miso__:{connection.miso_function}:{self._object}"
        try:
            self._link.ask(connection, "SUBSCRIBE", channel)
        except redis.ResponseError as error:
            connection.disconnect()
            raise errors.of_reply(rules.reply_text(error), "SUBSCRIBE") from error
        return connection

    def get(self, timeout: Optional[float] = None) -> Optional[Union[Change, Gap]]:
        """The next event; None after `timeout` seconds without one, or once it is closed."""
        end = None if timeout is None else time.monotonic() + timeout
        pause = rules.PAUSE
        while not self._closed:
            if end is not None and time.monotonic() >= end:
                return None
            try:
                if self._connection is None:
                    self._connection = self._open()
                    return Gap()
                wait = 0.2 if end is None else max(0.0, min(0.2, end - time.monotonic()))
                if self._connection.can_read(timeout=wait):
                    kind, *rest = self._connection.read_response()
                    if kind == b"message":
                        return change(rest[-1])
            except (*LOST, errors.Unreachable):
                if self._connection is not None:
                    self._connection.disconnect()
                self._connection = None
                time.sleep(pause)
                pause = min(2 * pause, rules.LONGEST_PAUSE)
        return None

    def __iter__(self) -> Iterator[Union[Change, Gap]]:
        while (event := self.get()) is not None:
            yield event

    def close(self) -> None:
        """Ends the iteration, also from another thread."""
        self._closed = True
        if self._connection is not None:
            self._connection.disconnect()

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
