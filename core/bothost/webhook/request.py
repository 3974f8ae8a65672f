"""One request on its way in: route, collect, verify, hand over. Nothing looks into a body before it is verified."""

from __future__ import annotations

from http.client import responses
from typing import TYPE_CHECKING, cast

from tornado import httputil

from bothost.webhook import routing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.http1connection import HTTP1Connection

    from bothost.bots.registry import Bot, Service
    from bothost.clock import Clock
    from bothost.pipeline.delivery import Delivery, Outcome
    from bothost.webhook.connections import Connections
    from bothost.webhook.routing import TrustedProxies

    Receive = Callable[[Delivery], None]
    """Takes a verified delivery, which is answered by its `respond`, at once or later."""
    Refuse = Callable[[Bot | None, str, str, int], None]
    """Told of a request that ends here: whose, from where, the word for it, its status."""

NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing is bound: what Tornado calls the peer of a unix socket


class WebhookContext:
    """What every request of a listener needs."""

    __slots__ = ("clock", "proxies", "receive", "refuse", "service")

    def __init__(
        self, service: Service, receive: Receive, refuse: Refuse, clock: Clock, proxies: TrustedProxies | None = None
    ) -> None:
        self.service = service
        self.receive = receive
        self.refuse = refuse
        self.clock = clock
        self.proxies = proxies
        """None: nobody's X-Forwarded-For counts."""


class WebhookRequest(httputil.HTTPMessageDelegate):
    """Tornado's delegate for one request; once verified it is the `Delivery`.

    Every request is answered exactly once, unless its connection goes away.
    """

    bot: Bot
    body: bytes
    signature_ok: int
    """Which of the bot's secrets signed it: 0 the present one, 1 the old one."""
    attempt: str
    trace: str
    answered = False
    """Refused already, while its body may still come."""

    def __init__(self, front: WebhookContext, connections: Connections, connection: HTTP1Connection) -> None:
        self.front = front
        self.connections = connections
        self.connection = connection
        self.found: Bot | None = None
        self.held = 0
        """Bytes of the body that are held and not verified."""
        self.dropped = 0
        self.collecting = False
        """A body is wanted and has not ended."""
        self.since = 0.0

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> None:
        """Route; refuse here what can be refused by its head alone."""
        front = self.front
        self.head = cast("httputil.RequestStartLine", start_line)
        self.headers = headers
        self.since = front.clock.monotonic()
        self.connections.has_head(self.connection.stream, self)
        found = routing.find(front.service.registry.by_path, self.head.path)
        self.found = found
        refusal = routing.refusal(found, self.head, headers)
        if refusal is not None or found is None or found.verifier is None:
            if routing.malformed(headers):
                return  # Tornado answers; with one of ours before, a proxy would take the second for its next request's
            self._end(refusal or routing.NOT_FOUND)
            if "Expect" in headers or routing.announced(headers) >= routing.BEYOND:
                # it gets the answer instead of `100 Continue`, and sends no body; or none that could be read
                self.connection.finish()
            return
        self.collecting = True
        self.limit = found.config.max_body_bytes
        self.chunks: list[bytes] = []
        self.verification = found.verifier.begin()
        if "Expect" in headers:
            self._encourage()

    def data_received(self, chunk: bytes) -> None:
        """Feed the verification, or drop what belongs to a refused request so that its sender gets to read the answer."""
        size = len(chunk)
        if not self.collecting:
            self.dropped += size
            if self.dropped > self.connections.limits.dropped_bytes:
                self.connection.finish()
            return
        self.held += size
        connections = self.connections
        connections.unverified += size
        if self.held > self.limit:
            self._end(routing.TOO_LARGE)
            return
        self.chunks.append(chunk)
        self.verification.feed(chunk)
        if connections.unverified > connections.limits.unverified_bytes:
            connections.relieve()

    def finish(self) -> None:
        """The body is complete: verify, and hand over."""
        self._release()
        if not self.collecting:
            self.connection.finish()
            return
        self.collecting = False
        signature = self.verification.check(self.headers.get("X-Pyrus-Sig"))
        if signature is None:
            self._end(routing.SIGNATURE)
            self.connection.finish()
            return
        assert self.found is not None
        self.bot = self.found
        self.signature_ok = signature
        self.attempt = routing.first(self.headers, "X-Pyrus-Retry")
        self.trace = routing.first(self.headers, "Traceparent")
        chunks = self.chunks
        self.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.chunks = []
        self.front.receive(self)

    def on_connection_close(self) -> None:
        """The sender went away in the middle of its request."""
        self._release()
        self.collecting = False
        self.chunks = []

    def respond(self, outcome: Outcome) -> bool:
        """Write the one response to a complete request; false when the connection is gone."""
        stream = self.connection.stream
        if stream.closed():
            return False
        self._write(outcome)
        if stream.closed():
            return False
        self.connection.finish()
        if stream.writing():
            self.connections.stalls(stream, self)
        return True

    def shed(self) -> None:
        """Give up this body, for unverified bodies hold too much in all."""
        self._end(routing.SHED)

    def overdue(self) -> None:
        """The time for this body (or for reading the response) is up: answer if possible, then close."""
        if self.collecting:
            self._end(routing.SLOW)
            self.connection.finish()
        else:
            self.connection.close()

    @property
    def received(self) -> float:
        """See `Delivery.received`."""
        return self.since

    @property
    def gone(self) -> bool:
        """See `Delivery.gone`; Tornado looks for the end of a stream whose request is complete."""
        closed: bool = self.connection.stream.closed()
        return closed

    @property
    def peer(self) -> str:
        """Who sent this, as far as it can be told."""
        # Tornado's own context of the connection; it has no address to tell of a unix socket.
        told: str = self.connection.context.remote_ip  # type: ignore[attr-defined]
        peer = "unix" if told == NO_ADDRESS else told
        proxies = self.front.proxies
        return peer if proxies is None else proxies.sender(peer, self.headers.get_list("X-Forwarded-For"))

    def _end(self, outcome: Outcome) -> None:
        """Answer now, whatever of the body is still to come; its rest is dropped, for a sender that is cut off while it
        writes never reads why. The request is finished where the body ends."""
        self.collecting = False
        self.answered = True
        self.chunks = []
        self.connections.unverified -= self.held
        self.held = 0
        if outcome is not routing.HEALTHY:
            self.front.refuse(self.found, self.peer, outcome.word, outcome.status)
        self._write(outcome)

    def _write(self, outcome: Outcome) -> None:
        # Tornado's write_headers costs 12 us more, which is 8 % of a delivery; its write() takes a head that is ready
        headers = self.headers
        connections = _STATUS_LINES.get(outcome.status) or _status_line(outcome.status)
        if outcome.repeat:
            connections += b"X-Bothost: repeat\r\n"
        if outcome is routing.METHOD:
            connections += b"Allow: POST\r\n" if self.found is not None else b"Allow: GET, HEAD\r\n"
        if self.connections.leaving or "Connection" in headers:
            connections += self._connection_line()
        body = outcome.body if self.head.method != "HEAD" else b""
        # what cannot be written shows as a closed stream
        _ = self.connection.write(b"%sContent-Length: %d\r\n\r\n%s" % (connections, len(outcome.body), body))

    def _connection_line(self) -> bytes:
        asked = self.headers.get("Connection", "").lower()
        if self.connections.leaving or asked == "close":
            return b"Connection: close\r\n"
        return b"Connection: Keep-Alive\r\n" if asked == "keep-alive" else b""

    def _encourage(self) -> None:
        # Tornado answers `100-continue` in lower case only; the expectation is case-insensitive (RFC 9110, 10.1.1)
        expectation = self.headers["Expect"]
        if expectation != "100-continue" and expectation.lower() == "100-continue":
            _ = self.connection.stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _release(self) -> None:
        self.connections.has_body(self.connection.stream, self.held)
        self.held = 0


def whole_answer(outcome: Outcome, connections: bytes) -> bytes:
    """An answer where there is no request to go by."""
    head = _STATUS_LINES[outcome.status] + connections
    return b"%sContent-Length: %d\r\n\r\n%s" % (head, len(outcome.body), outcome.body)


def _status_line(status: int) -> bytes:
    reason = responses.get(status, "Unknown")
    return f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in (200, 400, 403, 404, 405, 408, 413, 500, 503)}
