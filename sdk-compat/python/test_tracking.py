"""redis-py's client-side cache on two nodes: what changes on one is read anew on the other."""

import time

import pytest
import redis
from conftest import DEADLINE, Node
from redis.cache import CacheConfig


@pytest.fixture
def two(tmp_path):
    """Two nodes that are joined."""
    homes = [tmp_path / name for name in ("one", "two")]
    for home in homes:
        home.mkdir()
    flags = ("--data-dir", "none", "--peer-port")
    one = Node(homes[0] / "log", *flags, "0", "--node-name", "one")
    client = redis.Redis(port=one.port, decode_responses=True)
    peer = client.config_get("peer-port")["peer-port"]
    two = Node(
        homes[1] / "log", *flags, "0", "--node-name", "two", "--join", f"127.0.0.1:{peer}"
    )
    yield one, two
    one.stop()
    two.stop()


def until(what, done):
    """Waits until `done` holds."""
    end = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def test_a_cache_follows_the_changes_of_another_node(two):
    here, there = two
    cached = redis.Redis(
        port=here.port, protocol=3, decode_responses=True, cache_config=CacheConfig()
    )
    writer = redis.Redis(port=there.port, decode_responses=True)
    writer.set("k", "1")
    until("the value to come", lambda: cached.get("k") == "1")
    assert cached.get_cache().size > 0
    # The cache answers: no command reaches the node.
    plain = redis.Redis(port=here.port, decode_responses=True)
    before = plain.info("commandstats").get("cmdstat_get", {}).get("calls", 0)
    for _ in range(10):
        assert cached.get("k") == "1"
    assert plain.info("commandstats")["cmdstat_get"]["calls"] == before
    writer.set("k", "2")
    until("the change of the other node", lambda: cached.get("k") == "2")
    plain.set("k", "3")
    until("the change of another client", lambda: cached.get("k") == "3")
    cached.close()
