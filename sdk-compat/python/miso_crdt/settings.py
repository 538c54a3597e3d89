"""Where the node is and for which function we speak, from arguments or the environment."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from typing import Mapping, Optional
from urllib.parse import unquote, urlsplit

from .errors import SettingError

PORT = 6379


@dataclass(frozen=True)
class Settings:
    """What a connection needs to know."""

    host: str
    port: int
    tls: bool
    user: Optional[str]
    password: Optional[str]
    function: Optional[str]
    replica: str


def _port(text: str, variable: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise SettingError(variable, f"{variable} is '{text}', expected a port from 1 to 65535")


def _of_url(source: str, name: Optional[str], replica: str) -> Settings:
    def wrong(what: str) -> SettingError:
        return SettingError("MISO_URL", f"MISO_URL (or url) {what}, expected redis://FUNCTION:-@HOST:6379")

    try:
        url = urlsplit(source)
        port = url.port
    except ValueError:
        raise wrong("is no URL") from None
    if url.scheme not in ("redis", "rediss") or not url.hostname:
        raise wrong(f"begins with {url.scheme or 'no scheme'}")
    if port == 0:
        raise wrong("has port 0")
    password = unquote(url.password) if url.password else None
    # Without a password most clients drop the user name, and in open mode any password will do.
    user = unquote(url.username) if url.username else (name if password is None else None)
    return Settings(
        host=url.hostname,
        port=port or PORT,
        tls=url.scheme == "rediss",
        user=user,
        password=password or (None if user is None else "-"),
        function=name or user,
        replica=replica,
    )


def settings(
    url: Optional[str] = None,
    function: Optional[str] = None,
    replica: Optional[str] = None,
    environment: Optional[Mapping[str, str]] = None,
) -> Settings:
    """The settings of a connection.

    They come from the arguments, else MISO_URL, else MISO_HOST_IP and MISO_HOST_PORT with MISO_FUNCTION_NAME (or
    OPENFAAS_NAME). Raises `SettingError`.
    """
    environment = os.environ if environment is None else environment
    name = function or environment.get("MISO_FUNCTION_NAME") or None
    replica = replica or environment.get("MISO_REPLICA_ID") or socket.gethostname()
    url = url or environment.get("MISO_URL")
    if url:
        return _of_url(url, name, replica)
    host = environment.get("MISO_HOST_IP")
    if not host:
        raise SettingError(
            "MISO_URL",
            "where is the node? Set MISO_URL=redis://FUNCTION:-@HOST:6379, or MISO_HOST_IP and MISO_FUNCTION_NAME",
        )
    user = name or environment.get("OPENFAAS_NAME")
    if not user:
        raise SettingError("MISO_FUNCTION_NAME", "MISO_HOST_IP is set: set MISO_FUNCTION_NAME too")
    number = environment.get("MISO_HOST_PORT")
    port = _port(number, "MISO_HOST_PORT") if number else PORT
    return Settings(host, port, False, user, "-", user, replica)


def default_id(name: Optional[str]) -> str:
    """The id of a function's own object: the same on every node, and for programs written for the paper's SDK."""
    return hashlib.sha256((name or "default").encode()).hexdigest()
