"""Functions under a watchdog: the templates, and the stock templates' contract with the preload.

The watchdog is of-watchdog, if it is on the PATH or named by OF_WATCHDOG; `cargo xtask test python` names the one in
../testing/watchdog. A second Node for node22-miso may be named by NODE_22.
"""

import http.client
import json
import os
import signal
import sys
import threading

import pytest

from conftest import REPOSITORY, until
from miso_crdt import MisoObject
from test_openfaas import LISTING_1, fetch
from test_sdk import registered

sys.path.insert(0, str(REPOSITORY / "sdk-compat" / "testing"))

import replicas  # noqa: E402

WATCHDOG = replicas.watchdog()
pytestmark = pytest.mark.skipif(not WATCHDOG, reason="of-watchdog is not on the PATH: put it there, or name it by OF_WATCHDOG")

# Listing 1 of the paper, byte for byte.
PAPER = b"""\
module.exports = async (event, context) => {
    const so = context.statefulObject;
    const counter = so.getGCounter('totalSum');
    await counter.add(1);
    return { data: await counter.getValue() };
};
"""
ASYNC = LISTING_1.replace("def ", "async def ").replace("counter.", "await counter.")
# The same with a pause around its one write, for calls that are in hand when the end comes.
SLOW_JS = PAPER.decode().replace("    await counter", "    await new Promise((done) => setTimeout(done, 60));\n    await counter")
SLOW_PY = "import time\n" + LISTING_1.replace("    counter.add", "    time.sleep(0.06)\n    counter.add")

KINDS = {
    "node20-miso": (PAPER, SLOW_JS),
    "node22-miso": (PAPER, SLOW_JS),
    "python3-miso": (LISTING_1.encode(), SLOW_PY),
    "python3-miso, async": (ASYNC.encode(), SLOW_PY),
    replicas.STOCK: (PAPER, SLOW_JS),
}


class Running:
    """A replica under the watchdog."""

    def __init__(self, process, port):
        self.process, self.port = process, port

    def call(self, path="/", **more):
        return fetch(f"http://127.0.0.1:{self.port}{path}", **more)


@pytest.fixture
def start(tmp_path):
    """Starts a function of a kind with a handler beside a node."""
    running = []

    def begin(kind, handler, url, **more):
        template, stock = kind.partition(",")[0], kind == replicas.STOCK
        source = tmp_path / f"function-{len(running)}"
        source.mkdir()
        name = "handler.py" if template.startswith("python") else "handler.js"
        (source / name).write_bytes(handler if isinstance(handler, bytes) else handler.encode())
        if name.endswith("py"):
            (source / "__init__.py").touch()
        node = os.environ.get("NODE_22", "node") if template == "node22-miso" else "node"
        folder = tmp_path / f"image-{len(running)}"
        line = replicas.prepare(folder, template, source, node)
        running.append(Running(*replicas.start(line, folder, url, WATCHDOG, stock, **{"MISO_REPLICA_ID": "pod-1", **more})))
        return running[-1]

    yield begin
    for each in running:
        each.process.kill()
        each.process.wait()


def total(url):
    """What the node has counted for the function."""
    with MisoObject(url) as so:
        return so.get_gcounter("totalSum").get_value()


def data(answer):
    """The result of an answer of Listing 1, whose content type is the template's own matter."""
    status, _, body = answer
    assert status == 200, body
    return json.loads(body)["data"]


@pytest.mark.parametrize("kind", KINDS)
def test_listing_1(cluster, start, kind):
    one = cluster(1)
    function = start(kind, KINDS[kind][0], one.url(), healthcheck_interval="100ms")
    assert function.call("/_/health")[0] == 200
    until(lambda: registered(one))
    assert [data(function.call()) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert data(function.call(data=b"x", headers={"content-type": "text/plain"})) == 6
    assert total(one.url()) == 6
    function.process.send_signal(signal.SIGTERM)
    assert function.process.wait(30) == 0
    until(lambda: not registered(one))  # Said, or lapsed with the connection.


def test_listing_1_is_the_papers():
    for template in ("node20-miso", "node22-miso"):
        assert (replicas.TEMPLATES / template / "function" / "handler.js").read_bytes() == PAPER


class Callers:
    """Callers that call one after the other until the watchdog takes no more."""

    def __init__(self, port, count=6):
        self.answered, self.failed = [], []
        self.port = port
        self.threads = [threading.Thread(target=self.call) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def call(self):
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read()
            except (ConnectionError, http.client.RemoteDisconnected):
                return  # Not taken: the watchdog has closed its port.
            finally:
                connection.close()
            (self.answered if answer.status == 200 else self.failed).append(body)

    def join(self):
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "python3-miso, async"])
def test_an_end_in_the_midst_of_calls_loses_none(cluster, start, kind):
    one = cluster(1)
    function = start(kind, KINDS[kind][1], one.url(), healthcheck_interval="2500ms", write_timeout="2s")
    callers = Callers(function.port)
    until(lambda: len(callers.answered) >= 20)
    before = len(callers.answered)
    function.process.send_signal(signal.SIGTERM)
    callers.join()
    code = function.process.wait(30)
    if kind == replicas.STOCK:
        # A stock template ends at once, and the calls in hand with it. What was answered is kept all the same.
        assert total(one.url()) >= len(callers.answered) >= before
        return
    assert code == 0
    assert callers.failed == []
    assert len(callers.answered) > before  # The watchdog goes on forwarding.
    assert total(one.url()) == len(callers.answered)


def test_a_lost_reply_counts_once(cluster, start):
    one = cluster(1)
    function = start("node22-miso", PAPER, one.url(), healthcheck_interval="100ms")
    assert data(function.call()) == 1
    one.do("drop 0")
    assert data(function.call()) == 2
    one.do("lose 0 GCOUNTER.ADD")
    assert data(function.call()) == 3
    assert total(one.url()) == 3


@pytest.mark.parametrize("kind", ["node22-miso", "python3-miso"])
def test_a_killed_replica_loses_none_and_a_second_try_elsewhere_counts_once(cluster, start, kind):
    two = cluster(2)
    dying, living = (start(kind, KINDS[kind][1], two.url(node), MISO_REPLICA_ID=f"pod-{node}") for node in (0, 1))
    done, tried_again = [], []

    def call(number):
        headers = {"X-Call-Id": f"call-{number}"}
        try:
            answer = dying.call(headers=headers)
        except OSError:
            tried_again.append(number)
            answer = living.call(headers=headers)
        done.append(answer[0])

    threads = [threading.Thread(target=lambda first=first: [call(first * 20 + i) for i in range(20)]) for first in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: len(done) >= 30)
    dying.process.kill()
    for thread in threads:
        thread.join(60)
    assert done == [200] * 120
    assert tried_again
    for node in (0, 1):
        until(lambda node=node: total(two.url(node)) == 120)
