"""Take one request in: route, collect, verify, hand over. Nothing looks into a body before it is verified."""

from __future__ import annotations

from http.client import responses
from typing import TYPE_CHECKING, Protocol

from tornado.httputil import HTTPMessageDelegate, HTTPServerConnectionDelegate

from bothost.http_server.context import NO_ADDRESS
from bothost.http_server.headers import value_lists
from bothost.pyrus.signature import SIGNATURE_HEADER
from bothost.webhook import head_checks, hooks, routing
from bothost.webhook.hooks import HookExchange
from bothost.webhook.unverified import UnverifiedBodies

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine, ResponseStartLine

    from bothost.bots.registry import Bot, Service
    from bothost.clock import Clock
    from bothost.http_server.parser import ServerRefusal
    from bothost.pipeline.delivery import Delivery, Outcome
    from bothost.pipeline.hooks import HookDelivery
    from bothost.pyrus.signature import Verification
    from bothost.webhook.hooks import HookMatch
    from bothost.webhook.proxies import TrustedProxies

    Refuse = Callable[[Bot | None, str, str, int], None]
    """Notes a refused request: its bot, peer, word and status."""


class DeliveryReceiver(Protocol):
    """Takes verified deliveries: the startup queue of a host, or a pipeline."""

    @property
    def receive(self) -> Callable[[Delivery | HookDelivery], None]:
        """Return the function that takes a verified delivery, and answers it by its `respond` at once or later."""


class Peer(Protocol):
    """The address that a request comes from."""

    remote_ip: str


class RequestConnection(Protocol):
    """The part of a connection that a request needs beyond Tornado's interface."""

    @property
    def context(self) -> Peer:
        """Return the address that the request comes from."""

    @property
    def last(self) -> bool:
        """Return whether the connection ends with this answer."""

    @property
    def half_closed(self) -> bool:
        """Return whether the client has stopped sending. It may still read, or it may have gone."""

    def closed(self) -> bool:
        """Return whether nothing can be written any more."""

    def write(self, chunk: bytes) -> object:
        """Write bytes of the response, its head included."""

    def finish(self) -> None:
        """Note that the response is complete."""


class WebhookContext(HTTPServerConnectionDelegate):
    """Makes a delegate for each request, and holds what all of them need."""

    def __init__(
        self,
        service: Service,
        receiver: DeliveryReceiver,
        refuse: Refuse,
        clock: Clock,
        proxies: TrustedProxies | None = None,
        unverified: UnverifiedBodies | None = None,
    ) -> None:
        self.service = service
        self.receiver = receiver
        self.refuse = refuse
        self.clock = clock
        self.proxies = proxies
        """If None, X-Forwarded-For never counts."""
        self.unverified = unverified or UnverifiedBodies()

    def start_request(self, _server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Return the delegate for the next request of a connection."""
        return WebhookRequest(self, request_conn)  # type: ignore[arg-type]

    def refuse_connection(self, context: Peer, delegate: HTTPMessageDelegate | None, refusal: ServerRefusal) -> None:
        """Count and log a request that the server itself refused, because it is no HTTP or did not come in time."""
        found, peer = None, _named(context)
        if isinstance(delegate, WebhookRequest):
            found, peer = delegate.found, delegate.peer
        self.refuse(found, peer, refusal.word, refusal.status)


class WebhookRequest(HTTPMessageDelegate):
    """Tornado's delegate for one request. Once the body is verified, this object is the `Delivery`.

    It answers the request exactly once, unless the connection goes away.
    """

    head: RequestStartLine
    bot: Bot
    body = b""
    secret_index: int
    """The bot's secret that signed it: 0 for the present one, 1 for the old one."""
    attempt: str
    trace: str
    received = 0.0
    """The time when its headers were read, by the monotonic clock."""

    def __init__(self, front: WebhookContext, connection: RequestConnection) -> None:
        self.front = front
        self.connection = connection
        self.found: Bot | None = None
        self.held = 0
        """The bytes of the body that are held and not verified."""
        self.collecting = False
        """True while a body is wanted and has not ended."""
        self.headers: HTTPHeaders | None = None
        self.verification: Verification | None = None
        """The verification under way of a body that comes in pieces."""
        self.chunks: list[bytes] = []
        self.hook: HookMatch | None = None

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Find the bot or hook, and refuse what the head alone decides."""
        front = self.front
        self.head = start_line  # type: ignore[assignment]
        head = self.head
        self.headers = headers
        self.lists = lists = value_lists(headers)
        self.received = front.clock.monotonic()
        self.found = found = routing.find(front.service.registry.by_path, head.path)
        self.length = length = head_checks.announced(lists)
        if found is None:
            self.hook = hooks.find(front.service.registry.by_path, head.path)
        if self.hook is not None:
            self._begin_hook(self.hook)
            return
        refusal = head_checks.refusal(found, head, lists, length)
        if refusal is not None or found is None or found.verifier is None:
            self._end(refusal or head_checks.NOT_FOUND)
            return
        self.collecting = True
        self.verifier = found.verifier

    def _begin_hook(self, hook: HookMatch) -> None:
        """Collect the body of a request to a hook, because its guard checks the complete body."""
        self.found = hook.bot
        refusal = hooks.refusal(hook, self.head.method, self.length)
        if refusal is None and ("Host" in self.lists and len(self.lists["Host"]) != 1):
            refusal = head_checks.BAD_REQUEST
        if refusal is not None:
            self._end(refusal)
            return
        self.collecting = True

    def data_received(self, chunk: bytes) -> None:
        """Feed a piece of the body to the verification, or drop it if the request was refused."""
        if not self.collecting:
            return
        size = len(chunk)
        if size == self.length:
            self.body = chunk
        else:
            self._hold(chunk, size)

    def finish(self) -> None:
        """Verify the complete body, and hand it over."""
        if not self.collecting:
            return
        self.collecting = False
        if self.hook is not None:
            body = b"".join(self.chunks) if self.chunks else self.body
            self._drop()
            self.front.receiver.receive(HookExchange(self, self.hook, body))
            return
        lists = self.lists
        header = None
        if SIGNATURE_HEADER in lists:
            header, *others = lists[SIGNATURE_HEADER]
            if others:  # refused although one of them may be right, because only one signature is expected
                header = None
        pieces = self.verification
        signature = self.verifier.check(self.body, header) if pieces is None else self._check_pieces(pieces, header)
        if signature is None:
            self._end(head_checks.SIGNATURE)
            return
        assert self.found is not None
        self.bot = self.found
        self.secret_index = signature
        self.attempt = lists["X-Pyrus-Retry"][0].decode("latin-1") if "X-Pyrus-Retry" in lists else ""
        self.trace = lists["Traceparent"][0].decode("latin-1") if "Traceparent" in lists else ""
        self.front.receiver.receive(self)

    def on_connection_close(self) -> None:
        """Give up a request whose sender went away in the middle of it."""
        self._drop()

    def respond(self, outcome: Outcome) -> bool:
        """Write the one response to a complete request. Return False if it is not certain that anybody reads it.

        A client that has stopped sending gets its answer too. But it looks the same as a client that has gone. So the answer
        does not count as delivered, and the next attempt gets it again.
        """
        connection = self.connection
        if connection.closed():
            return False
        self._write(outcome)
        connection.finish()
        return not connection.half_closed

    def refuse(self, outcome: Outcome) -> None:
        """Answer a request to a hook that its guard does not let in."""
        self._end(outcome)

    def write_whole(self, head: bytes, body: bytes, word: str) -> None:
        """Write an answer whose head is ready but for the connection's lines. Only the test harness reads `word`."""
        del word
        if self.connection.closed():
            return
        self._write_head_and_body(head, body)
        self.connection.finish()

    def shed(self) -> None:
        """Give up this body, because unverified bodies hold too much in all."""
        self._end(head_checks.SHED)

    @property
    def gone(self) -> bool:
        """See `Delivery.gone`."""
        return self.connection.closed()

    @property
    def peer(self) -> str:
        """Return the sender's address, behind trusted proxies the one that they name."""
        peer = _named(self.connection.context)
        proxies = self.front.proxies
        if proxies is None or self.headers is None:
            return peer
        return proxies.sender(peer, self.headers.get_list("X-Forwarded-For"))

    def _hold(self, chunk: bytes, size: int) -> None:
        """Verify and keep a piece of a body; refuse it as soon as it is too large."""
        assert self.found is not None
        if self.held + size > self.found.config.max_body_bytes:
            self._end(head_checks.TOO_LARGE)
            return
        if self.hook is None:
            if self.verification is None:
                self.verification = self.verifier.begin()
            self.verification.feed(chunk)
        self.chunks.append(chunk)
        self.front.unverified.add(self, size)

    def _check_pieces(self, pieces: Verification, header: bytes | None) -> int | None:
        """Verify a body that came in pieces, most of which the verification has read already."""
        self.body = b"".join(self.chunks)
        signature = pieces.check(header)
        self._drop()
        return signature

    def _drop(self) -> None:
        self.collecting = False
        self.verification = None
        self.chunks = []
        self.front.unverified.release(self)

    def _end(self, outcome: Outcome) -> None:
        """Answer now, before the body has ended; the server drops its rest."""
        self._drop()
        if outcome is not head_checks.HEALTHY:
            self.front.refuse(self.found, self.peer, outcome.word, outcome.status)
        self._write(outcome)
        self.connection.finish()

    def _write(self, outcome: Outcome) -> None:
        # a ready head: HTTPHeaders and write_headers cost as much as the rest of the listener
        status = outcome.status
        lines = _STATUS_LINES[status] if status in _STATUS_LINES else _status_line(status)
        if outcome.repeat:
            lines += b"X-Bothost: repeat\r\n"
        if outcome is head_checks.METHOD:
            lines += b"Allow: %s\r\n" % self._allowed()
        self._write_head_and_body(lines, outcome.body)

    def _allowed(self) -> bytes:
        if self.hook is not None:
            return self.hook.allow.encode()
        return b"POST" if self.found is not None else b"GET, HEAD"

    def _write_head_and_body(self, lines: bytes, content: bytes) -> None:
        head = self.head
        if self.connection.last:
            lines += b"Connection: close\r\n"
        elif head.version == "HTTP/1.0":
            lines += b"Connection: Keep-Alive\r\n"
        body = content if head.method != "HEAD" else b""
        self.connection.write(b"%sContent-Length: %d\r\n\r\n%s" % (lines, len(content), body))


def _named(context: Peer) -> str:
    return "unix" if context.remote_ip == NO_ADDRESS else context.remote_ip


def _status_line(status: int) -> bytes:
    reason = responses.get(status, "Unknown")
    return f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in (200, 400, 403, 404, 405, 408, 413, 500, 503)}
