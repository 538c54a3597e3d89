"""A node that serves TLS, and what a client does there."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

from clients import REPOSITORY

sys.path.append(str(REPOSITORY / "sdk-compat" / "testing"))
from cluster import binary  # noqa: E402

#: What it says of each of its two ports.
READY = "Ready to accept connections on "
DEADLINE = 30


class Encrypted:
    """A node with certificates of a CA of its own; clients may show one, or must."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.process = None

    def start(self):
        for words in (["init"], ["node", "node"], ["client", "app"]):
            subprocess.run([binary(), "certs", words[0], "--dir", self.folder.name, *words[1:]], check=True,
                           capture_output=True)
        other = self.path("other")
        subprocess.run([binary(), "certs", "init", "--dir", other], check=True, capture_output=True)
        # With port 0, clients without TLS would not be served.
        with socket.socket() as one, socket.socket() as other_one:
            for free in (one, other_one):
                free.bind(("127.0.0.1", 0))
            self.port, self.plain = (free.getsockname()[1] for free in (one, other_one))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MISO_")}
        with open(self.path("log"), "wb") as output:
            self.process = subprocess.Popen(
                [binary(), "--port", str(self.plain), "--peer-port", "none", "--mdns", "no", "--data-dir", "none",
                 "--tls-port", str(self.port), "--tls-cert-file", self.path("node.pem"),
                 "--tls-key-file", self.path("node-key.pem"), "--tls-ca-cert-file", self.path("ca.pem"),
                 "--tls-auth-clients", "optional"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder.name, env=environment)
        end = time.monotonic() + DEADLINE
        while (log := pathlib.Path(self.path("log")).read_text(encoding="utf-8")).count(READY) < 2:
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"no node with TLS: {log}")
            time.sleep(0.005)
        self.run("ACL SETUSER cart on >secret ~* &* +@all -@admin function=cart")
        self.token = self.run("MISO.GRANT till").splitlines()[1]

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run(self, line):
        """What a command answers, sent without TLS."""
        with socket.create_connection(("127.0.0.1", self.plain), timeout=5) as direct:
            direct.sendall(f"{line}\r\nQUIT\r\n".encode())
            said = b""
            while more := direct.recv(1000):
                said += more
        return said.decode()

    def environment(self, known, ca="ca.pem"):
        """What a driver reads: the CA that it trusts and, if it is known, its certificate. It tries once."""
        own = {"TLS_CERT": self.path("app.pem"), "TLS_KEY": self.path("app-key.pem")}
        return {"TLS_CA": self.path(ca), "CAREFUL": "1", **(own if known else {})}

    def url(self, login):
        return f"rediss://{login}@localhost:{self.port}"

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


def speaks(driven_with, node, login, **environment):
    """For which function a client speaks that connects by TLS; none if it is refused or refuses the node."""
    driven = driven_with(environment)
    try:
        driven.do("open", node.url(login), "2", seconds=DEADLINE)
        return re.sub(r"^\w+\(.*?'(.*)'\)$|^\"|\"$", r"\1", driven.do("call", "MISO.FUNCTION")[1])
    except (RuntimeError, TimeoutError):
        return None
    finally:
        driven.lines.end()


def found(driven_with):
    """Whether a client connects by TLS as a bound user: if it trusts the node's CA and only then, with a certificate
    where one is asked for and only then; and with a token."""
    node = Encrypted()

    def cart(known, ca="ca.pem"):
        return speaks(driven_with, node, "cart:secret", **node.environment(known, ca))

    try:
        node.start()
        by_ca = cart(False) == "cart" and cart(False, "other/ca.pem") is None
        token = speaks(driven_with, node, f"till:{node.token}", **node.environment(False)) == "till"
        node.run("CONFIG SET tls-auth-clients yes")
        by_certificate = cart(True) == "cart" and cart(False) is None
        return [by_ca, by_certificate, token]
    finally:
        node.end()
