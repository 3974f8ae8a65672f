"""One request on its way in: route, collect, verify, hand over. Nothing looks into a body before it is verified."""

from __future__ import annotations

from http.client import responses
from typing import TYPE_CHECKING, Protocol, cast

from tornado import httputil

from bothost.delivery import Delivery, Outcome
from bothost.web import routing

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

    from bothost.bots import Bot, Registry
    from bothost.clock import Clock
    from bothost.web.limits import Lines
    from bothost.web.routing import Proxies


class Pipeline(Protocol):
    """Where verified deliveries and refusals go; implementations: `Dispatch`, and the tests' own."""

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery; it answers by `delivery.respond`, at once or later."""

    def refuse(self, bot: Bot | None, peer: str, word: str, status: int) -> None:
        """Count and log a request that ends here; the web answers it."""


class Front:
    """What every request of a listener needs. `registry` is replaced whole on reload."""

    __slots__ = ("clock", "pipeline", "proxies", "registry")

    def __init__(self, registry: Registry, pipeline: Pipeline, clock: Clock, proxies: Proxies | None = None) -> None:
        self.registry = registry
        self.pipeline = pipeline
        self.clock = clock
        self.proxies = proxies
        """None: nobody's X-Forwarded-For counts."""


class Receiver(httputil.HTTPMessageDelegate):
    """Tornado's delegate for one request. Every request is answered exactly once, unless its connection goes away."""

    def __init__(self, front: Front, lines: Lines, connection: HTTP1Connection) -> None:
        self.front = front
        self.lines = lines
        self.connection = connection
        self.bot: Bot | None = None
        self.held = 0
        """Bytes of the body that are held and not verified."""
        self.dropped = 0
        self.refused = False
        self.since = 0.0

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> None:
        """Route; refuse here what can be refused by its head alone."""
        front = self.front
        self.head = cast("httputil.RequestStartLine", start_line)
        self.headers = headers
        self.since = front.clock.monotonic()
        self.lines.has_head(self.connection.stream, self)
        found = routing.route(front.registry.by_path, self.head.method, self.head.path)
        if isinstance(found, Outcome):
            self._end(found)
            return
        self.bot = found
        self.limit = found.config.max_body_bytes
        if not _has_one_host(self.head.version, headers):
            self._end(routing.BAD_REQUEST)
        elif _announced(headers) > self.limit:
            self._end(routing.TOO_LARGE)
        else:
            self.chunks: list[bytes] = []
            self.verification = found.verifier.begin()
            if "Expect" in headers:
                self._encourage()

    def data_received(self, chunk: bytes) -> None:
        """Feed the verification, or drop what belongs to a refused request so that its sender gets to read the answer."""
        size = len(chunk)
        if self.refused:
            self.dropped += size
            if self.dropped > self.lines.limits.dropped_bytes:
                self.connection.finish()
            return
        self.held += size
        lines = self.lines
        lines.unverified += size
        if self.held > self.limit:
            self._end(routing.TOO_LARGE)
            return
        self.chunks.append(chunk)
        self.verification.feed(chunk)
        if lines.unverified > lines.limits.unverified_bytes:
            lines.relieve()

    def finish(self) -> None:
        """The body is complete: verify, and hand over."""
        self._release()
        if self.refused:
            self.connection.finish()
            return
        signature = self.verification.check(self.headers.get("X-Pyrus-Sig"))
        assert self.bot is not None
        if signature is None:
            self._end(routing.SIGNATURE)
            self.connection.finish()
            return
        chunks, self.chunks = self.chunks, []
        headers = self.headers
        delivery = Delivery(
            self.bot,
            chunks[0] if len(chunks) == 1 else b"".join(chunks),
            signature,
            _first(headers, "X-Pyrus-Retry"),
            self.since,
            self.peer(),
            _first(headers, "Traceparent"),
            self,
        )
        self.front.pipeline.receive(delivery)

    def on_connection_close(self) -> None:
        """The sender went away in the middle of its request."""
        self._release()
        self.chunks = []

    def respond(self, outcome: Outcome) -> bool:
        """Write the one response to a complete request; false when the connection is gone."""
        stream = self.connection.stream
        if stream.closed():
            return False
        self._write(outcome)
        self.connection.finish()
        if stream.writing():
            self.lines.stalls(stream, self)
        return True

    def shed(self) -> None:
        """Give up this body, for unverified bodies hold too much in all."""
        self._end(routing.SHED)

    def overdue(self) -> None:
        """The time for this body (or for reading the response) is up: answer if possible, then close."""
        if not self.refused and self.held:
            self._end(routing.SLOW)
        self._release()
        self.connection.close()

    def peer(self) -> str:
        """Who sent this, as far as it can be told."""
        # Tornado's own context of the connection; it has no address to tell of a unix socket.
        told: str = self.connection.context.remote_ip  # type: ignore[attr-defined]
        peer = "unix" if told == "0.0.0.0" else told
        proxies = self.front.proxies
        return peer if proxies is None else proxies.sender(peer, self.headers.get_list("X-Forwarded-For"))

    def _end(self, outcome: Outcome) -> None:
        """Answer now, whatever of the body is still to come; its rest is dropped, for a sender that is cut off while it
        writes never reads why. One that waits for `100 Continue` gets the answer instead and sends no body."""
        self.refused = True
        self.chunks = []
        self.lines.unverified -= self.held
        self.held = 0
        if outcome is not routing.HEALTHY:
            self.front.pipeline.refuse(self.bot, self.peer(), outcome.word, outcome.status)
        if self.connection.stream.closed():
            return
        self._write(outcome)
        if "Expect" in self.headers:
            self.connection.finish()

    def _write(self, outcome: Outcome) -> None:
        headers = httputil.HTTPHeaders()
        headers["Content-Type"] = "application/json"
        headers["Content-Length"] = str(len(outcome.body))
        for name, value in outcome.reply_headers:
            headers[name] = value
        if self.lines.leaving:
            headers["Connection"] = "close"
        status = outcome.status
        self.connection.write_headers(
            httputil.ResponseStartLine("HTTP/1.1", status, responses.get(status, "Unknown")),
            headers,
            None if self.head.method == "HEAD" else outcome.body,
        )

    def _encourage(self) -> None:
        # Tornado answers `100-continue` in lower case only; the expectation is case-insensitive (RFC 9110, 10.1.1)
        expectation = self.headers["Expect"]
        if expectation != "100-continue" and expectation.lower() == "100-continue":
            self.connection.stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _release(self) -> None:
        self.lines.has_body(self.connection.stream, self.held)
        self.held = 0


def _first(headers: httputil.HTTPHeaders, name: str) -> str:
    values = headers.get_list(name)
    return values[0] if values else ""


def _announced(headers: httputil.HTTPHeaders) -> int:
    """What Content-Length announces; 0 where it is absent or wrong (Tornado refuses a wrong one itself)."""
    text = _first(headers, "Content-Length")
    if not text.isdecimal():
        return 0
    return int(text) if len(text) < 19 else 1 << 62


def _has_one_host(version: str, headers: httputil.HTTPHeaders) -> bool:
    hosts = len(headers.get_list("Host"))
    return hosts == 1 or (hosts == 0 and version == "HTTP/1.0")
