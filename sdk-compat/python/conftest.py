"""A node of its own for every test, and redis-py connections to it in both protocols."""

import os
import pathlib
import socket
import subprocess
import time

import pytest
import redis

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEADLINE = 30


def binary():
    """The server under test: MISO_SERVER, else the newest build in the target directory."""
    if "MISO_SERVER" in os.environ:
        return os.environ["MISO_SERVER"]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    builds = [path for path in target.glob("*/miso-server") if path.is_file()]
    assert builds, "run `cargo build -p miso-server` first, or set MISO_SERVER"
    return str(max(builds, key=lambda path: path.stat().st_mtime))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    """A running server on a free loopback port."""

    def __init__(self, log, *flags):
        self.port = free_port()
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [binary(), "--port", str(self.port), *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
            )
        end = time.monotonic() + DEADLINE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(64)[:1] in (b"+", b"-"):
                        return
            except OSError:
                pass
            assert self.process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.005)

    def url(self, login=""):
        return f"redis://{login}{'@' if login else ''}127.0.0.1:{self.port}"

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def node(tmp_path):
    running = Node(tmp_path / "log")
    yield running
    running.stop()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request):
    return request.param


@pytest.fixture
def r(node, protocol):
    client = redis.Redis.from_url(node.url(), protocol=protocol, decode_responses=True)
    yield client
    client.close()
