"""The public listener: Tornado's HTTPServer with our delegate, limits on connections and time, and a TLS context to swap."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tornado.httpserver import HTTPServer

from bothost.errors import ConfigError, Problem
from bothost.webhook.connections import ConnectionLimits, Connections
from bothost.webhook.refusals import spare_the_log
from bothost.webhook.request import WebhookContext, WebhookRequest, whole_answer
from bothost.webhook.routing import BEYOND, UNREADABLE

if TYPE_CHECKING:
    from asyncio import Future

    from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
    from tornado.httputil import HTTPConnection, HTTPMessageDelegate
    from tornado.iostream import IOStream

log = logging.getLogger("bothost.refused")

BARE_400 = b"HTTP/1.1 400 Bad Request\r\n\r\n"
"""What Tornado writes by itself, before it ends the connection, where a request's head or framing cannot be read."""

MAX_HEAD_BYTES = 8192
"""As servers in front have it. Each read looks for the head's end anew: byte by byte 8 kB cost half a second, 16 kB two."""


class WebhookListener(HTTPServer):
    """Serves the webhook on the sockets it is given (`add_sockets`). To be made and used on a running loop."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: Tornado calls this before `__init__`, which does the work with types."""

    def __init__(self, front: WebhookContext, limits: ConnectionLimits, tls: ssl.SSLContext | None = None) -> None:
        # Body sizes are the receiver's business: Tornado's own limit answers 400 and resets the connection.
        # (read_chunk_size stays as it is); time limits are kept by the sweep, which costs a request nothing
        HTTPServer.initialize(self, self, ssl_options=tls, max_body_size=BEYOND, max_header_size=MAX_HEAD_BYTES)
        self.conn_params.header_timeout = None
        self.front = front
        self.connections = Connections(limits, front.clock)
        self._sweeper = asyncio.get_running_loop().call_later(limits.sweep_s, self._sweep)
        self._told, self._tell_at = 0, 0.0
        spare_the_log(front.clock)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection, or close the one that has waited longest where there are too many."""
        self.connections.accepted(stream)
        if not stream.closed():
            # each answer is one write; Tornado would switch Nagle's algorithm off and on around it, two calls of the system
            stream.set_nodelay(True)
            stream.set_nodelay = _stays  # type: ignore[assignment]
            stream.write = partial(self._write, stream, address)  # type: ignore[method-assign]
            super().handle_stream(stream, address)

    def start_request(self, _server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """The delegate for the next request of a connection."""
        connection = cast("HTTP1Connection", request_conn)
        self.connections.awaits_head(connection.stream)
        return WebhookRequest(self.front, self.connections, connection)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        super().on_close(server_conn)
        stream = cast("HTTP1ServerConnection", server_conn).stream
        del stream.write  # which knows the stream: the two would wait for the garbage collector
        self.connections.closed(stream)

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Serve new connections by another certificate; those that are open go on."""
        self.ssl_options = context

    def retire(self) -> None:
        """Accept nothing more, for others do; connections end with their next answer, those idle after one at once."""
        self.stop()
        self.connections.leave()

    async def leave(self, grace_s: float = 2.0) -> None:
        """Stop accepting, close what is idle after an answer, give those without a first request `grace_s`, then close all."""
        self.retire()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.connections.empty.wait()
        self._sweeper.cancel()
        await self.close_all_connections()

    def _write(self, stream: IOStream, address: tuple[Any, ...], data: bytes) -> Future[None]:
        if data == BARE_400:
            data = self._unreadable(stream, address)
        return type(stream).write(stream, data)

    def _unreadable(self, stream: IOStream, address: tuple[Any, ...]) -> bytes:
        """The answer to what is no HTTP: one that is told and counted, as every refusal is; nothing where the request has
        been answered by its head."""
        receiver = self.connections.bodies.get(stream)
        if receiver is not None and receiver.answered:
            return b""
        found, peer = None, str(address[0]) if isinstance(address, tuple) else "unix"
        if receiver is not None:
            found, peer = receiver.found, receiver.peer
        self.front.refuse(found, peer, UNREADABLE.word, UNREADABLE.status)
        return whole_answer(UNREADABLE, b"Connection: close\r\n")

    def _sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(self.connections.limits.sweep_s, self._sweep)
        connections = self.connections
        connections.sweep()
        if connections.evicted > self._told and connections.clock.monotonic() >= self._tell_at:
            log.warning(
                "%d waiting connections were closed to make room, because %d are open: raise max_connections, or find out "
                "who opens connections without sending requests",
                connections.evicted - self._told,
                len(connections.open),
            )
            self._told, self._tell_at = connections.evicted, connections.clock.monotonic() + 60.0


def _stays(_value: bool) -> None:
    """A connection's Nagle algorithm stays off."""


def tls_context(certfile: str, keyfile: str) -> ssl.SSLContext:
    """A fresh context: to load into a live one with a wrong key breaks every handshake. Raises ConfigError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # the password is given so that an encrypted key is an error and not a question on the terminal
        context.load_cert_chain(certfile, keyfile or None, password=lambda: "")
    except (OSError, ValueError) as problem:
        text = f"certificate {certfile} with key {keyfile or certfile} cannot be used: {problem}"
        raise ConfigError((Problem(text, section="host", key="certfile"),)) from problem
    return context
