"""Make one signed delivery over HTTP as Pyrus does, for `send` and `demo`."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from bothost.errors import BothostError, UsageError
from bothost.pyrus.signature import SIGNATURE_HEADER, sign

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.config import HostConfig

PYRUS_WAITS_S = 60.0
USER_AGENT = "Pyrus-Bot-4"  # what Pyrus says it is
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1", "*": "127.0.0.1"}  # noqa: S104 - compared, not bound
"""The address at which this machine reaches a listener on all addresses."""


class Unreachable(BothostError):
    """No answer came. The text says from where and what to try."""


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """Where a delivery goes: a URL, or a unix socket if one is given."""

    url: str
    unix_socket: Path | None = None
    own: bool = False
    """This machine's own host, whose certificate names another address than this one."""

    def at(self, path: str) -> DeliveryTarget:
        """Return this host with a bot's path, unless the URL has a path already."""
        parts = urlsplit(self.url)
        if parts.path not in ("", "/"):
            return self
        return replace(self, url=urlunsplit(parts._replace(path=quote(path))))


@dataclass(frozen=True, slots=True)
class DeliveryResponse:
    """The response to a delivery."""

    status: int
    body: bytes
    repeat: bool
    seconds: float

    @property
    def reply(self) -> Any:
        """Return the body as JSON, or as text if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body.decode("utf-8", "replace")


def host_target(host: HostConfig, port: int | None = None) -> DeliveryTarget:
    """Return where a host of this configuration listens, as seen from this machine."""
    if host.unix_socket:
        return DeliveryTarget("http://localhost", host.unix_socket, own=True)
    address = LOOPBACK.get(host.address, host.address)
    shown = f"[{address}]" if ":" in address else address
    scheme = "https" if host.certfile else "http"
    return DeliveryTarget(f"{scheme}://{shown}:{host.port if port is None else port}", own=True)


def parse_target(url: str) -> DeliveryTarget:
    """Read a URL that a person gave."""
    if "://" not in url:
        url = f"http://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--url {url!r} is not an address: write https://HOST/PATH")
    return DeliveryTarget(url)


def deliver(target: DeliveryTarget, body: bytes, secret: bytes, attempt: str, clock: Clock) -> DeliveryResponse:
    """POST the body with its signature and wait for the answer as long as Pyrus would. Raises Unreachable."""
    parts = urlsplit(target.url)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        SIGNATURE_HEADER: sign(body, secret),
        "X-Pyrus-Retry": attempt,
        "User-Agent": USER_AGENT,
    }
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return request(target, SentRequest("POST", path, {}, headers, body), clock)


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request: method, path, query, headers and body."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def place(self) -> str:
        """Return the path with the query."""
        return self.path + (f"?{urlencode(self.query)}" if self.query else "")


def request(target: DeliveryTarget, wanted: SentRequest, clock: Clock) -> DeliveryResponse:
    """Make one request and wait for the answer as long as Pyrus would. Raises Unreachable."""
    began = clock.monotonic()
    try:
        with contextlib.closing(open_connection(target)) as connection:
            connection.request(wanted.method, wanted.place, wanted.body, dict(wanted.headers))
            response = connection.getresponse()
            content = response.read()
    except TimeoutError:
        raise Unreachable(f"no answer from {target.url} within {PYRUS_WAITS_S:g} s: Pyrus would try again") from None
    except ConnectionRefusedError:
        raise Unreachable(nothing_at(target)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"no answer from {target.url}: {error or type(error).__name__}") from None
    return DeliveryResponse(
        response.status, content, response.headers.get("X-Bothost", "") == "repeat", clock.monotonic() - began
    )


def nothing_at(target: DeliveryTarget) -> str:
    """Return what to say of a place at which nobody listens, and what may be the cause."""
    if target.own and not target.unix_socket and urlsplit(target.url).port == 0:
        return (
            "port = 0: only the log of the running host (serves … at …) names the port that the system chose; set one"
        )
    place = target.unix_socket or target.url
    return f"nothing listens at {place}: the host is not running (bothost serve starts it)"


def open_connection(target: DeliveryTarget, limit_s: float = PYRUS_WAITS_S) -> http.client.HTTPConnection:
    """Return a connection with this time limit. It connects at its first request; one to a unix socket is connected already."""
    parts = urlsplit(target.url)
    host = parts.hostname or "localhost"
    if target.unix_socket is not None:
        connection = http.client.HTTPConnection(host, timeout=limit_s)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(limit_s)
        connection.sock.connect(str(target.unix_socket))
        return connection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if target.own or host in ("127.0.0.1", "::1", "localhost"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, parts.port, timeout=limit_s, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=limit_s)
