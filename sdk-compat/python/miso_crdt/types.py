"""The proxies of the seven types, blocking. None holds any state of the value; each method asks the server."""

from __future__ import annotations

from typing import Any, Iterator, Optional

from .calls import Name, amount, map_integer, nothing, pairs, text_field, truth
from .errors import ArgumentError


class GCounter(Name):
    """A counter that only grows. `counter += 5` adds."""

    prefix = "GCOUNTER"

    def add(self, by: int = 1) -> int:
        """Adds; answers the new value on this node."""
        result: int = self._run(self._call("ADD", (amount(by),), int, write=True))
        return result

    def get_value(self) -> int:
        result: int = self._run(self._call("GET", (), int))
        return result

    def __iadd__(self, by: int) -> "GCounter":
        self.add(by)
        return self

    def __int__(self) -> int:
        return self.get_value()


class PNCounter(GCounter):
    """A counter that grows and shrinks. `counter -= 5` subtracts."""

    prefix = "PNCOUNTER"

    def sub(self, by: int = 1) -> int:
        """Subtracts; answers the new value on this node."""
        result: int = self._run(self._call("SUB", (amount(by),), int, write=True))
        return result

    def __isub__(self, by: int) -> "PNCounter":
        self.sub(by)
        return self


class GSet(Name):
    """A set that only grows. `in`, `len` and iteration (page by page) ask the server."""

    prefix = "GSET"

    def add(self, *values: Any) -> int:
        """Adds values; answers how many were new here."""
        if not values:
            return 0
        result: int = self._run(self._call("ADD", self._encoded(values), int, write=True))
        return result

    def has(self, value: Any) -> bool:
        result: bool = self._run(self._call("ISMEMBER", self._encoded((value,)), truth))
        return result

    def size(self) -> int:
        result: int = self._run(self._call("CARD", (), int))
        return result

    def get_value(self) -> list[Any]:
        """All values: a list, since a set of Python cannot hold dicts and lists."""
        result: list[Any] = self._run(self._call("MEMBERS", (), self._all))
        return result

    def __contains__(self, value: Any) -> bool:
        return self.has(value)

    def __len__(self) -> int:
        return self.size()

    def __iter__(self) -> Iterator[Any]:
        seen: set[bytes] = set()
        cursor = "0"
        while True:
            cursor, items = self._run(self._scan(cursor))
            for item in items:
                if item not in seen:
                    seen.add(item)
                    yield self._codec.decode(item)
            if cursor == "0":
                return


class ORSet(GSet):
    """A set. An add wins over a remove on another node that has not seen it."""

    prefix = "ORSET"

    def discard(self, *values: Any) -> int:
        """Removes values; answers how many were there."""
        if not values:
            return 0
        result: int = self._run(self._call("REM", self._encoded(values), int, write=True))
        return result

    def clear(self) -> int:
        """Removes all values that this node has seen; answers how many."""
        result: int = self._run(self._call("CLEAR", (), int, write=True))
        return result


class MVRegister(Name):
    """A value, or all those that were assigned concurrently."""

    prefix = "MVREG"

    def assign(self, value: Any) -> None:
        """Replaces every value that this node has seen."""
        self._run(self._call("SET", self._encoded((value,)), nothing, write=True))

    def get_value(self) -> Any:
        """The value, of concurrent ones the same on every node; None if none was assigned."""
        return self._run(self._call("VALUE", (), self._optional))

    def get_values(self) -> list[Any]:
        """All concurrent values: more than one until somebody assigns again."""
        result: list[Any] = self._run(self._call("GET", (), self._all))
        return result


class EWFlag(Name):
    """A flag. An enable wins over a disable on another node that has not seen it."""

    prefix = "EWFLAG"

    def enable(self) -> bool:
        """Answers whether it changed here, as do `disable` and `assign`."""
        result: bool = self._run(self._call("ENABLE", (), truth, write=True))
        return result

    def disable(self) -> bool:
        result: bool = self._run(self._call("DISABLE", (), truth, write=True))
        return result

    def assign(self, value: bool) -> bool:
        if not isinstance(value, bool):
            raise ArgumentError("a flag is True or False")
        result: bool = self._run(self._call("SET", ("1" if value else "0",), truth, write=True))
        return result

    def get_value(self) -> bool:
        result: bool = self._run(self._call("GET", (), truth))
        return result

    def __bool__(self) -> bool:
        return self.get_value()


class ORMap(Name):
    """A map of fields to values or counters. `map[field]`, `in`, `len`, `del` and iteration ask the server."""

    prefix = "ORMAP"

    def set(self, field: str, value: Any) -> None:
        self._run(self._call("SET", (text_field(field), self._codec.encode(value)), nothing, write=True))

    def get(self, field: str, default: Any = None) -> Any:
        """A field's value, `default` if there is none."""

        def decode(reply: Optional[bytes]) -> Any:
            return default if reply is None else self._codec.decode(reply)

        return self._run(self._call("GET", (text_field(field),), decode))

    def get_values(self, field: str) -> list[Any]:
        """All concurrent values of a field."""
        result: list[Any] = self._run(self._call("GETMV", (text_field(field),), self._all))
        return result

    def get_int(self, field: str) -> int:
        """A field that is a counter, always exact; 0 if there is none."""
        result: int = self._run(self._call("GET", (text_field(field),), map_integer(self._codec.decode)))
        return result

    def increment(self, field: str, by: int = 1) -> int:
        """Adds to a field that is a counter; answers the new value."""
        result: int = self._run(self._call("INCRBY", (text_field(field), amount(by)), int, write=True))
        return result

    def has(self, field: str) -> bool:
        result: bool = self._run(self._call("EXISTS", (text_field(field),), truth))
        return result

    def delete(self, *fields: str) -> int:
        """Removes fields; answers how many were there."""
        if not fields:
            return 0
        result: int = self._run(self._call("DEL", tuple(map(text_field, fields)), int, write=True))
        return result

    def size(self) -> int:
        result: int = self._run(self._call("LEN", (), int))
        return result

    def keys(self) -> list[str]:
        result: list[str] = self._run(self._call("KEYS", (), lambda reply: [key.decode() for key in reply]))
        return result

    def get_value(self) -> dict[str, Any]:
        """All fields."""

        def decode(reply: list[bytes]) -> dict[str, Any]:
            return {key.decode(): self._codec.decode(value) for key, value in pairs(reply)}

        result: dict[str, Any] = self._run(self._call("GETALL", (), decode))
        return result

    def items(self) -> Iterator[tuple[str, Any]]:
        """All fields with their values, page by page; each once."""
        seen: set[bytes] = set()
        cursor = "0"
        while True:
            cursor, flat = self._run(self._scan(cursor))
            for key, value in pairs(flat):
                if key not in seen:
                    seen.add(key)
                    yield key.decode(), self._codec.decode(value)
            if cursor == "0":
                return

    def __getitem__(self, field: str) -> Any:
        missing = object()
        value = self.get(field, missing)
        if value is missing:
            raise KeyError(field)
        return value

    def __setitem__(self, field: str, value: Any) -> None:
        self.set(field, value)

    def __delitem__(self, field: str) -> None:
        if not self.delete(field):
            raise KeyError(field)

    def __contains__(self, field: str) -> bool:
        return self.has(field)

    def __len__(self) -> int:
        return self.size()

    def __iter__(self) -> Iterator[str]:
        return (field for field, _ in self.items())
