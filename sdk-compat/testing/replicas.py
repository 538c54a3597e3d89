"""Replicas of functions on this host: folders like those of images, and processes under of-watchdog or without."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

SDKS = pathlib.Path(__file__).resolve().parents[1]
TEMPLATES = SDKS / "openfaas" / "template"
#: The stock templates' contract, which functions get by the preload.
STOCK = "stock-node"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port, process, seconds=20):
    """Waits until something listens on the port; the reason if nothing does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return None
        except OSError:
            time.sleep(0.02)
    return f"nothing listens on port {port}"


def watchdog():
    """of-watchdog, if it is on the PATH or named by OF_WATCHDOG."""
    return shutil.which(os.environ.get("OF_WATCHDOG", "of-watchdog"))


def prepare(folder, template, function=None, node="node"):
    """Lays the folder of an image: the template, the function and the SDK. Answers the line that starts it."""
    stock = template == STOCK
    shutil.copytree(SDKS / "testing" / STOCK if stock else TEMPLATES / template, folder)
    if function:
        shutil.rmtree(folder / "function", ignore_errors=True)
        shutil.copytree(function, folder / "function")
    if template.startswith("python"):
        return [sys.executable, "index.py"]
    modules = folder / "function" / "node_modules" if stock else folder / "node_modules"
    modules.mkdir(parents=True)
    (modules / "miso-crdt").symlink_to(SDKS / "node")
    return [node, "index.js"]


def start(line, folder, url, under, stock=False, **more):
    """Starts a replica, `under` a watchdog if that is named; answers its process and its port, once it listens."""
    inner, outer = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MISO_")}
    environment |= {"MISO_URL": url, "PYTHONPATH": str(SDKS / "python"), "http_port": str(inner), "write_timeout": "1s"}
    # Several replicas on one host would remove each other's lock file.
    environment |= {"mode": "http", "fprocess": " ".join(map(str, line)), "port": str(outer), "suppress_lock": "true"}
    environment |= {"upstream_url": f"http://127.0.0.1:{inner}", **more}
    if stock:
        environment["NODE_OPTIONS"] = f"--require={folder / 'function/node_modules/miso-crdt/lib/preload.cjs'}"
    process = subprocess.Popen([under] if under else line, cwd=folder, env=environment, stdout=sys.stderr)
    for port in (inner, outer) if under else (inner,):
        if why := answers(port, process):
            process.kill()
            process.wait()
            raise RuntimeError(why)
    return process, outer if under else inner
