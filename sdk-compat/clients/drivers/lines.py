"""The lines that a driver reads and writes, for the drivers in Python."""

import asyncio
import os
import sys
import threading


def shown(value):
    """A reply as text of one line."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return " ".join(text.split())


def answer(value):
    print("ok", type(value).__name__, shown(value), sep="\t", flush=True)


def refuse(error):
    print("error", f"{type(error).__name__}: {shown(error)}", sep="\t", flush=True)


def tls():
    """The options of redis-py for TLS, if the table says that there is some."""
    names = {"ssl_ca_certs": "TLS_CA", "ssl_certfile": "TLS_CERT", "ssl_keyfile": "TLS_KEY"}
    return {option: os.environ[name] for option, name in names.items() if name in os.environ}


def serve(driver):
    """Runs the lines on an object whose methods may be coroutines."""
    loop = asyncio.new_event_loop()
    # It runs between calls, too, as that of a server does.
    threading.Thread(target=loop.run_forever, daemon=True).start()
    for line in sys.stdin:
        verb, *words = line.rstrip("\n").split("\t")
        try:
            value = getattr(driver, verb)(*words)
            answer(asyncio.run_coroutine_threadsafe(value, loop).result() if asyncio.iscoroutine(value) else value)
        except Exception as error:  # Whatever a client raises is what the table tells.
            refuse(error)
