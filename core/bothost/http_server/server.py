"""Accept connections on given sockets, keep their limits, and end them in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from typing import TYPE_CHECKING

from bothost.errors import ConfigError, Problem
from bothost.http_server.connection import HttpConnection
from bothost.http_server.connections import Connections
from bothost.http_server.context import ServerContext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tornado.httputil import HTTPServerConnectionDelegate

    from bothost.clock import Clock
    from bothost.http_server.context import Refuse
    from bothost.http_server.limits import ConnectionLimits

log = logging.getLogger("bothost.refused")
AT_ONCE = 100
"""The number of connections that are accepted before others have their turn."""
AGAIN_S = 1.0
QUIET_S = 60.0
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class HttpServer:
    """Serves an application of Tornado's interfaces. It is made and used on a running loop."""

    def __init__(
        self,
        app: HTTPServerConnectionDelegate,
        refuse: Refuse,
        limits: ConnectionLimits,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        written.set_result(None)
        self.connections = Connections(limits, clock)
        self.trouble = ""
        """The reason why nothing can be accepted at present."""
        self._context = ServerContext(app, refuse, self.connections, limits, loop, written)
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper = loop.call_later(limits.sweep_s, self._sweep)
        self._again: asyncio.TimerHandle | None = None
        self._told, self._tell_at, self._tell_files_at = 0, 0.0, 0.0

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on these sockets, which listen already, until `retire` closes them."""
        for one in sockets:
            one.setblocking(False)
            self._sockets.append(one)
            self._context.loop.add_reader(one.fileno(), self._accept, one)

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Serve new connections by another certificate; those that are open go on."""
        self._tls = context

    def retire(self) -> None:
        """Accept nothing more, because others do; close idle connections now and the others after their response."""
        if self._again is not None:
            self._again.cancel()
        for one in self._sockets:
            self._context.loop.remove_reader(one.fileno())
            one.close()
        self._sockets.clear()
        self.connections.leave()

    async def leave(self, grace_s: float = 2.0) -> None:
        """Retire, give connections without a first request and those with a response `grace_s`, then close all."""
        self.retire()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.connections.empty.wait()
        self._sweeper.cancel()
        for connection in tuple(self.connections.open):
            connection.drop()
        await asyncio.sleep(0)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._wait_for_files(error)
                return
            self.trouble = ""
            self._open(accepted, address)

    def _open(self, accepted: socket.socket, address: object) -> None:
        accepted.setblocking(False)
        if isinstance(address, tuple):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # an answer waits for no acknowledgement
        connection = HttpConnection(self._context, address, tls=self._tls is not None)
        self.connections.accepted(connection)
        if connection not in self.connections.open:  # it was the only one that waited
            accepted.close()
            return
        self._opening.add(task := self._context.loop.create_task(self._take(connection, accepted)))
        task.add_done_callback(self._opening.discard)

    async def _take(self, connection: HttpConnection, accepted: socket.socket) -> None:
        """Make the transport of an accepted connection, unless its limits have ended it already."""
        if connection.channel.ended:
            accepted.close()
            return
        connection.channel.opening = asyncio.current_task()
        tls, limits = self._tls, {}
        if tls is not None:
            limits["ssl_handshake_timeout"] = self.connections.limits.header_s
            limits["ssl_shutdown_timeout"] = self.connections.limits.lingering_s
        try:
            await self._context.loop.connect_accepted_socket(lambda: connection, accepted, ssl=tls, **limits)
        except (OSError, asyncio.CancelledError) as error:
            self.connections.forget(connection)
            if isinstance(error, asyncio.CancelledError) and not connection.channel.ended:
                raise

    def _wait_for_files(self, error: OSError) -> None:
        """Accept nothing for a moment: to try again at once would only turn the loop."""
        self.trouble = f"no connection can be accepted: {error.strerror}"
        for one in self._sockets:
            self._context.loop.remove_reader(one.fileno())
        self._again = self._context.loop.call_later(AGAIN_S, self._accept_again)
        now = self.connections.clock.monotonic()
        if now >= self._tell_files_at:
            self._tell_files_at = now + QUIET_S
            log.error(
                "no connection can be accepted (%s): raise LimitNOFILE (ulimit -n), lower max_connections, or find what "
                "keeps files open; the host tries again every second",
                error.strerror,
            )

    def _accept_again(self) -> None:
        self.trouble = ""
        for one in self._sockets:
            self._context.loop.add_reader(one.fileno(), self._accept, one)

    def _sweep(self) -> None:
        connections = self.connections
        self._sweeper = self._context.loop.call_later(connections.limits.sweep_s, self._sweep)
        connections.sweep()
        if connections.evicted > self._told and connections.clock.monotonic() >= self._tell_at:
            log.warning(
                "%d waiting connections were closed to make room, because %d are open: raise max_connections, or find out "
                "who opens connections without sending requests",
                connections.evicted - self._told,
                len(connections.open),
            )
            self._told, self._tell_at = connections.evicted, connections.clock.monotonic() + QUIET_S


def tls_context(certfile: str, keyfile: str) -> ssl.SSLContext:
    """Return a fresh context, because loading into a live one with a wrong key breaks every handshake. Raises ConfigError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # the password is given so that an encrypted key is an error and not a question on the terminal
        context.load_cert_chain(certfile, keyfile or None, password=lambda: "")
    except (OSError, ValueError) as problem:
        text = f"certificate {certfile} with key {keyfile or certfile} cannot be used: {problem}"
        raise ConfigError((Problem(text, section="host", key="certfile"),)) from problem
    return context
