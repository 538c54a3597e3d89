"""The OpenFaaS template for Python over plain HTTP, started as the watchdog starts it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from conftest import REPOSITORY, until
from miso_crdt.openfaas import seconds
from test_sdk import registered

SDKS = REPOSITORY / "sdk-compat"
TEMPLATE = SDKS / "openfaas" / "template" / "python3-miso"
LISTING_1 = """\
def handle(event, context):
    so = context.stateful_object
    counter = so.get_gcounter("totalSum")
    counter.add(1)
    return {"data": counter.get_value()}
"""


def fetch(url, data=None, headers=None):
    """Status, content type and body of an answer."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read().decode()


@pytest.fixture
def function(tmp_path):
    """Starts the template with a handler; answers its process, a way to call it and its log."""
    running = []

    def start(cluster, handler):
        folder = tmp_path / str(len(running))
        shutil.copytree(TEMPLATE, folder)
        (folder / "function" / "handler.py").write_text(handler)
        environment = {**os.environ, "MISO_URL": cluster.url(), "MISO_REPLICA_ID": "pod-1", "http_port": "0"}
        environment |= {"write_timeout": "300ms", "PYTHONPATH": str(SDKS / "python")}
        log = (folder / "log").open("w+")
        process = subprocess.Popen(
            [sys.executable, "index.py"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        running.append((process, log))
        line = process.stdout.readline()
        port = re.search(r":(\d+)$", line)
        assert port, f"it does not serve: {line}"

        def call(path="/", **more):
            return fetch(f"http://127.0.0.1:{port[1]}{path}", **more)

        return process, call, folder / "log"

    yield start
    for process, log in running:
        process.kill()
        process.wait()
        process.stdout.close()
        log.close()


def test_listing_1(cluster, function):
    assert (TEMPLATE / "function" / "handler.py").read_text() == LISTING_1
    one = cluster(1)
    process, call, _ = function(one, LISTING_1)
    assert registered(one)
    assert call() == (200, "application/json", '{"data":1}')
    assert call(data=b"x") == (200, "application/json", '{"data":2}')
    process.send_signal(signal.SIGTERM)
    assert call() == (200, "application/json", '{"data":3}')  # The watchdog goes on forwarding.
    assert process.wait(30) == 0
    assert not registered(one)


def test_an_end_in_the_midst_of_calls_loses_none(cluster, function):
    one = cluster(1)
    slow = "import time\n" + LISTING_1.replace("    counter.add", "    time.sleep(0.1)\n    counter.add")
    process, call, _ = function(one, slow)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(call()[0])) for _ in range(10)]
    for thread in threads:
        thread.start()
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert process.wait(30) == 0
    assert answers == [200] * 10
    _, again, _ = function(one, LISTING_1)
    assert again()[2] == '{"data":11}'


def test_durations_as_the_watchdog_reads_them():
    expected = {"10": 10, "0": 0, "250ms": 0.25, "1m30s": 90, "1.5h": 5400, "": 7, "soon": 7, None: 7}
    assert {text: seconds(text, 7) for text in expected} == expected


RESULTS = """\
import json
RESULTS = {
    "/none": lambda event, so: None,
    "/text": lambda event, so: "é",
    "/list": lambda event, so: [1, 2**60],
    "/set": lambda event, so: {1},
    "/bytes": lambda event, so: b"x",
    "/status": lambda event, so: {"statusCode": 201, "headers": {"Content-Type": "text/x"}, "body": "made"},
    "/body": lambda event, so: {"body": {"a": 1}},
    "/error": lambda event, so: {}["missing"],
    "/type": lambda event, so: so.get_orset("n").add(1) and so.get_gcounter("n").add(1),
    "/nan": lambda event, so: float("nan"),
    "/echo": lambda event, so: [event.method, event.body.decode(), event.query],
}
def handle(event, context):
    return RESULTS[event.path](event, context.stateful_object)
"""


def test_results_and_errors(cluster, function):
    _, call, log = function(cluster(1), RESULTS)
    assert call("/none") == (200, None, "")
    assert call("/text") == (200, "text/plain; charset=utf-8", "é")
    assert call("/list") == (200, "application/json", f"[1,{2**60}]")
    assert call("/set") == (200, "application/json", "[1]")
    assert call("/bytes") == (200, "application/octet-stream", "x")
    assert call("/status") == (201, "text/x", "made")
    assert call("/body") == (200, "application/json", '{"a":1}')
    assert call("/error") == (500, "application/json", json.dumps({"error": "'missing'"}))
    assert "WRONGTYPE" in call("/type")[2]
    assert call("/nan")[0] == 500
    assert call("/echo?a=b", data=b"x") == (200, "application/json", '["POST","x",{"a":"b"}]')
    for length in (1_048_577, 8_000_000):
        assert call("/echo", data=b"x" * length)[0] == 413
    assert "KeyError" in log.read_text()


def test_an_async_handler(cluster, function):
    handler = LISTING_1.replace("def ", "async def ").replace("counter.add", "await counter.add")
    process, call, _ = function(cluster(1), handler.replace("counter.get_value()", "await counter.get_value()"))
    assert call() == (200, "application/json", '{"data":1}')
    assert call() == (200, "application/json", '{"data":2}')
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_repeated_call_counts_once(cluster, function):
    one = cluster(1)
    one.do("once on")
    _, call, _ = function(one, LISTING_1)
    headers = {"X-Call-Id": "0f2c6d1e-5b0f-4a6c-9a55-1a9c6a7a8a11"}
    assert call(headers=headers)[2] == '{"data":1}'
    assert call(headers=headers)[2] == '{"data":1}'
    assert call()[2] == '{"data":2}'


@pytest.mark.parametrize("template", ["python3-miso", "node22-miso"])
@pytest.mark.parametrize("watchdog", [False, True], ids=["directly", "under of-watchdog"])
def test_run_local(template, watchdog):
    if watchdog and not shutil.which(os.environ.get("OF_WATCHDOG", "of-watchdog")):
        pytest.skip("of-watchdog is not on the PATH: put it there, or name it by OF_WATCHDOG")
    if template.startswith("node") and not (SDKS / "node" / "node_modules").is_dir():
        pytest.skip("run `npm ci` in sdk-compat/node first")
    environment = os.environ if watchdog else {**os.environ, "OF_WATCHDOG": "none"}
    command = [sys.executable, SDKS / "openfaas" / "run-local", "--nodes", "2", template]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        urls = [process.stdout.readline().strip() for _ in range(2)]
        assert fetch(urls[0])[2] == '{"data":1}'
        seen = [0]

        def both_count_together():
            seen.append(json.loads(fetch(urls[len(seen) % 2])[2])["data"])
            return seen[-1] == len(seen)  # This call and all before it, on both nodes.

        until(both_count_together)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
