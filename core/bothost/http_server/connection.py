"""Serve one connection: pass requests to the application one after the other, and send the answers in order.

While a request waits for its answer, what follows it is kept: parsed parts of the read in which it came, and raw bytes.
Reading is paused as soon as there are such bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPInputError, RequestStartLine

from bothost.http_server.context import NO_ADDRESS, PeerContext, ServerContext
from bothost.http_server.parser import (
    FAULT,
    SLOW,
    TOO_LARGE,
    UNREADABLE,
    Head,
    RefusedBytesError,
    RequestParser,
    ServerRefusal,
)
from bothost.http_server.responses import head_bytes, is_chunked, plain_answer
from bothost.http_server.transport import ConnectionTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPMessageDelegate, ResponseStartLine


log = logging.getLogger("bothost.server")
SLICE = 64 << 10
"""The most bytes that are parsed at once, because each request in them costs memory while it waits."""
LONGEST_HEAD = 16 << 10
"""The end of a head is looked for in so many bytes. Where it is not found, a slice is parsed all the same."""
MOST_AT_ONCE = 64
"""The number of requests of one connection that are answered before others have their turn."""


class HttpConnection(asyncio.Protocol, HTTPConnection):
    """One accepted connection. To applications it is Tornado's connection and its stream in one."""

    def __init__(self, server: ServerContext, address: object, *, tls: bool) -> None:
        remote_ip = str(address[0]) if isinstance(address, tuple) else NO_ADDRESS
        self.context = PeerContext(remote_ip, "https" if tls else "http")
        self._server = server
        self._connections = server.connections
        self._clock = server.connections.clock
        self.channel = ConnectionTransport(self, server.connections, server.written)
        self._parser = RequestParser(self, server.limits)
        self._rest: bytes | memoryview = b""
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
        self._held = self._running = False
        self._burst = MOST_AT_ONCE
        self._delegate: HTTPMessageDelegate | None = None
        self._whole = self._begun = self._finished = self._last = self._moves = self._chunked = False
        self._size = 0
        self._most = server.limits.body_bytes
        self._line = RequestStartLine("", "", "")
        self._on_close: Callable[[], None] | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; with TLS this comes after the handshake."""
        self.channel.transport = cast("asyncio.Transport", transport)
        if self.channel.ended:
            self.channel.drop()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, or keep it while a request waits for its answer."""
        if self.channel.ended:
            self.channel.dropped(len(data))
            return
        self._rest = b"".join((self._rest, data)) if self._rest else data
        if self._held:
            self.channel.pause()
        else:
            self._go_on()

    def eof_received(self) -> bool:
        """Keep the connection open for answers that are due to a client which only stopped sending."""
        channel = self.channel
        channel.eof = True
        return not channel.ended and self.context.protocol == "http" and (self._held or bool(self._rest))

    def connection_lost(self, _exc: Exception | None) -> None:
        """Tell the request that is under way."""
        self.channel.ended = True
        self._rest, self._waiting = b"", None
        self._connections.forget(self)
        delegate, self._delegate = self._delegate, None
        on_close, self._on_close = self._on_close, None
        if delegate is not None and not self._whole and not self._finished:
            delegate.on_connection_close()
        if on_close is not None:
            on_close()
        self.channel.release()

    def pause_writing(self) -> None:
        """Answer nothing more while the reader of a response does not take it."""
        self._held = True
        self.channel.stall()

    def resume_writing(self) -> None:
        """Go on after the response has left."""
        self._connections.moving.pop(self, None)
        self.channel.release()
        if self.channel.ended:
            return
        if self._delegate is None:
            self._held = False
            self._connections.idle[self] = self._clock.monotonic()
            self._go_on()
        elif not self._whole:
            self._held = False
            self._connections.moves(self)

    # What the parser calls; while a request waits for its answer, these calls wait too.

    def head(self, head: Head) -> None:
        """See `RequestSink`."""
        if self._held:
            self._keep(self.head, head)
            return
        self._line = head.line
        self._last = not head.keeps_alive
        self._whole = self._begun = self._finished = False
        self._size = self.channel.dropped_bytes = 0
        self._connections.has_head(self)
        self._delegate = delegate = self._server.app.start_request(self, self)
        if self._most is not None and head.length > self._most:
            self._answer(TOO_LARGE)
        else:
            delegate.headers_received(head.line, head.headers)
        if "Expect" in head.headers.lists:
            self._meet_expectation(head)

    def body(self, chunk: bytes) -> None:
        """See `RequestSink`."""
        if self._held:
            self._keep(self.body, chunk)
        elif self._finished:
            self.channel.dropped(len(chunk))
        elif self._most is None or not self._exceeds(len(chunk)):
            assert self._delegate is not None
            self._delegate.data_received(chunk)

    def end(self) -> None:
        """See `RequestSink`."""
        if self._held:
            self._keep(self.end)
            return
        if self.channel.ended:
            return
        self._whole = True
        self._burst -= 1
        if self._moves:
            self._moves = False
            self._connections.moving.pop(self, None)
        if self._finished:
            self._after()
        else:
            self._held = True
            assert self._delegate is not None
            self._delegate.finish()

    # What applications call.

    @property
    def stream(self) -> HttpConnection:
        """Return the object that takes the place of Tornado's stream."""
        return self

    @property
    def socket(self) -> Any:
        """Return the socket, for its names."""
        transport = self.channel.transport
        return None if transport is None else transport.get_extra_info("socket")

    def closed(self) -> bool:
        """Return whether nothing can be written any more."""
        channel = self.channel
        return channel.ended or channel.transport is None or channel.transport.is_closing()

    @property
    def half_closed(self) -> bool:
        """Return whether the client has stopped sending: it may still read, or have gone."""
        return self.channel.eof

    @property
    def last(self) -> bool:
        """Return whether the connection ends with this answer."""
        return self._last or self._connections.leaving

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call this when the connection is lost before the response is finished."""
        self._on_close = callback

    def write_headers(
        self, start_line: ResponseStartLine | RequestStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        """Begin the response."""
        line = cast("ResponseStartLine", start_line)
        if self.last:
            headers["Connection"] = "close"
        elif self._line.version == "HTTP/1.0":
            headers["Connection"] = "Keep-Alive"
        self._chunked = is_chunked(self._line, line.code, headers)
        if self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        head = head_bytes(line, headers)
        return self._send(head + self._framed(chunk) if chunk else head)

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Send bytes of the response. Send its head first if `write_headers` was not called."""
        self._begun = True
        return self.channel.send(self._framed(chunk) if self._chunked else chunk)

    def finish(self) -> None:
        """Note that the response is complete. The rest of the request is read and dropped."""
        if self._finished or self._delegate is None:
            return
        if self._chunked:
            self._chunked = False
            self._send(b"0\r\n\r\n")  # type: ignore[unused-awaitable]
        self._finished = True
        self._on_close = None
        if self._whole:
            self._after()

    # What the server and its limits call.

    def close(self) -> None:
        """See `Limited`."""
        self.channel.close()

    def drop(self) -> None:
        """See `Limited`."""
        self.channel.drop()

    def overdue(self) -> None:
        """See `Limited`."""
        channel = self.channel
        if channel.stalled or channel.ended or self._delegate is None or self._whole:
            channel.drop()
        elif self._begun:
            channel.linger()
        else:
            self._refuse(SLOW)

    # From one request to the next.

    def _after(self) -> None:
        """Wait for the next request, or end, after a request and its response are complete."""
        self._delegate = None
        if self._last or self._connections.leaving:
            self.channel.finish()
            return
        stalled = self.channel.stalled
        self._held = stalled or self._burst <= 0
        if not stalled:
            self._connections.idle[self] = self._clock.monotonic()
        if not self._running:
            self._go_on()

    def _go_on(self) -> None:
        """Parse the bytes that were kept, request by request, until one waits for its answer."""
        if self._running:
            return
        self._running = True
        if self._burst <= 0 and not self.channel.stalled and self._delegate is None:
            self._held = False
        self._burst = MOST_AT_ONCE
        try:
            self._take_up()
        except (RefusedBytesError, HTTPInputError) as error:
            self._rest = b""
            refusal = error.refusal if isinstance(error, RefusedBytesError) else UNREADABLE._replace(why=str(error))
            if self._held:
                self._keep(self._refuse, refusal)
            else:
                self._refuse(refusal)
        except Exception:  # around an application: what it raises is a 500 and a line in the log, never a silent close
            log.exception("a fault in the answer to %s", self._line.path)
            self._refuse(FAULT)
        self._running = False
        if self._rest or self._waiting:
            self.channel.pause()
            self._yield()
        elif self.channel.paused:
            self.channel.resume()

    def _yield(self) -> None:
        """Let others have their turn before the rest of many requests."""
        if self._burst <= 0 and self._delegate is None:
            self._server.loop.call_soon(self._go_on)

    def _take_up(self) -> None:
        while not self._held and not self.channel.ended:
            if self._waiting:
                step, arguments = self._waiting.popleft()
                step(*arguments)
            elif self._rest:
                piece = self._rest
                self._rest = b""
                self._parser.feed(piece if len(piece) <= SLICE else self._first_of(piece))
            elif self.channel.eof:
                self.channel.close()
            else:
                break
        if self._delegate is not None and not self._whole and not self._moves and not self.channel.ended:
            self._moves = True
            self._connections.moves(self)

    def _first_of(self, piece: bytes | memoryview) -> memoryview:
        """Return the bytes that are to be parsed now, and keep the rest: up to the end of a head, or a slice. So a body of known
        length is returned as a whole, and is not copied to put it together.
        """
        whole = memoryview(piece)
        if self._parser.in_body:
            size = self._parser.left if self._parser.left > 0 else SLICE
        else:
            end = bytes(whole[:LONGEST_HEAD]).find(b"\r\n\r\n")
            size = end + 4 if end >= 0 else SLICE
        self._rest = whole[size:]
        return whole[:size]

    def _exceeds(self, size: int) -> bool:
        """Count bytes of a body; answer and return true when they are more than this server takes."""
        self._size += size
        if self._most is None or self._size <= self._most:
            return False
        self._answer(TOO_LARGE)
        return True

    def _keep(self, step: Callable[..., None], *arguments: Any) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((step, arguments))

    def _meet_expectation(self, head: Head) -> None:
        """Send `100 Continue` if the request expects it (in any case of letters). If a response has begun already, end the
        connection after it instead.
        """
        if self._begun:
            self._last = True
            self.channel.linger()
        elif head.headers.lists["Expect"][0].lower() == b"100-continue" and head.line.version == "HTTP/1.1":
            self.channel.send(b"HTTP/1.1 100 Continue\r\n\r\n")  # type: ignore[unused-awaitable]

    # Writing and ending.

    def _send(self, data: bytes) -> asyncio.Future[None]:
        self._begun = True
        return self.channel.send(data)

    def _framed(self, chunk: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk

    def _answer(self, refusal: ServerRefusal) -> None:
        """Answer in the application's place; the rest of the request is read and dropped."""
        delegate = self._delegate
        self._server.refuse(self.context, delegate, refusal)
        self._send(plain_answer(refusal.status, last=self.last))  # type: ignore[unused-awaitable]
        self._finished = True
        if delegate is not None:
            delegate.on_connection_close()

    def _refuse(self, refusal: ServerRefusal) -> None:
        """End the connection, with an answer unless the request that is under way has one."""
        self._last = True
        delegate = self._delegate
        if delegate is None or not self._begun:
            self._answer(refusal)
        elif not self._finished:
            delegate.on_connection_close()
        self._delegate = None
        self._rest, self._waiting = b"", None
        self.channel.linger()
