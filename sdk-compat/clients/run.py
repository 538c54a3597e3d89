"""Runs clients against a node and writes ../../docs/clients.md.

    python3 run.py             all clients, and writes the table
    python3 run.py --light     those that CI runs; fails if their rows differ from the table
    python3 run.py NAME ..     those whose names contain one of these words, and writes their rows

With --installed it installs nothing.

It installs each client where it can (see clients.py), starts a node behind a proxy for each, and drives all of them
by the same lines: see drivers/.
"""

import concurrent.futures
import os
import pathlib
import queue
import re
import socket
import subprocess
import sys
import threading
import time

import clients
import encrypted
from clients import CLIENTS, HERE, REPOSITORY
from page import PAGE, row

DEADLINE = 60
PATIENCE = 12  # How long a call may take, with all that a client does to repeat it.


class Lines:
    """A program that answers each line by one line."""

    def __init__(self, *line, **environment):
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True, bufsize=1, cwd=HERE, env={**os.environ, **environment})
        self.answers = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.answers.put(line.rstrip("\n"))
        self.answers.put(None)

    def answer(self, seconds):
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            return None

    def send(self, line):
        try:
            self.process.stdin.write(line + "\n")
        except OSError:
            pass  # It has ended: the answer says so.

    def end(self):
        self.process.kill()
        self.process.wait()


class Node:
    """A node behind a proxy."""

    def __init__(self):
        self.lines = Lines(sys.executable, str(HERE.parent / "testing" / "cluster.py"), "1")
        ready = self.lines.answer(DEADLINE)
        if not ready or not ready.startswith("ready "):
            sys.exit(f"no node: {ready}")
        self.port = int(ready.split()[1])

    def do(self, line):
        self.lines.send(line)
        if self.lines.answer(DEADLINE) != "ok":
            sys.exit(f"the node does not do: {line}")

    def direct(self, function, line):
        """The integer that a command answers, sent without any client."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as direct:
            direct.sendall(f"AUTH {function} -\r\n{line}\r\n".encode())
            text = b""
            while text.count(b"\r\n") < 2:
                text += direct.recv(100)
        return int(text.split(b"\r\n")[1][1:])

    def value(self, name):
        """The value of a counter, wherever a client that lost its user name has counted."""
        return sum(self.direct(function, f"PNCOUNTER.GET obj {name}") for function in ("shop", "default"))

    def end(self):
        self.lines.process.stdin.close()
        self.lines.process.wait()


class Driven:
    """A client, driven by lines: each call answers (kind, text) or raises."""

    def __init__(self, client, **environment):
        self.lines = Lines(*client.line, **environment)

    def do(self, *words, seconds=PATIENCE):
        self.lines.send("\t".join(words))
        answer = ""
        while not answer.startswith(("ok\t", "error\t")):  # Some clients print warnings of their own.
            answer = self.lines.answer(seconds)
            if answer is None:
                raise TimeoutError(f"no answer to {words[0]}")
        word, *rest = answer.split("\t")
        if word == "error":
            raise RuntimeError(rest[0] if rest else "an error without a word")
        return (rest + ["", ""])[:2]

    def open(self, login, node, protocol):
        """Connects. A client that does not even refuse is no row of a table, but a machine with too much to do."""
        try:
            self.do("open", f"redis://{login}@127.0.0.1:{node.port}", protocol, seconds=DEADLINE)
        except TimeoutError:
            sys.exit(f"no connection within {DEADLINE} s: {self.lines.process.args}")

    def call(self, *words):
        return self.do("call", *words)


def function(client, node, login):
    """For whom connections speak whose URL has this login: by RESP2, and by RESP3 if the client has that."""
    names = []
    for protocol in ("2", "3"):
        driven = Driven(client)
        try:
            driven.open(login, node, protocol)
            name = driven.call("MISO.FUNCTION")[1]
            names.append(re.sub(r"^\w+\(.*?'(.*)'\)$|^\"|\"$", r"\1", name))
        except (RuntimeError, TimeoutError) as error:
            if protocol == "2":
                names.append(f"error: {error}")
        finally:
            driven.lines.end()
    return names


WRITES = [
    ("GCOUNTER.ADD", "obj", "g", "1"), ("PNCOUNTER.ADD", "obj", "n", "9007199254740993"),
    ("GSET.ADD", "obj", "gs", "a"), ("ORSET.ADD", "obj", "os", "a", "b"), ("MVREG.SET", "obj", "r", "a"),
    ("EWFLAG.ENABLE", "obj", "f"), ("ORMAP.SET", "obj", "m", "field", "a"), ("ORMAP.INCRBY", "obj", "m", "count", "1"),
]
READS = [("counter", ("PNCOUNTER.GET", "obj", "n")), ("set", ("ORSET.MEMBERS", "obj", "os")),
         ("map", ("ORMAP.GETALL", "obj", "m")), ("flag", ("EWFLAG.GET", "obj", "f"))]


def types(driven):
    """What the replies of each type are in the client's language, and whether large counters are exact."""
    for write in WRITES:
        driven.call(*write)
    kinds = {name: driven.call(*read)[0] for name, read in READS}
    exact = "9007199254740993" in driven.call("PNCOUNTER.GET", "obj", "n")[1]
    driven.call("MISO.DEL", "obj")
    return kinds, exact


def together(driven):
    """Whether a pipeline, a transaction and messages work."""
    found = {}
    for verb in ("pipeline", "multi"):
        try:
            for amount in ("1", "2", "3"):
                driven.do("queue", "PNCOUNTER.ADD", "obj", verb, amount)
            count = driven.do(verb)[1]
            found[verb] = int(count) == 3 and int("".join(filter(str.isdigit, driven.call("PNCOUNTER.GET", "obj", verb)[1]))) == 6
        except (RuntimeError, TimeoutError, ValueError):
            found[verb] = False
    return found


def messages(driven, node):
    """Whether a change is told."""
    try:
        driven.do("listen", "__miso__:shop:obj")
        threading.Timer(0.3, node.direct, ("shop", "GCOUNTER.ADD obj told 1")).start()
        return "told gcounter" in driven.do("message")[1]
    except (RuntimeError, TimeoutError):
        return False


def reconnect(driven, node):
    """How many calls fail after a connection was cut, and whether it then still speaks for the function."""
    node.do("drop 0")
    time.sleep(0.2)  # The end of the connection is on its way.
    end = time.monotonic() + PATIENCE
    failed = 0
    while time.monotonic() < end:
        try:
            return failed, driven.call("MISO.FUNCTION")[1].strip('"')
        except (RuntimeError, TimeoutError):
            failed += 1
            time.sleep(0.05)
    return failed, None


def lost_reply(driven, node):
    """What one call whose reply is lost counts, and what the program is told."""
    driven.call("PNCOUNTER.ADD", "obj", "lost", "0")
    before = node.value("lost")
    node.do("lose 0 PNCOUNTER.ADD")
    try:
        driven.call("PNCOUNTER.ADD", "obj", "lost", "1")
        told = "nothing"
    except RuntimeError:
        told = "an error"
    except TimeoutError:
        told = "no end"
    return node.value("lost") - before, told


def measure(client):
    """Everything about one client."""
    node = Node()
    found = {"version": clients.version(client)}
    try:
        found["named"] = function(client, node, "shop:-")
        found["no password"] = function(client, node, "shop")
        found["encoded"] = function(client, node, "shop%2Fcart:-")
        for protocol in ("2", "3"):
            driven = Driven(client)
            try:
                driven.open("shop:-", node, protocol)
                if found["named"][0] != "shop":
                    driven.call("AUTH", "shop", "-")
                found[f"RESP{protocol}"], found["exact"] = types(driven)
                if protocol == "2":
                    found |= together(driven)
                found["messages"] = found.get("messages") or messages(driven, node)
            except (RuntimeError, TimeoutError) as error:
                found[f"RESP{protocol}"] = None
                found[f"why {protocol}"] = str(error)
            finally:
                driven.lines.end()
        steps = [("reconnect", reconnect, {}), ("lost", lost_reply, {}), ("careful", lost_reply, {"CAREFUL": "1"})]
        for what, step, environment in steps if client.set else steps[:2]:
            driven = Driven(client, **environment)
            try:
                driven.open("shop:-", node, "2")
                if found["named"][0] != "shop":
                    driven.call("AUTH", "shop", "-")
                found[what] = step(driven, node)
            except (RuntimeError, TimeoutError) as error:
                found[f"why {what}"] = str(error)
            finally:
                driven.lines.end()
    finally:
        node.end()
    if client.tls:
        found["tls"] = encrypted.found(lambda environment: Driven(client, **environment))
    return found


def measured(client):
    """The row of a client."""
    found = measure(client)
    print(f"{client.name}: {found}", file=sys.stderr, flush=True)
    return row(client, found)


def main(words):
    light = "--light" in words
    names = [word for word in words if not word.startswith("--")]
    chosen = [client for client in CLIENTS
              if (client.light or not light) and (not names or any(name in client.name for name in names))]
    if "--installed" not in words:
        clients.install(chosen)
    with concurrent.futures.ThreadPoolExecutor(3 if light else 1) as beside:
        rows = list(beside.map(measured, chosen))
    table = REPOSITORY / "docs" / "clients.md"
    known = table.read_text().splitlines() if table.exists() else []
    if light:
        print("\n".join(rows))
        stale = [line for line in rows if line not in known]
        if stale:
            print("\n".join(["not in docs/clients.md; run sdk-compat/clients/run.py:", *stale]))
        print(f"{len(rows) - len(stale)} passed, {len(stale)} failed")
        return 1 if stale else 0
    # The rows of clients that were not run stay as they are.
    new = {client.name: line for client, line in zip(chosen, rows)}
    old = {client.name: line for client in CLIENTS for line in known if line.startswith(f"| {client.name} |")}
    lines = [{**old, **new}[client.name] for client in CLIENTS if client.name in {**old, **new}]
    table.write_text(PAGE.replace("ROWS", "\n".join(lines)))
    print(f"{len(rows)} clients were run; {len(lines)} are in {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
