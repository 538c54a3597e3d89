"""What both links, the blocking one and that of asyncio, do alike: the lines of a call, errors, when to send again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Optional, Sequence

import redis

from . import errors
from .calls import Call, Word, check_id
from .settings import Settings

PAUSE = 0.05
LONGEST_PAUSE = 5.0
UNREGISTER_TIMEOUT = 30.0
ONCE = "MISO.ONCE"
ATOMIC_MOST = 20  # Calls that MISO.ONCE takes in a transaction: what they answer has to fit into what is kept of it.
Line = tuple[Word, ...]


@dataclass(frozen=True)
class Timing:
    """Seconds: until a connection must stand, for one attempt's reply, for a call with all its attempts, and without
    use after which a connection is checked before it is used."""

    connect_timeout: float = 2.0
    reply_timeout: float = 3.0
    deadline: float = 10.0
    check_after: float = 1.0


def keywords(where: Settings, timing: Timing) -> dict[str, Any]:
    """The arguments of a redis-py connection. The caller adds its own kind of `Retry`, which must retry nothing."""
    return {
        "host": where.host,
        "port": where.port,
        "username": where.user,
        "password": where.password,
        "protocol": 2,
        "decode_responses": False,
        "socket_connect_timeout": timing.connect_timeout,
        "socket_timeout": timing.reply_timeout,
    }


def not_sent(where: Settings, cause: BaseException) -> errors.MisoError:
    """What a failed connection is to the program."""
    if isinstance(cause, errors.MisoError):
        return cause
    address = f"{where.host}:{where.port}"
    if isinstance(cause, redis.AuthenticationError) or (
        isinstance(cause, redis.ResponseError) and not not_yet(cause)
    ):
        return errors.of_reply(reply_text(cause), f"connecting to {address}")
    return errors.NotSent(f"no node at {address}: {cause}; is it running, and is MISO_URL right?")


def reply_text(error: Exception) -> str:
    """The text that the server sent: redis-py cuts off the prefixes that it knows."""
    text = str(error)
    for kind, prefix in (
        (redis.AuthenticationWrongNumberOfArgsError, "ERR "),
        (redis.AuthenticationError, "WRONGPASS "),
        (redis.exceptions.NoPermissionError, "NOPERM "),
        (redis.BusyLoadingError, "LOADING "),
    ):
        if isinstance(error, kind):
            return text if text.startswith(prefix) else prefix + text
    return text if text.split(" ", 1)[0].isupper() else f"ERR {text}"


def not_yet(error: object) -> bool:
    """Whether the server has run nothing and will soon."""
    return isinstance(error, redis.BusyLoadingError) or str(error).startswith("TRYAGAIN")


def check_function(where: Settings, name: str, login: Optional[str]) -> None:
    """Raises `FunctionMismatch` if the connection speaks for `name` and should not. `login` is its ACL user."""
    wanted = where.function
    if wanted is None or name.split("#")[0] == wanted:
        return
    if where.user is not None and where.user == login and where.user == wanted:
        return  # A user that is bound to a function of another name.
    raise errors.FunctionMismatch(
        f"the connection speaks for '{name}', not for '{wanted}': the user name did not arrive, or it is bound to "
        f"another function. Write redis://{wanted}:-@HOST in MISO_URL"
    )


def named(calls: Sequence[Call[Any]], atomic: Optional[str]) -> bool:
    """Whether these calls run under ids: writes do, and of those in MULTI and EXEC no read is among them."""
    return atomic is None or (len(calls) <= ATOMIC_MOST and all(call.write for call in calls))


def lines(calls: Sequence[Call[Any]], atomic: Optional[str], once: bool) -> list[Line]:
    """The commands on the wire."""
    if atomic is not None:
        first: Line = (ONCE, atomic, "MULTI") if once else ("MULTI",)
        return [first, *(call.words for call in calls), ("EXEC",)]
    return [(ONCE, check_id(call.id), *call.words) if call.write and once else call.words for call in calls]


def results(calls: Sequence[Call[Any]], replies: list[Any], atomic: Optional[str]) -> list[Any]:
    """What each call is answered: its value or an error."""
    if atomic is not None:
        refused = next((reply for reply in replies[1:-1] if isinstance(reply, Exception)), None)
        found = replies[-1]
        replies = found if isinstance(found, list) else [refused or found] * len(calls)
    return [_result(call, reply) for call, reply in zip(calls, replies)]


def _result(call: Call[Any], reply: Any) -> Any:
    if isinstance(reply, Exception):
        word = call.words[0]
        return errors.of_reply(reply_text(reply), word if isinstance(word, str) else word.decode())
    try:
        return call.decode(reply)
    except errors.MisoError as error:
        return error


class Attempts:
    """Decides whether a call is sent again: a read always, a write only if its id makes the second time harmless."""

    def __init__(self, writes: bool, seconds: float) -> None:
        self.writes = writes
        self.end = time.monotonic() + seconds
        self.sent = False  # Whether it may have run.

    def over(self) -> bool:
        return time.monotonic() + PAUSE > self.end

    def connected(self, once: bool) -> None:
        """A connection stands, to a server that knows ids or does not."""
        if self.sent and self.writes and not once:
            raise self.unknown(None)

    def unconnected(self, error: errors.MisoError) -> None:
        """No connection: returns if it is worth another try."""
        if isinstance(error, errors.NotSent) and not self.over():
            return
        raise self.unknown(error) if self.sent and self.writes else error

    def cut(self, error: BaseException, once: bool) -> None:
        """The reply is lost: returns if the same may be sent again."""
        self.sent = True
        if self.writes and (not once or self.over()):
            raise self.unknown(error)
        if self.over():
            raise errors.Unreachable(f"no reply: {error}")

    @staticmethod
    def unknown(cause: Optional[BaseException]) -> errors.UnknownOutcome:
        why = cause or "the connection ended"
        return errors.UnknownOutcome(
            f"a write was sent and its reply was lost ({why}): it may or may not have run; read first"
        )
