"""The vectors that every SDK runs."""

import json
import pathlib
import random
import struct

import pytest

from miso_crdt import ArgumentError, MisoObject, SettingError, Undecodable, Unencodable, decode, default_id, encode, settings

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())


def build(value):
    kind, *content = value
    content = content[0] if content else None
    if kind == "double":
        return struct.unpack(">d", bytes.fromhex(content))[0]
    if kind == "integer":
        return int(content)
    if kind == "units":
        return "".join(chr(int(unit, 16)) for unit in content)
    if kind == "array":
        return [build(item) for item in content]
    if kind == "object":
        return {key: build(member) for key, member in content}
    if kind == "undefined":
        return object()  # What has no JSON form in this language.
    return {"null": None, "true": True, "false": False}.get(kind, content)


def names(section):
    return {"argvalues": VECTORS[section], "ids": [vector["name"] for vector in VECTORS[section]]}


@pytest.mark.parametrize("vector", **names("encode"))
def test_encodes_and_decodes(vector):
    value = build(vector["value"])
    assert encode(value).decode() == vector["text"]
    back = decode(vector["text"].encode())
    assert back == value
    assert encode(back).decode() == vector["text"]


@pytest.mark.parametrize("vector", **names("refuse"))
def test_refuses_to_encode(vector):
    with pytest.raises(Unencodable):
        encode(build(vector["value"]))


@pytest.mark.parametrize("vector", **names("decode"))
def test_decodes(vector):
    assert decode(vector["text"].encode()) == build(vector["value"])


@pytest.mark.parametrize("vector", **names("undecodable"))
def test_refuses_to_decode(vector):
    stored = bytes.fromhex(vector["hex"]) if "hex" in vector else vector["text"].encode()
    with pytest.raises(Undecodable):
        decode(stored)


@pytest.mark.parametrize("vector", **names("settings"))
def test_settings(vector):
    wrong = vector.get("missing") or vector.get("invalid")
    if wrong:
        with pytest.raises(SettingError, match=wrong) as raised:
            settings(environment=vector["environment"])
        assert raised.value.variable == wrong
        return
    found = settings(environment=vector["environment"])
    for key in ("host", "port", "user", "password", "function"):
        assert getattr(found, key) == vector[key], key


def test_the_default_objects_id():
    for vector in VECTORS["objects"]:
        assert default_id(vector["function"]) == vector["object"]


@pytest.mark.parametrize("vector", VECTORS["calls"], ids=lambda vector: vector["name"])
def test_ids_of_a_platforms_calls(vector):
    with MisoObject("redis://car:-@127.0.0.1:1") as so:
        if vector["accepted"]:
            so.for_call(vector["call"]).close()
        else:
            with pytest.raises(ArgumentError):
                so.for_call(vector["call"])


def test_every_double_survives():
    source = random.Random(1)
    for _ in range(5000):
        (value,) = struct.unpack(">d", source.randbytes(8))
        if value == value and abs(value) != float("inf"):
            assert decode(encode(value)) == value


def test_what_has_no_json_form():
    loop = []
    loop.append(loop)
    deep = None
    for _ in range(100_000):
        deep = [deep]
    for value in ({1: 2}, {1, 2}, b"bytes", 1j, loop, deep):
        with pytest.raises(Unencodable):
            encode(value)
    with pytest.raises(Undecodable):
        decode(b"[" * 100_000)
