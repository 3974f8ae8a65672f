"""Make a request without a socket: feed bytes to the webhook's own delegate, which writes into memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine, parse_response_start_line

from bothost.webhook.request import WebhookRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.pipeline.delivery import Outcome
    from bothost.webhook.request import WebhookContext

PIECE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class WrittenResponse:
    """The bytes written to a connection, and the pipeline's word for them ("" if the webhook refused by itself)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    word: str


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The target and the headers of a request."""

    path: str
    headers: Mapping[str, str]
    method: str = "POST"


class MemoryConnection:
    """Takes the place of a connection. `done` gets the written bytes when the response has ended. `cut` is true if the client
    has gone away."""

    last = False
    half_closed = False

    def __init__(self) -> None:
        self.cut = False
        self.context = MemoryContext()
        self.done: asyncio.Future[WrittenResponse] = asyncio.get_running_loop().create_future()
        self.word = ""
        self._out = bytearray()

    def post(self, front: WebhookContext, head: RequestHead, body: bytes) -> None:
        """Begin a request on the running loop. The response comes by `done`."""
        request = MemoryRequest(front, self)
        headers = HTTPHeaders({"Host": "bots.test", "Content-Length": str(len(body)), **head.headers})
        request.headers_received(RequestStartLine(head.method, head.path, "HTTP/1.1"), headers)
        for start in range(0, len(body), PIECE_BYTES):
            request.data_received(body[start : start + PIECE_BYTES])
        request.finish()

    def closed(self) -> bool:
        """Return whether the client is gone."""
        return self.cut

    def write(self, chunk: bytes) -> None:
        """Take bytes of the response, its head included."""
        self._out += chunk

    def finish(self) -> None:
        """Read the complete response."""
        if self.done.done():
            return
        head, _, body = bytes(self._out).partition(b"\r\n\r\n")
        first, _, rest = head.decode("latin-1").partition("\r\n")
        line: ResponseStartLine = parse_response_start_line(first)
        self.done.set_result(WrittenResponse(line.code, HTTPHeaders.parse(rest), body, self.word))

    def close(self) -> None:
        """Close the connection, as a client does that goes away."""
        self.cut = True


class MemoryContext:
    """The peer of a connection, in the shape that Tornado uses."""

    remote_ip = "127.0.0.1"


class MemoryRequest(WebhookRequest):
    """One request. It remembers the outcome's word, which no response shows."""

    def __init__(self, front: WebhookContext, wire: MemoryConnection) -> None:
        super().__init__(front, wire)
        self._wire = wire

    def respond(self, outcome: Outcome) -> bool:
        """See `WebhookRequest.respond`."""
        self._wire.word = outcome.word
        return super().respond(outcome)

    def write_whole(self, head: bytes, body: bytes, word: str) -> None:
        """See `WebhookRequest.write_whole`."""
        self._wire.word = word
        super().write_whole(head, body, word)
