"""Upstash's client for Python, unchanged, by URL and token alone."""

import asyncio
import re
import time

import pytest
from conftest import DEADLINE, Node
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis
from upstash_redis.errors import UpstashError

READY = re.compile(r"Ready to accept HTTP connections on (127\.0\.0\.1:\d+)\n")


def start(tmp_path, *flags):
    """A node with HTTP, and its URL."""
    log = tmp_path / "log"
    node = Node(log, "--peer-port", "0", "--data-dir", "none", "--http-port", "0", *flags)
    end = time.monotonic() + DEADLINE
    while not (ready := READY.search(log.read_text())):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.005)
    return node, f"http://{ready[1]}"


@pytest.fixture
def url(tmp_path):
    node, url = start(tmp_path)
    yield url
    node.stop()


@pytest.mark.parametrize("encoding", ["base64", None])
def test_commands(url, encoding):
    redis = Redis(url=url, token="shop", rest_encoding=encoding)
    assert redis.ping() == "PONG"
    assert redis.echo("hé\n") == "hé\n"
    assert redis.execute(["GCOUNTER.ADD", "cart", "n", 2]) == 2
    assert redis.execute(["MVREG.SET", "cart", "owner", "Ä"]) == "OK"
    assert redis.execute(["MVREG.GET", "cart", "owner"]) == ["Ä"]
    assert redis.execute(["MVREG.VALUE", "cart", "none"]) is None
    assert Redis(url=url, token="other:-").execute(["GCOUNTER.GET", "cart", "n"]) == 0


def test_a_pipeline_and_a_transaction(url):
    redis = Redis(url=url, token="shop")
    assert redis.pipeline().ping().echo("a").exec() == ["PONG", "a"]
    assert redis.multi().echo("a").publish("c", "m").exec() == ["a", 0]


def test_errors_say_what_the_server_says(tmp_path):
    node, url = start(tmp_path, "--requirepass", "pw")
    try:
        assert Redis(url=url, token="default:pw").ping() == "PONG"
        with pytest.raises(UpstashError, match="WRONGPASS"):
            Redis(url=url, token="default:wrong", rest_retries=0).ping()
        with pytest.raises(UpstashError, match="unknown command"):
            Redis(url=url, token="default:pw").execute(["NOSUCH"])
    finally:
        node.stop()


def test_the_asynchronous_client(url):
    async def run():
        async with AsyncRedis(url=url, token="shop") as redis:
            return await asyncio.gather(*(redis.echo(str(n)) for n in range(20)))

    assert asyncio.run(run()) == [str(n) for n in range(20)]
