"""What each method asks of the server and how it reads the reply: the same for both kinds of objects."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Generic, Iterator, Optional, TypeVar, Union

from .codec import JSON, RAW
from .errors import ArgumentError, Undecodable

T = TypeVar("T")
Word = Union[str, bytes]
PAGE = "1000"


@dataclass
class Call(Generic[T]):
    """A command, how its reply is read, and for a write the id under which it runs once."""

    words: tuple[Word, ...]
    decode: Callable[[Any], T]
    write: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


def check_id(text: str) -> str:
    """`text`, if it may stand after MISO.ONCE."""
    length = len(text.encode())
    if 1 <= length <= 64:
        return text
    raise ArgumentError(f"the id {text!r} has {length} bytes, expected 1 to 64: give a shorter call id")


def amount(value: int) -> str:
    """An integer argument in decimal."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ArgumentError(f"{value!r} is no integer")


def truth(reply: Any) -> bool:
    return int(reply) == 1


def nothing(_: Any) -> None:
    return None


def pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2])


class Name:
    """One name of an object."""

    prefix = ""

    def __init__(self, run: Callable[[Call[Any]], Any], object_id: str, name: str, raw: bool = False) -> None:
        if not isinstance(name, str) or not name:
            raise ArgumentError("a name is a string that is not empty")
        self._run = run
        self._codec = RAW if raw else JSON
        self.object = object_id
        self.name = name

    def _call(self, verb: str, words: tuple[Word, ...], decode: Callable[[Any], T], write: bool = False) -> Call[T]:
        return Call((f"{self.prefix}.{verb}", self.object, self.name, *words), decode, write)

    def _scan(self, cursor: str) -> Call[tuple[str, list[bytes]]]:
        return self._call("SCAN", (cursor, "COUNT", PAGE), lambda reply: (reply[0].decode(), reply[1]))

    def _encoded(self, values: tuple[Any, ...]) -> tuple[bytes, ...]:
        return tuple(map(self._codec.encode, values))

    def _optional(self, reply: Optional[bytes]) -> Any:
        return None if reply is None else self._codec.decode(reply)

    def _all(self, reply: list[bytes]) -> list[Any]:
        return [self._codec.decode(item) for item in reply]


def text_field(key: str) -> str:
    if isinstance(key, str):
        return key
    raise ArgumentError("a field of a map is a string")


def map_integer(codec_decode: Callable[[bytes], Any]) -> Callable[[Optional[bytes]], int]:
    """Reads a field that is a counter."""

    def decode(reply: Optional[bytes]) -> int:
        if reply is None:
            return 0
        try:
            return int(reply)
        except ValueError:
            value = codec_decode(reply)
        if isinstance(value, int):
            return value
        raise Undecodable("the field holds no integer; read it by get()")

    return decode


@dataclass(frozen=True)
class Change:
    """A name of the object has changed, here or on another node."""

    name: str
    type: str


@dataclass(frozen=True)
class Gap:
    """Changes may have been missed: what was read before has to be read again."""


def change(message: bytes) -> Change:
    """A message is the name, a space and the type."""
    name, _, kind = message.decode(errors="replace").rpartition(" ")
    return Change(name, kind)
