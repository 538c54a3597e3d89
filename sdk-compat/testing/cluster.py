"""Some nodes for the tests of an SDK, with proxies in front of them, led by lines on standard input.

Usage: python3 cluster.py [NODES] [--flag value ..]

It prints `ready PORT ..`, one client port per node, then `ok` (or `error ..`) after each of these lines:

    kill N        the node dies (SIGKILL)
    start N       it starts again with its data, behind the same port
    freeze N      it stops for a while (SIGSTOP)
    thaw N        it goes on (SIGCONT)
    cut           no node reaches another
    heal          they do again
    drop N        the connections of the node's clients end
    lose N TEXT   the next command that holds TEXT runs; its reply is lost and its connection ends
    once on|off   the server knows MISO.ONCE (played by the proxy if the server is too old), or does not

It ends, and its nodes with it, at the end of its input.
"""

import asyncio
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import resp
from proxy import MARK, ClientProxy, Proxy

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEADLINE = 30
PEERS = re.compile(r"Listening for nodes of cluster \S+ on 127\.0\.0\.1:(\d+)")
CLIENTS = re.compile(r"Ready to accept connections on 127\.0\.0\.1:(\d+)")


def binary():
    """The server under test: MISO_SERVER, else the newest build in the target directory."""
    if "MISO_SERVER" in os.environ:
        return os.path.abspath(os.environ["MISO_SERVER"])
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    builds = [path for path in target.glob("*/miso-server") if path.is_file()]
    if not builds:
        sys.exit("error run `cargo build -p miso-server` first, or set MISO_SERVER")
    return str(max(builds, key=lambda path: path.stat().st_mtime))


class Node:
    """A server, the proxy of its clients and the proxy of its peers."""

    def __init__(self, number, folder, flags, kept):
        self.name = f"node-{number}"
        self.folder = folder / self.name
        self.folder.mkdir()
        self.flags = flags
        self.clients, self.peers = ClientProxy(kept), Proxy()
        self.process = None

    async def start(self, others):
        log = self.folder / "log"
        join = [part for other in others for part in ("--join", f"127.0.0.1:{other.peers.port}")]
        # What a test says to its SDK by MISO_.. variables is not for the server, which reads some of the same names.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MISO_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [binary(), "--port", "0", "--peer-port", "0", "--mdns", "no", "--node-name", self.name]
                + ["--peer-announce", f"127.0.0.1:{self.peers.port}", *join, *self.flags],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, env=environment,
            )
        end = time.monotonic() + DEADLINE
        while not (ready := CLIENTS.search(log.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server is not ready: {log.read_text()!r}")
            await asyncio.sleep(0.005)
        self.clients.target = int(ready[1])
        self.peers.target = int(PEERS.search(log.read_text())[1])

    def signal(self, number):
        self.process.send_signal(number)

    def stopped(self):
        """Whether every thread of it stands still, which is a little after the signal."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class Cluster:
    def __init__(self, nodes):
        self.nodes = nodes
        self.knows_once = None

    async def detect(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.nodes[0].clients.target)
        writer.write(resp.command(b"COMMAND", b"INFO", MARK))
        self.knows_once = MARK in (await resp.frame(reader)).upper()
        writer.close()

    async def do(self, verb, *words):
        node = self.nodes[int(words[0])] if words and words[0].isdigit() else None
        if verb == "kill":
            node.kill()
            node.clients.drop()
        elif verb == "start":
            await node.start([other for other in self.nodes if other is not node])
        elif verb == "freeze":
            node.signal(signal.SIGSTOP)
            while not node.stopped():
                await asyncio.sleep(0.005)
        elif verb == "thaw":
            node.signal(signal.SIGCONT)
        elif verb == "drop":
            node.clients.drop()
        elif verb == "lose":
            node.clients.lost = words[1].upper().encode()
        elif verb in ("cut", "heal"):
            for each in self.nodes:
                getattr(each.peers, verb)()
        elif verb == "once" and words[0] in ("on", "off"):
            plays = words[0] == "on"
            for each in self.nodes:
                each.clients.once = None if plays and self.knows_once else plays
                each.clients.drop()
        else:
            raise ValueError(f"unknown line: {verb} {' '.join(words)}")
        # An aborted connection is closed in the loop's next turn, ahead of this: only then is the line done.
        await asyncio.sleep(0)


async def main(count, flags):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="miso-sdk-"))
    kept = {}
    nodes = [Node(number, folder, flags, kept) for number in range(count)]
    try:
        for node in nodes:
            await node.clients.listen()
            await node.peers.listen()
        for node in nodes:
            await node.start([other for other in nodes if other is not node])
        cluster = Cluster(nodes)
        await cluster.detect()
        print("ready", *[node.clients.port for node in nodes], flush=True)
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lines.feed_eof)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            try:
                await cluster.do(*line.decode().split())
                print("ok", flush=True)
            except Exception as error:  # It is told to the test, which fails with it.
                print("error", repr(error), flush=True)
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    numbers = sys.argv[1:2] if sys.argv[1:2] and sys.argv[1].isdigit() else []
    asyncio.run(main(int(numbers[0]) if numbers else 3, sys.argv[1 + len(numbers) :]))
