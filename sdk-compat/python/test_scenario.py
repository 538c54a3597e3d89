"""A smart car on three nodes: what it counted is exact, whatever the network and the nodes do."""

import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import REPOSITORY, until
from miso_crdt import MisoObject, Timing, UnknownOutcome, Unreachable

TRIP = "TripData-12345"
PYTHON = REPOSITORY / "sdk-compat" / "python"


@pytest.fixture
def car():
    """Opens the trip on a node."""
    opened = []

    def open_trip(cluster, node=0, **timing):
        opened.append(MisoObject(cluster.url(node), id=TRIP, timing=Timing(**timing)))
        return opened[-1]

    yield open_trip
    for each in opened:
        each.close()


def distance(so):
    return so.get_pncounter("distanceDriven")


def test_a_cut(cluster, car):
    nodes = cluster()
    cars = [car(nodes, node) for node in range(3)]
    for so in cars:
        distance(so).add(1)
    until(lambda: all(distance(so).get_value() == 3 for so in cars))
    nodes.do("cut")
    for i, so in enumerate(cars):
        distance(so).add(10 * (i + 1))
    cars[0].get_orset("alerts").add("low tyre", {"code": 7})
    cars[1].get_orset("alerts").add("low tyre")
    assert distance(cars[0]).get_value() == 13
    nodes.do("heal")
    until(lambda: all(distance(so).get_value() == 63 for so in cars))
    assert cars[2].await_token(cars[1].token(), timeout=10)
    until(lambda: len(cars[2].get_orset("alerts")) == 2)
    assert {"code": 7} in cars[2].get_orset("alerts")


def test_a_killed_node(cluster, car):
    nodes = cluster(3, "--appendfsync", "always")
    first, second = car(nodes, 0), car(nodes, 1)
    for _ in range(10):
        distance(first).add(1)
    nodes.do("kill 0")
    nodes.do("start 0")
    assert distance(first).get_value() == 10
    assert distance(first).add(5) == 15
    until(lambda: distance(second).get_value() == 15)


def test_a_lost_reply_counts_once(cluster, car):
    nodes = cluster(1)
    nodes.do("once on")
    so = car(nodes)
    distance(so).add(1)
    nodes.do("lose 0 PNCOUNTER.ADD")
    assert distance(so).add(10) == 11
    nodes.do("lose 0 EXEC")
    with so.atomic() as trip:
        trip.get_pncounter("distanceDriven").add(100)
        trip.get_orset("alerts").add("speed")
    assert trip.results == [111, 1]
    # With a read in it, or too many calls for what the server keeps, it has no id.
    with so.atomic() as looks:
        looks.get_orset("alerts").add("brakes")
        looks.get_orset("alerts").get_value()
    assert looks.results[0] == 1 and sorted(looks.results[1]) == ["brakes", "speed"]
    with so.atomic() as long:
        for number in range(25):
            long.get_ewflag(f"flag-{number}").enable()
    assert len(long.results) == 25
    nodes.do("lose 0 EXEC")
    with pytest.raises(UnknownOutcome), so.atomic() as unnamed:
        unnamed.get_orset("alerts").add("brakes")
        unnamed.get_orset("alerts").size()
    for _ in range(2):  # The platform repeats the whole call under its own id.
        with so.for_call("call-7") as call:
            assert distance(call).add(1000) == 1111
    assert distance(so).get_value() == 1111


def test_a_lost_reply_of_a_server_that_knows_no_ids(cluster, car):
    nodes = cluster(1)
    nodes.do("once off")
    so = car(nodes)
    distance(so).add(1)
    nodes.do("lose 0 PNCOUNTER.ADD")
    with pytest.raises(UnknownOutcome, match="read first"):
        distance(so).add(10)
    nodes.do("lose 0 PNCOUNTER.GET")
    assert distance(so).get_value() == 11
    nodes.do("lose 0 EXEC")
    with pytest.raises(UnknownOutcome), so.atomic() as trip:
        trip.get_pncounter("distanceDriven").add(1)
    assert distance(so).get_value() == 12


def test_a_frozen_node(cluster, car):
    nodes = cluster(1)
    nodes.do("once off")
    so = car(nodes, reply_timeout=0.3, connect_timeout=0.3, deadline=1)
    distance(so).add(1)
    nodes.do("freeze 0")
    with pytest.raises(UnknownOutcome):
        distance(so).add(10)
    with pytest.raises(Unreachable):
        distance(so).get_value()
    nodes.do("thaw 0")
    until(lambda: distance(so).get_value() == 11)


def test_a_frozen_process(cluster):
    nodes = cluster(1)
    nodes.do("once off")
    environment = {**os.environ, "MISO_URL": nodes.url(), "PYTHONPATH": str(PYTHON)}
    child = subprocess.Popen(
        [sys.executable, "-u", PYTHON / "examples" / "counting.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment,
    )  # fmt: skip
    try:
        child.stdin.write("1\n")
        assert child.stdout.readline() == "1\n"
        child.send_signal(signal.SIGSTOP)
        nodes.do("drop 0")
        time.sleep(1.2)  # Longer than `check_after`.
        child.stdin.write("1\n")
        child.send_signal(signal.SIGCONT)
        assert child.stdout.readline() == "2\n"
        child.stdin.close()
        assert child.wait() == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
