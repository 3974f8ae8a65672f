"""Wrap the transport of one connection: write with back-pressure, pause, and end it in several ways."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bothost.http_server.connections import Connections, Limited


class ConnectionTransport:
    """Wraps the transport, which is there only after a TLS handshake. `owner` is the connection as its limits know it."""

    __slots__ = (
        "_connections",
        "_drained",
        "_owner",
        "_written",
        "dropped_bytes",
        "ended",
        "eof",
        "opening",
        "paused",
        "stalled",
        "transport",
    )

    def __init__(self, owner: Limited, connections: Connections, written: asyncio.Future[None]) -> None:
        self._owner = owner
        self._connections = connections
        self._written = written
        self._drained: asyncio.Future[None] | None = None
        self.paused = False
        self.dropped_bytes = 0
        self.transport: asyncio.Transport | None = None
        self.opening: asyncio.Task[Any] | None = None
        """The task that makes the transport."""
        self.stalled = False
        """Written bytes have not left, because its reader does not take it."""
        self.eof = False
        """The client has stopped sending."""
        self.ended = False
        """Nothing is read or written any more, except to drop what comes."""

    def closed(self) -> bool:
        """Return whether nothing can be written any more."""
        return self.ended or self.transport is None or self.transport.is_closing()

    def send(self, data: bytes) -> asyncio.Future[None]:
        """Write; return a future that is done when more should be written."""
        if not self.ended and self.transport is not None:
            self.transport.write(data)
        if not self.stalled:
            return self._written
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        return self._drained

    def stall(self) -> None:
        """Give the reader of a response as long as a body."""
        self.stalled = True
        self._connections.moves(self._owner)

    def release(self) -> None:
        """Complete the future that all waiting writers share."""
        self.stalled = False
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def pause(self) -> None:
        """Read nothing more for now."""
        if not self.paused and not self.closed():
            assert self.transport is not None
            self.paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.paused and self.transport is not None and not self.transport.is_closing():
            self.paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Close after all written bytes have left."""
        self.ended = True
        if self.transport is not None:
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self._connections.moves(self._owner)
        elif self.opening is not None:
            self.opening.cancel()

    def drop(self) -> None:
        """Close now. Bytes that the reader has not taken are lost."""
        self.ended = True
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self.transport is not None:
            self.transport.close()
        elif self.opening is not None:
            self.opening.cancel()

    def finish(self) -> None:
        """End after the last answer. With TLS nothing can be read after the end."""
        if self.transport is not None and self.transport.can_write_eof():
            self.linger()
        else:
            self.close()

    def linger(self) -> None:
        """Write nothing more, but read and drop for a while: a sender that is cut off while it writes never reads why."""
        if self.ended:
            return
        self.ended = True
        assert self.transport is not None
        if self.eof:
            self.close()
            return
        if self.transport.can_write_eof():
            try:
                self.transport.write_eof()
            except OSError:  # the peer has reset the connection, which the loop has not seen yet
                self.transport.abort()
                return
        self._connections.lingers(self._owner)
        self.resume()

    def dropped(self, size: int) -> None:
        """Count bytes that nobody wants; beyond the limit, end the connection."""
        self.dropped_bytes += size
        if self.dropped_bytes <= self._connections.limits.dropped_bytes:
            return
        if self.ended:
            self.close()
        else:
            self.linger()
