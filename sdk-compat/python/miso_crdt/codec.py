"""Values as bytes: JSON in the canonical form of RFC 8785, so that equal values are equal bytes in every language.

Integers beyond 2^53, which JSON's doubles cannot hold, are strings with a tag: "$int:9007199254740993". A string that
looks like one gets another dollar sign in front.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any, Callable, NamedTuple, NoReturn

from .errors import Undecodable, Unencodable

SAFE = 2**53 - 1
_LOOKS_TAGGED = re.compile(r"\$+int:")
_TAGGED = re.compile(r"\$int:(-?(?:0|[1-9][0-9]*))\Z")
_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_ESCAPED = re.compile(r'[\x00-\x1f"\\]')


def _text(value: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise Unencodable("a string with a lone surrogate is no Unicode text; store it as raw bytes (raw=True)")
    return '"' + _ESCAPED.sub(lambda match: _ESCAPES.get(match[0], f"\\u{ord(match[0]):04x}"), value) + '"'


def _double(value: float) -> str:
    """The shortest text of a double, laid out as ECMAScript does."""
    if not math.isfinite(value):
        raise Unencodable(f"{value} has no JSON form; store None or a string instead")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).rstrip("0")
    point = len(digits) + exponent  # The value is 0.text times ten to this power.
    if len(text) <= point <= 21:
        laid = text + "0" * (point - len(text))
    elif 0 < point <= 21:
        laid = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        laid = f"0.{'0' * -point}{text}"
    else:
        laid = f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{point - 1:+d}"
    return "-" + laid if sign else laid


def _object(value: dict[Any, Any], path: tuple[int, ...]) -> str:
    for key in value:
        if not isinstance(key, str):
            raise Unencodable(f"a member is called {key!r}; JSON's members have strings as names")
    members = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(f"{_text(key)}:{_canonical(member, path)}" for key, member in members) + "}"


def _canonical(value: object, path: tuple[int, ...]) -> str:
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return _text("$" + value if _LOOKS_TAGGED.match(value) else value)
    if isinstance(value, int):
        return str(int(value)) if -SAFE <= value <= SAFE else f'"$int:{int(value)}"'
    if isinstance(value, float):
        return _double(value)
    if id(value) in path:
        raise Unencodable("a value that contains itself has no JSON form")
    within = (*path, id(value))
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_canonical(item, within) for item in value) + "]"
    if isinstance(value, dict):
        return _object(value, within)
    raise Unencodable(f"{type(value).__name__} has no JSON form of its own; convert it to a dict, a list or a string")


def encode(value: object) -> bytes:
    """A value as bytes; raises `Unencodable`."""
    try:
        return _canonical(value, ()).encode()
    except RecursionError:
        raise Unencodable("the value is nested too deeply") from None


def _integer(source: str) -> int | float:
    """Numbers are doubles. What is written as an integer that no double holds is not rounded in silence."""
    # Longer ones are no double's canonical text, and converting them costs more than linear time.
    value = int(source) if len(source) <= 40 else None
    if value is not None and -SAFE <= value <= SAFE:
        return value
    if value is None or _double(float(source)) != source:
        raise Undecodable(f"the stored integer {source[:40]} is beyond 2^53 and has no tag; read it by get_int() or raw=True")
    return float(source)


def _float(source: str) -> int | float:
    value = float(source)
    if not math.isfinite(value):
        raise Undecodable(f"{source} is beyond every double")
    # 1e2 and 1.0 are what 100 and 1 are: JSON has one kind of number.
    return int(value) if value.is_integer() and abs(value) <= SAFE else value


def _constant(source: str) -> NoReturn:
    raise Undecodable(f"{source} is no JSON")


def _restored(value: Any) -> Any:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise Undecodable("a stored string holds a lone surrogate; read it with raw=True")
        if not _LOOKS_TAGGED.match(value):
            return value
        if value.startswith("$$"):
            return value[1:]
        tagged = _TAGGED.match(value)
        if not tagged or len(value) > 4000:
            raise Undecodable(f"{value[:40]} has the tag of an integer and holds none")
        return int(tagged[1])
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if isinstance(value, dict):
        return {key: _restored(member) for key, member in value.items()}
    return value


def decode(stored: bytes) -> Any:
    """Bytes as the value that they were written from; raises `Undecodable`."""
    try:
        text = stored.decode()
        value = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_constant)
        return _restored(value)
    except Undecodable:
        raise
    except (ValueError, RecursionError) as cause:
        raise Undecodable("what is stored is no JSON text; read what other programs wrote with raw=True") from cause


def _raw(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise Unencodable("with raw=True a value is bytes or a string")


class Codec(NamedTuple):
    """How values become bytes and come back."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


JSON = Codec(encode, decode)
RAW = Codec(_raw, bytes)
