"""The SDK for asyncio."""

import asyncio
import inspect

import pytest

import miso_crdt
from conftest import until
from miso_crdt import AsyncMisoObject, MisoObject, Timing, aio, aio_types, objects, types
from test_sdk import registered


def test_every_type(node):
    async def play():
        async with AsyncMisoObject(node.url("car:-"), id="o") as so:
            counter = so.get_pncounter("n")
            assert await counter.add(2**53) == 2**53
            assert await counter.sub() == 2**53 - 1
            values = so.get_orset("s")
            assert await values.add("a", 1, {"b": [None]}) == 3
            assert await values.has({"b": [None]})
            assert sorted([str(value) async for value in values]) == ["1", "a", "{'b': [None]}"]
            assert await values.discard("a", "x") == 1
            grown = so.get_gset("g")
            await grown.add(*range(2500))
            assert sorted([value async for value in grown]) == list(range(2500))
            register = so.get_mvregister("r", raw=True)
            await register.assign(b"\xff")
            assert await register.get_values() == [await register.get_value()] == [b"\xff"]
            flag = so.get_ewflag("f")
            assert await flag.enable() and await flag.get_value()
            fields = so.get_ormap("m")
            await fields.set("name", "car")
            assert await fields.increment("km", 5) == await fields.get_int("km") == 5
            assert await fields.get("none", 7) == 7
            assert await fields.get_value() == {"name": "car", "km": 5}
            assert sorted([field async for field in fields]) == ["km", "name"]
            with pytest.raises(miso_crdt.WrongType):
                await so.get_gcounter("s").add()
            with pytest.raises(miso_crdt.ArgumentError):
                await counter.add(1.5)

    asyncio.run(play())


def test_objects_batches_and_many_calls_at_once(node):
    async def play():
        async with AsyncMisoObject(node.url("car:-"), id="o") as so:
            await asyncio.gather(*(so.get_gcounter("n").add() for _ in range(100)))
            async with so.atomic() as batch:
                await batch.get_gcounter("n").add(1)
                await batch.get_ewflag("f").enable()
            assert batch.results == [101, True]
            async with so.batch() as batch:
                await batch.get_gcounter("n").get_value()
            assert batch.results == [101]
            assert await so.exists("n")
            assert await so.await_token(await so.token())
            assert await so.function_name() == "car"
            async with so.object("o2") as other:
                assert not await other.exists()
            assert await so.delete() == 2

    # One object in two event loops after each other.
    asyncio.run(play())
    asyncio.run(play())


def test_a_cancelled_call_leaves_no_reply_for_the_next(node):
    async def play():
        async with AsyncMisoObject(node.url("car:-"), id="o") as so:
            await so.get_gcounter("n").add(5)
            for _ in range(20):
                task = asyncio.create_task(so.get_gcounter("n").get_value())
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert await so.get_mvregister("r").get_value() is None

    asyncio.run(play())


def test_registered_and_told_again_after_a_reconnect(cluster):
    one = cluster(1)

    async def play():
        async with AsyncMisoObject(one.url(), id="o") as so:
            await so.register(replica="pod-1")
            watcher = await so.watch()
            events = aiter(watcher)
            await so.get_gcounter("a name").add()
            assert await anext(events) == miso_crdt.Change("a name", "gcounter")
            one.do("drop 0")
            assert await asyncio.wait_for(anext(events), 10) == miso_crdt.Gap()
            await asyncio.to_thread(until, lambda: registered(one))
            assert await so.unregister() is True
            assert await so.unregister() is False
            assert not registered(one)
            await watcher.close()

    asyncio.run(play())


@pytest.mark.parametrize("once", ["on", "off"])
def test_a_lost_reply(cluster, once):
    one = cluster(1)
    one.do(f"once {once}")

    async def play():
        async with AsyncMisoObject(one.url(), id="o", timing=Timing(reply_timeout=1)) as so:
            await so.get_gcounter("n").add()
            one.do("lose 0 GCOUNTER.ADD")
            if once == "on":
                assert await so.get_gcounter("n").add(10) == 11
            else:
                with pytest.raises(miso_crdt.UnknownOutcome):
                    await so.get_gcounter("n").add(10)
            assert await so.get_gcounter("n").get_value() == 11

    asyncio.run(play())


def test_both_kinds_have_the_same_methods():
    def methods(kind):
        return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}

    assert methods(MisoObject) == methods(AsyncMisoObject)
    assert methods(objects.Batch) == methods(aio.AsyncBatch)
    for name in ("GCounter", "PNCounter", "GSet", "ORSet", "MVRegister", "EWFlag", "ORMap"):
        assert methods(getattr(types, name)) == methods(getattr(aio_types, name)), name
