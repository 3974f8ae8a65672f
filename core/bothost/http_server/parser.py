"""Parse bytes into requests. llhttp decides what HTTP is, and this module keeps the bounds that llhttp does not have.

llhttp runs in its strict mode. It accepts a few requests that this server cannot serve (other versions and transfer codings,
protocols to upgrade to). They are refused, or the part is ignored, here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import httptools
import msgspec
from tornado.httputil import RequestStartLine

from bothost.http_server.headers import NAMES, RequestHeaders

if TYPE_CHECKING:
    from bothost.http_server.limits import ConnectionLimits


class ServerRefusal(NamedTuple):
    """The reason why the server itself answers a request: status, the word for metrics and logs, and a sentence."""

    status: int
    word: str
    why: str = ""


UNREADABLE = ServerRefusal(400, "unreadable")
HEAD_TOO_LARGE = ServerRefusal(431, "head-too-large")
SLOW = ServerRefusal(408, "slow")
TOO_LARGE = ServerRefusal(413, "too-large")
FAULT = ServerRefusal(500, "fault")


class RefusedBytesError(Exception):
    """The bytes that have come cannot be a request that this server takes."""

    def __init__(self, refusal: ServerRefusal) -> None:
        super().__init__(refusal.why)
        self.refusal = refusal


class Head(msgspec.Struct, frozen=True):
    """A request's head, with what its framing means for the connection."""

    line: RequestStartLine
    headers: RequestHeaders
    keeps_alive: bool
    length: int
    """The length that Content-Length announces; 0 without."""


class RequestSink(Protocol):
    """Takes the parts of requests, in the order in which they came."""

    def head(self, head: Head) -> None:
        """Take a complete head."""

    def body(self, chunk: bytes) -> None:
        """Take a piece of the body."""

    def end(self) -> None:
        """Note that the request is complete."""


class RequestParser:
    """Parses one connection's bytes; `in_body` and `left` say how much of a body of known length is still to come."""

    def __init__(self, sink: RequestSink, limits: ConnectionLimits) -> None:
        self._sink = sink
        self._limits = limits
        self._url = b""
        self._lists: dict[str, list[bytes]] = {}
        self._lines = 0
        self._at_most = 0
        """An upper bound of the bytes that the head which is being read has by now."""
        self._progress = False
        self._silent = 0
        """Bytes since the last part that went to the sink: of a head, of a chunk's extension, of a trailer."""
        self.in_body = False
        self.left = 0
        self._final = False
        """True if no request follows on this connection. Bytes that come nevertheless are dropped."""
        self._upgrade = b""
        """The framing of a request that asks for another protocol and has a body."""
        self._muted = False
        self._llhttp = httptools.HttpRequestParser(self)

    def feed(self, data: bytes | memoryview) -> None:
        """Parse the next bytes. Raises RefusedBytesError, or what the sink raised; nothing may be fed after that."""
        size = len(data)
        self._progress = False
        self._at_most += size
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._explain(error)
        if self._progress:
            self._silent, self._at_most = 0, size
        else:
            self._silent += size
            if self._silent > self._limits.head_bytes:
                raise RefusedBytesError(HEAD_TOO_LARGE)

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        if not self._muted:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools: a header, or a trailer, which nobody asked for."""
        if self._muted:
            return
        self._lines += 1
        if self._lines > self._limits.head_lines:
            raise RefusedBytesError(HEAD_TOO_LARGE)
        if self.in_body:
            return
        if value[-1:] in b" \t":
            value = value.rstrip(b" \t")
        key = NAMES[name]
        if key in self._lists:
            self._lists[key].append(value)
        else:
            self._lists[key] = [value]

    def on_headers_complete(self) -> None:
        """See httptools."""
        if self._muted:
            return
        lists, url, llhttp = self._lists, self._url, self._llhttp
        version = llhttp.get_http_version()
        if version not in ("1.1", "1.0"):
            raise RefusedBytesError(UNREADABLE._replace(why=f"version {version}"))
        if "Transfer-Encoding" in lists:
            _check_coding(lists["Transfer-Encoding"], version)
        if self._at_most > self._limits.head_bytes:
            self._check_size()
        line = RequestStartLine(llhttp.get_method().decode(), url.decode("latin-1"), "HTTP/" + version)
        self.left = int(lists["Content-Length"][0]) if "Content-Length" in lists else 0
        keeps_alive = llhttp.should_keep_alive()
        if "Upgrade" in lists or line.method == "CONNECT":
            keeps_alive = self._ask_about_upgrade(line.method, keeps_alive)
        self.in_body = self._progress = True
        self._final = not keeps_alive
        self._lists, self._url = {}, b""
        self._sink.head(Head(line, RequestHeaders(lists), keeps_alive, self.left))

    def on_body(self, chunk: bytes) -> None:
        """See httptools."""
        self._progress = True
        self.left -= len(chunk)
        self._sink.body(chunk)

    def on_message_complete(self) -> None:
        """See httptools, which also calls this before the body of a request that asks for another protocol."""
        if self._upgrade:
            return
        self._progress = True
        self.in_body = False
        self._lines = 0
        self._sink.end()

    def _check_size(self) -> None:
        size = len(self._url) + sum(
            len(name) + len(value) + 4 for name, values in self._lists.items() for value in values
        )
        if size > self._limits.head_bytes:
            raise RefusedBytesError(HEAD_TOO_LARGE)

    def _ask_about_upgrade(self, method: str, keeps_alive: bool) -> bool:
        """Note the body that llhttp would take for another protocol's bytes; return whether HTTP can follow."""
        if method == "CONNECT":
            self._final = True
            return False
        if self._llhttp.should_upgrade():
            close = b"" if keeps_alive else b"Connection: close\r\n"
            if "Transfer-Encoding" in self._lists:
                self._upgrade = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + close + b"\r\n"
            elif self.left:
                self._upgrade = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n%s\r\n" % (self.left, close)
        return keeps_alive

    def _go_on(self, data: bytes | memoryview) -> None:
        """Go on in HTTP after a request asked for another protocol."""
        while not (self._final and not self.in_body):
            if self._upgrade:
                head, self._upgrade = self._upgrade, b""
                self._llhttp = httptools.HttpRequestParser(self)
                self._muted = True
                self._llhttp.feed_data(head)
                self._muted = False
            try:
                self._llhttp.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                return self._explain(error)
            else:
                return None
        return None

    def _explain(self, error: httptools.HttpParserError) -> None:
        """Raise what the sink raised, or RefusedBytesError. Return if the error concerns bytes behind the last request."""
        if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
            raise error.__context__
        if self._final and not self.in_body:
            return
        raise RefusedBytesError(UNREADABLE._replace(why=str(error))) from error


def _check_coding(codings: list[bytes], version: str) -> None:
    """Refuse what llhttp lets pass: a coding under `chunked`, and chunks in HTTP/1.0, where others see none."""
    if len(codings) != 1 or codings[0].lower() != b"chunked" or version != "1.1":
        raise RefusedBytesError(UNREADABLE._replace(why=f"Transfer-Encoding: {codings} in HTTP/{version}"))
