"""The SDK, blocking: every type, errors, batches, registration, changes, threads and forks."""

import os
import threading

import pytest
import redis

import miso_crdt
from conftest import Cluster, Node, until
from miso_crdt import MisoObject, Timing


@pytest.fixture
def so(node):
    with MisoObject(node.url("car:-"), id="TripData-12345") as made:
        yield made


def test_counters(so):
    counter = so.get_gcounter("totalSum")
    assert counter.get_value() == 0
    assert counter.add() == 1
    assert counter.add(41) == 42
    counter += 2**53
    assert counter.get_value() == int(counter) == 2**53 + 42
    for wrong in (1.5, "1", True):
        with pytest.raises(miso_crdt.ArgumentError):
            counter.add(wrong)
    with pytest.raises(miso_crdt.ReplyError, match="cannot decrease"):
        counter.add(-1)
    both = so.get_pncounter("both")
    both += 5
    both -= 8
    assert both.get_value() == -3
    assert both.sub() == -4
    with pytest.raises(miso_crdt.WrongType, match="WRONGTYPE"):
        so.get_orset("both").add("a")


@pytest.mark.parametrize("kind", ["gset", "orset"])
def test_sets(so, kind):
    values = getattr(so, f"get_{kind}")("s")
    assert values.add("a", 1, 1.0, {"b": [None]}, 2**60) == 4
    assert values.add() == 0
    assert len(values) == values.size() == 4
    assert {"b": [None]} in values
    assert "1" not in values
    assert sorted(map(str, values)) == sorted(map(str, values.get_value()))
    assert sorted(map(str, values)) == ["1", str(2**60), "a", "{'b': [None]}"]
    if kind == "orset":
        assert values.discard("a", "x") == 1
        assert values.clear() == 3
        assert len(values) == 0


def test_many_and_raw_values(so):
    large = so.get_gset("large")
    large.add(*range(2500))
    assert sorted(large) == list(range(2500))
    raw = so.get_orset("raw", raw=True)
    raw.add(b"\xff\x00", "text")
    assert sorted(raw) == [b"text", b"\xff\x00"]
    assert b"\xff\x00" in raw
    with pytest.raises(miso_crdt.Undecodable, match="raw=True"):
        so.get_orset("raw").get_value()


def test_registers_and_flags(so):
    register = so.get_mvregister("r")
    assert register.get_value() is None
    register.assign({"b": 1, "a": ["é"]})
    assert register.get_value() == {"a": ["é"], "b": 1}
    assert register.get_values() == [{"a": ["é"], "b": 1}]
    with pytest.raises(miso_crdt.Unencodable):
        register.assign(float("nan"))
    flag = so.get_ewflag("f")
    assert not flag
    assert flag.enable() is True
    assert flag.enable() is False
    assert flag
    assert flag.assign(False) is True
    assert flag.get_value() is False
    with pytest.raises(miso_crdt.ArgumentError):
        flag.assign(1)


def test_maps(so):
    fields = so.get_ormap("m")
    fields["name"] = "car"
    assert fields.increment("km", 2**53 + 1) == 2**53 + 1
    assert fields["name"] == fields.get("name") == "car"
    assert fields.get_int("km") == 2**53 + 1
    assert fields.get_int("none") == 0
    assert fields.get("none", 7) == 7
    with pytest.raises(KeyError):
        fields["none"]
    assert "km" in fields and "none" not in fields
    assert len(fields) == 2
    assert sorted(fields.keys()) == ["km", "name"]
    assert fields.get_values("name") == ["car"]
    del fields["km"]
    with pytest.raises(KeyError):
        del fields["km"]
    assert fields.get_value() == dict(fields.items()) == {"name": "car"}
    assert list(fields) == ["name"]


def test_objects_batches_and_transactions(so):
    assert so.exists() is False
    with so.batch() as batch:
        batch.get_gcounter("n").add(2)
        batch.get_orset("s").add("a", "b")
        batch.get_gcounter("n").get_value()
    assert batch.results == [2, 2, 2]
    with pytest.raises(miso_crdt.ArgumentError):
        batch.send()
    with so.atomic() as atomic:
        atomic.get_gcounter("n").add(1)
        atomic.get_ewflag("f").enable()
    assert atomic.results == [3, True]
    wrong = so.batch()
    wrong.get_gcounter("s").add(1)
    wrong.get_gcounter("n").add(1)
    with pytest.raises(miso_crdt.WrongType):
        wrong.send()
    assert so.exists("n") is True
    assert so.get_gcounter("n").get_value() == 4
    assert so.delete("n") == 1
    assert so.object("other").exists() is False
    assert so.delete() == 2
    assert so.await_token(so.token()) is True


def test_what_a_login_and_a_url_may_lack(tmp_path):
    node = Node(tmp_path / "log", "--requirepass", "pw")
    try:
        with MisoObject(node.url("car:no")) as so, pytest.raises(miso_crdt.AccessError):
            so.exists()
        with MisoObject(node.url(":pw")) as so:
            assert so.function_name() == "default"
        with MisoObject(node.url(":pw"), function="car") as so, pytest.raises(miso_crdt.FunctionMismatch):
            so.exists()
    finally:
        node.stop()
    with MisoObject("redis://car:-@127.0.0.1:1", timing=Timing(deadline=0.2)) as so:
        with pytest.raises(miso_crdt.NotSent, match=r"no node at 127\.0\.0\.1:1"):
            so.get_gcounter("n").add()
    with pytest.raises(miso_crdt.NotSent, match="closed"):
        so.exists()


def test_registered_again_after_a_reconnect(cluster):
    one = cluster(1)
    with MisoObject(one.url(), id="o") as so:
        so.register(replica="pod-1")
        assert registered(one)
        one.do("drop 0")
        until(lambda: registered(one))
        assert so.unregister() is True
        assert so.unregister() is False
        assert not registered(one)


def registered(one: Cluster):
    with redis.Redis.from_url(one.url(0, "admin")) as client:
        return "pod-1" in repr(client.execute_command("MISO.FUNCTIONS"))


def test_changes_with_their_gap(cluster):
    one = cluster(1)
    with MisoObject(one.url(), id="o") as so, so.watch() as watcher:
        so.get_gcounter("a name").add()
        assert watcher.get(timeout=10) == miso_crdt.Change("a name", "gcounter")
        assert watcher.get(timeout=0.05) is None
        one.do("drop 0")
        assert watcher.get(timeout=10) == miso_crdt.Gap()
        so.get_ewflag("f").enable()
        assert watcher.get(timeout=10) == miso_crdt.Change("f", "ewflag")
        watcher.close()
        assert list(watcher) == []


def test_threads_share_an_object(so):
    def work():
        for _ in range(50):
            so.get_gcounter("n").add()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert so.get_gcounter("n").get_value() == 400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_worker_has_connections_of_its_own(so):
    so.get_gcounter("n").add()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                for _ in range(20):
                    so.get_gcounter("n").add()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    for _ in range(20):
        so.get_gcounter("n").add()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert so.get_gcounter("n").get_value() == 81


def test_ids_of_calls(so):
    with so.for_call("call-1") as call:
        assert call.get_gcounter("n").add() == 1
    with pytest.raises(miso_crdt.ArgumentError, match="expected 1 to 64"):
        so.for_call("x" * 64)
