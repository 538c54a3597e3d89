"""The proxies of the seven types for asyncio. None holds any state of the value; each method asks the server."""

from __future__ import annotations

from typing import Any, AsyncIterator, Optional

from .calls import Name, amount, map_integer, nothing, pairs, text_field, truth
from .errors import ArgumentError


class GCounter(Name):
    """A counter that only grows."""

    prefix = "GCOUNTER"

    async def add(self, by: int = 1) -> int:
        """Adds; answers the new value on this node."""
        result: int = await self._run(self._call("ADD", (amount(by),), int, write=True))
        return result

    async def get_value(self) -> int:
        result: int = await self._run(self._call("GET", (), int))
        return result


class PNCounter(GCounter):
    """A counter that grows and shrinks."""

    prefix = "PNCOUNTER"

    async def sub(self, by: int = 1) -> int:
        """Subtracts; answers the new value on this node."""
        result: int = await self._run(self._call("SUB", (amount(by),), int, write=True))
        return result


class GSet(Name):
    """A set that only grows. `async for` reads it page by page."""

    prefix = "GSET"

    async def add(self, *values: Any) -> int:
        """Adds values; answers how many were new here."""
        if not values:
            return 0
        result: int = await self._run(self._call("ADD", self._encoded(values), int, write=True))
        return result

    async def has(self, value: Any) -> bool:
        result: bool = await self._run(self._call("ISMEMBER", self._encoded((value,)), truth))
        return result

    async def size(self) -> int:
        result: int = await self._run(self._call("CARD", (), int))
        return result

    async def get_value(self) -> list[Any]:
        """All values: a list, since a set of Python cannot hold dicts and lists."""
        result: list[Any] = await self._run(self._call("MEMBERS", (), self._all))
        return result

    async def __aiter__(self) -> AsyncIterator[Any]:
        seen: set[bytes] = set()
        cursor = "0"
        while True:
            cursor, items = await self._run(self._scan(cursor))
            for item in items:
                if item not in seen:
                    seen.add(item)
                    yield self._codec.decode(item)
            if cursor == "0":
                return


class ORSet(GSet):
    """A set. An add wins over a remove on another node that has not seen it."""

    prefix = "ORSET"

    async def discard(self, *values: Any) -> int:
        """Removes values; answers how many were there."""
        if not values:
            return 0
        result: int = await self._run(self._call("REM", self._encoded(values), int, write=True))
        return result

    async def clear(self) -> int:
        """Removes all values that this node has seen; answers how many."""
        result: int = await self._run(self._call("CLEAR", (), int, write=True))
        return result


class MVRegister(Name):
    """A value, or all those that were assigned concurrently."""

    prefix = "MVREG"

    async def assign(self, value: Any) -> None:
        """Replaces every value that this node has seen."""
        await self._run(self._call("SET", self._encoded((value,)), nothing, write=True))

    async def get_value(self) -> Any:
        """The value, of concurrent ones the same on every node; None if none was assigned."""
        return await self._run(self._call("VALUE", (), self._optional))

    async def get_values(self) -> list[Any]:
        """All concurrent values: more than one until somebody assigns again."""
        result: list[Any] = await self._run(self._call("GET", (), self._all))
        return result


class EWFlag(Name):
    """A flag. An enable wins over a disable on another node that has not seen it."""

    prefix = "EWFLAG"

    async def enable(self) -> bool:
        """Answers whether it changed here, as do `disable` and `assign`."""
        result: bool = await self._run(self._call("ENABLE", (), truth, write=True))
        return result

    async def disable(self) -> bool:
        result: bool = await self._run(self._call("DISABLE", (), truth, write=True))
        return result

    async def assign(self, value: bool) -> bool:
        if not isinstance(value, bool):
            raise ArgumentError("a flag is True or False")
        result: bool = await self._run(self._call("SET", ("1" if value else "0",), truth, write=True))
        return result

    async def get_value(self) -> bool:
        result: bool = await self._run(self._call("GET", (), truth))
        return result


class ORMap(Name):
    """A map of fields to values or counters. `async for` reads its fields page by page."""

    prefix = "ORMAP"

    async def set(self, field: str, value: Any) -> None:
        await self._run(self._call("SET", (text_field(field), self._codec.encode(value)), nothing, write=True))

    async def get(self, field: str, default: Any = None) -> Any:
        """A field's value, `default` if there is none."""

        def decode(reply: Optional[bytes]) -> Any:
            return default if reply is None else self._codec.decode(reply)

        return await self._run(self._call("GET", (text_field(field),), decode))

    async def get_values(self, field: str) -> list[Any]:
        """All concurrent values of a field."""
        result: list[Any] = await self._run(self._call("GETMV", (text_field(field),), self._all))
        return result

    async def get_int(self, field: str) -> int:
        """A field that is a counter, always exact; 0 if there is none."""
        result: int = await self._run(self._call("GET", (text_field(field),), map_integer(self._codec.decode)))
        return result

    async def increment(self, field: str, by: int = 1) -> int:
        """Adds to a field that is a counter; answers the new value."""
        result: int = await self._run(self._call("INCRBY", (text_field(field), amount(by)), int, write=True))
        return result

    async def has(self, field: str) -> bool:
        result: bool = await self._run(self._call("EXISTS", (text_field(field),), truth))
        return result

    async def delete(self, *fields: str) -> int:
        """Removes fields; answers how many were there."""
        if not fields:
            return 0
        result: int = await self._run(self._call("DEL", tuple(map(text_field, fields)), int, write=True))
        return result

    async def size(self) -> int:
        result: int = await self._run(self._call("LEN", (), int))
        return result

    async def keys(self) -> list[str]:
        result: list[str] = await self._run(self._call("KEYS", (), lambda reply: [key.decode() for key in reply]))
        return result

    async def get_value(self) -> dict[str, Any]:
        """All fields."""

        def decode(reply: list[bytes]) -> dict[str, Any]:
            return {key.decode(): self._codec.decode(value) for key, value in pairs(reply)}

        result: dict[str, Any] = await self._run(self._call("GETALL", (), decode))
        return result

    async def items(self) -> AsyncIterator[tuple[str, Any]]:
        """All fields with their values, page by page; each once."""
        seen: set[bytes] = set()
        cursor = "0"
        while True:
            cursor, flat = await self._run(self._scan(cursor))
            for key, value in pairs(flat):
                if key not in seen:
                    seen.add(key)
                    yield key.decode(), self._codec.decode(value)
            if cursor == "0":
                return

    async def __aiter__(self) -> AsyncIterator[str]:
        async for field, _ in self.items():
            yield field
