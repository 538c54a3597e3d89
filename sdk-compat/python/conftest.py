"""A node of its own for every test, and redis-py connections to it in both protocols."""

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
import redis

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEADLINE = 30
READY = re.compile(r"Ready to accept connections on 127\.0\.0\.1:(\d+)\n")


def binary():
    """The server under test: MISO_SERVER, else the newest build in the target directory."""
    if "MISO_SERVER" in os.environ:
        return os.path.abspath(os.environ["MISO_SERVER"])  # It starts in a folder of its own.
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    builds = [path for path in target.glob("*/miso-server") if path.is_file()]
    assert builds, "run `cargo build -p miso-server` first, or set MISO_SERVER"
    return str(max(builds, key=lambda path: path.stat().st_mtime))


class Node:
    """A running server on a free loopback port."""

    def __init__(self, log, *flags):
        # It picks its port itself and tells it: one that was free a moment ago may be somebody else's by now.
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [binary(), "--port", "0", "--mdns", "no", *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
            )
        end = time.monotonic() + DEADLINE
        while not (ready := READY.search(log.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                pytest.fail(f"the server is not ready:\n{log.read_text()}")
            time.sleep(0.005)
        self.port = int(ready[1])

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


class Cluster:
    """Some nodes with proxies in front of them, led by the lines of ../testing/cluster.py."""

    def __init__(self, count, *flags):
        program = REPOSITORY / "sdk-compat" / "testing" / "cluster.py"
        self.process = subprocess.Popen(
            [sys.executable, program, str(count), *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ports = self.answer("ready").split()[1:]

    def answer(self, word):
        line = self.process.stdout.readline()
        assert line.startswith(word), f"the cluster says: {line}"
        return line

    def do(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        self.answer("ok")

    def url(self, node=0, name="car"):
        return f"redis://{name}:-@127.0.0.1:{self.ports[node]}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def cluster():
    """Starts clusters that end with the test."""
    running = []

    def start(count=3, *flags):
        running.append(Cluster(count, *flags))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def until(condition, seconds=20):
    """Waits until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition does not come true"
        time.sleep(0.01)
