"""A function behind of-watchdog in its http mode: what the template's index.py runs."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator, Mapping, Optional, Union
from urllib.parse import parse_qsl, urlsplit

from .aio import AsyncMisoObject
from .errors import MisoError, SettingError
from .objects import MisoObject

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_CALL_ID = 48
#: Of a body that is too long this many times the limit is read and dropped: a caller that still sends hears no answer.
_DRAINED = 16
#: Seconds without a call after which the watchdog is taken to have handed over all that it took.
_QUIET = 0.25


@dataclass(frozen=True)
class Event:
    """The event of OpenFaaS's python3-http template."""

    body: bytes
    headers: Mapping[str, str]
    method: str
    query: Mapping[str, str]
    path: str


@dataclass(frozen=True)
class Context:
    """The context of OpenFaaS's python3-http template, and the object of this call."""

    hostname: str
    stateful_object: Union[MisoObject, AsyncMisoObject]


def seconds(text: Optional[str], otherwise: float) -> float:
    """A Go duration such as `10s` or `1m30s`; a bare number is of seconds, as the watchdog reads it."""
    if re.fullmatch(r"\d+", text or ""):
        return float(text or 0)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text or "")
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else otherwise


def _plain(value: Any) -> Any:
    """JSON for what has no form of its own."""
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"a function's result holds a {type(value).__name__}, which has no JSON form")


def body(result: Any) -> tuple[Optional[str], bytes]:
    """The content type and the body of a result."""
    if result is None:
        return None, b""
    if isinstance(result, str):
        return "text/plain; charset=utf-8", result.encode()
    if isinstance(result, (bytes, bytearray)):
        return "application/octet-stream", bytes(result)
    text = json.dumps(result, default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return "application/json", text.encode()


def response(result: Any) -> tuple[int, dict[str, str], bytes]:
    """A dict with `statusCode`, `body` or `headers` is the response; one with none of them is the body."""
    status, headers = 200, {}
    if isinstance(result, dict) and result.keys() & {"statusCode", "body", "headers"}:
        status = int(result.get("statusCode", 200))
        headers = {str(name).lower(): str(value) for name, value in (result.get("headers") or {}).items()}
        result = result.get("body")
    kind, content = body(result)
    return status, {**({"content-type": kind} if kind else {}), **headers}, content


class Function:
    """A handler with its object. An async one runs on an event loop of its own thread."""

    def __init__(self, module: Any) -> None:
        handle = getattr(module, "handle", None)
        if not callable(handle):
            sys.exit("function/handler.py has no function: write def handle(event, context)")
        self.handle = handle
        self.ended = False
        self.so: Union[MisoObject, AsyncMisoObject]
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        if inspect.iscoroutinefunction(handle):
            self.loop = asyncio.new_event_loop()
            threading.Thread(target=self.loop.run_forever, daemon=True).start()
            self.so = AsyncMisoObject()
        else:
            self.so = MisoObject()

    def wait(self, awaitable: Any) -> Any:
        """The outcome of what may have to be awaited."""
        if self.loop is None:
            return awaitable
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result()

    def register(self) -> None:
        """Before the first call; again and again, beside the calls, while there is no node."""
        try:
            self.wait(self.so.register())
        except MisoError as error:
            print(error, file=sys.stderr, flush=True)
            threading.Thread(target=self.register_later, daemon=True).start()

    def register_later(self) -> None:
        while not self.ended:
            time.sleep(0.2)
            try:
                self.wait(self.so.register())
                return
            except MisoError:
                continue

    def call(self, event: Event) -> Any:
        given = event.headers.get("x-call-id")
        known = given if given and len(given.encode()) <= _LONGEST_CALL_ID else None
        so = self.so.for_call(known)
        context = Context(socket.gethostname(), so)
        try:
            result = self.handle(event, context)
            return self.wait(result) if self.loop else result
        finally:
            self.wait(so.close())

    def end(self) -> None:
        self.ended = True
        try:
            self.wait(self.so.unregister())
            self.wait(self.so.close())
        except MisoError as error:
            print(error, file=sys.stderr, flush=True)


def _handler(function: Function, largest: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server: Server

        def reply(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def refuse(self, status: int, message: str) -> None:
            self.close_connection = True
            self.reply(status, {"content-type": "application/json"}, json.dumps({"error": message}).encode())

        def drain(self, length: int, most: int) -> None:
            left = min(length, most)
            while left > 0 and (part := self.rfile.read(min(left, 65_536))):
                left -= len(part)

        def answer(self) -> None:
            with self.server.call():
                self.answer_call()

        def answer_call(self) -> None:
            length = self.headers.get("content-length", "0")
            if not length.isdigit() or "transfer-encoding" in self.headers:
                return self.refuse(411, "a body needs its content-length")
            if len(length) > 12 or int(length) > largest:
                self.drain(int(length[:12]), most=_DRAINED * largest)
                return self.refuse(413, f"the body is longer than {largest} bytes (MAX_BODY_BYTES)")
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            event = Event(self.rfile.read(int(length)), headers, self.command, query, url.path)
            try:
                answer = response(function.call(event))
            except Exception as error:  # The stack is for the log, not for the caller.
                traceback.print_exc()
                sys.stderr.flush()
                message = json.dumps({"error": str(error)}).encode()
                answer = (500, {"content-type": "application/json"}, message)
            self.reply(*answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = answer

        def log_message(self, format: str, *args: Any) -> None:
            """The watchdog logs the calls."""

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lock = threading.Lock()
        self.calls = 0
        self.last = 0.0

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Around each call."""
        with self.lock:
            self.calls += 1
        try:
            yield
        finally:
            with self.lock:
                self.calls -= 1
                self.last = time.monotonic()

    def quiet(self) -> bool:
        """Whether no call is in hand and none was a moment ago."""
        with self.lock:
            return self.calls == 0 and time.monotonic() >= self.last + _QUIET

    def end(self, forwarding: float, draining: float) -> None:
        """Serves on while the watchdog may forward, then until it has handed over all that it took."""
        time.sleep(forwarding)
        late = time.monotonic() + draining
        while not self.quiet() and time.monotonic() < late:
            time.sleep(0.02)
        self.shutdown()


def serve(module: Any, port: Optional[int] = None, host: str = "127.0.0.1") -> None:
    """Serves `module.handle` on the watchdog's port until SIGTERM.

    It then goes on serving: the watchdog forwards what comes for `healthcheck_interval` (`write_timeout`, unless set)
    and then what it has taken. Once no call came for a moment, it unregisters and exits with 0.
    """
    try:
        function = Function(module)
    except SettingError as error:
        sys.exit(str(error))
    function.register()
    largest = int(os.environ.get("MAX_BODY_BYTES", 1_048_576))
    number = int(os.environ.get("http_port", 3000)) if port is None else port
    server = Server((host, number), _handler(function, largest))
    draining = seconds(os.environ.get("write_timeout"), 10.0)
    forwarding = seconds(os.environ.get("healthcheck_interval"), draining)

    def end(*_: Any) -> None:
        threading.Thread(target=server.end, args=(forwarding, draining), daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    print(f"serving on {host}:{server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    function.end()
