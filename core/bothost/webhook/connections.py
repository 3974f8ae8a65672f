"""Limits on what strangers may hold: connections, time, and bytes that nobody has verified yet.

Connections stand in lines by what they wait for. Each line has one limit, so its entries stand in the order in which
they become overdue, and a look at its front is enough.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tornado.iostream import IOStream

    from bothost.bots.registry import Bot
    from bothost.clock import Clock


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How much strangers may hold, and for how long."""

    max_connections: int = 1000
    header_s: float = 10.0
    """From a connection's start (TLS handshake included) to the end of its first request head."""
    body_s: float = 60.0
    """From the end of a head to the end of its body; also for a response that its reader does not take."""
    idle_s: float = 75.0
    """From an answer to the end of the next request head."""
    unverified_bytes: int = 256 << 20
    dropped_bytes: int = 64 << 20
    """How much of a refused body is read and dropped, so that its sender comes to read the refusal."""
    sweep_s: float = 1.0


class HeldBody(Protocol):
    """A request whose body comes, or whose answer is not taken yet."""

    held: int
    """Bytes of the body that are held and not verified."""
    since: float
    """When its time began."""
    found: Bot | None
    """Whose path it came by."""
    answered: bool
    """Refused already, while its body may still come."""

    @property
    def peer(self) -> str:
        """Who sent this, as far as it can be told."""

    def shed(self) -> None:
        """Give up this body, for unverified bodies hold too much in all."""

    def overdue(self) -> None:
        """Its time is up: answer if possible, then close."""


class Connections:
    """The open connections of one listener, each in the line of what it waits for; on the loop only."""

    def __init__(self, limits: ConnectionLimits, clock: Clock) -> None:
        self.limits = limits
        self.clock = clock
        self.open: set[IOStream] = set()
        self.fresh: OrderedDict[IOStream, float] = OrderedDict()
        self.idle: OrderedDict[IOStream, float] = OrderedDict()
        self.bodies: OrderedDict[IOStream, HeldBody] = OrderedDict()
        self.unverified = 0
        """Bytes of bodies that have come and are not verified yet, over all connections."""
        self.evicted = 0
        self.leaving = False
        self.empty = asyncio.Event()
        """Set when the listener leaves and no connection is open any more."""

    def accepted(self, stream: IOStream) -> None:
        """A connection begins. At the cap the one that has waited longest for a request head is closed, not the newcomer
        (who is the longest waiting only where nobody else waits)."""
        self.open.add(stream)
        self.fresh[stream] = self.clock.monotonic()
        if len(self.open) > self.limits.max_connections:
            self._evict()

    def awaits_head(self, stream: IOStream) -> None:
        """A connection begins to wait for a request; after its first one it is idle."""
        if stream in self.fresh:
            return
        self.bodies.pop(stream, None)
        if self.leaving:
            stream.close()
        else:
            self.idle[stream] = self.clock.monotonic()

    def has_head(self, stream: IOStream, receiver: HeldBody) -> None:
        """A request head is complete; the body's time begins."""
        if self.idle.pop(stream, None) is None:
            self.fresh.pop(stream, None)
        self.bodies[stream] = receiver

    def has_body(self, stream: IOStream, held: int) -> None:
        """A body is complete or given up: its bytes are nobody's unverified bytes any more."""
        self.bodies.pop(stream, None)
        self.unverified -= held

    def stalls(self, stream: IOStream, receiver: HeldBody) -> None:
        """A response does not fit into the socket: its reader gets as long as a body."""
        receiver.since = self.clock.monotonic()
        self.bodies[stream] = receiver

    def closed(self, stream: IOStream) -> None:
        """A connection has ended."""
        self.open.discard(stream)
        self.fresh.pop(stream, None)
        self.idle.pop(stream, None)
        self.bodies.pop(stream, None)
        if self.leaving and not self.open:
            self.empty.set()

    def leave(self) -> None:
        """From now on a connection ends with its answer; those idle after one end at once."""
        self.leaving = True
        for stream in tuple(self.idle):
            self._close(stream)
        if not self.open:
            self.empty.set()

    def relieve(self) -> None:
        """While unverified bodies hold too much, refuse the one that holds most."""
        while self.unverified > self.limits.unverified_bytes:
            largest = max(self.bodies.values(), key=lambda receiver: receiver.held, default=None)
            if largest is None or not largest.held:
                return
            largest.shed()

    def sweep(self) -> None:
        """Close what is overdue: heads and idle connections silently, bodies with an answer."""
        now = self.clock.monotonic()
        for line, limit_s in ((self.fresh, self.limits.header_s), (self.idle, self.limits.idle_s)):
            while line and now - line[next(iter(line))] >= limit_s:
                self._close(line.popitem(last=False)[0])
        while self.bodies:
            receiver = next(iter(self.bodies.values()))
            if now - receiver.since < self.limits.body_s:
                return
            self.bodies.popitem(last=False)
            receiver.overdue()

    def _evict(self) -> None:
        fronts = [line for line in (self.fresh, self.idle) if line]
        oldest = min(fronts, key=lambda line: line[next(iter(line))])
        self.evicted += 1
        self._close(oldest.popitem(last=False)[0])

    def _close(self, stream: IOStream) -> None:
        self.closed(stream)
        stream.close()
