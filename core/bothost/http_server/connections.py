"""Limit the connections and the time that strangers may hold.

Each connection is in one queue, according to what it waits for. A queue has one limit, so its entries are in the order in which
they become overdue, and a look at its front is enough.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.http_server.limits import ConnectionLimits


class Limited(Protocol):
    """One connection, as its limits see it."""

    def drop(self) -> None:
        """Close it now. Bytes that its reader has not taken are lost."""

    def close(self) -> None:
        """Close it after all written bytes have left."""

    def overdue(self) -> None:
        """Close it because its time is up. Answer first if it waits for an answer."""


class Connections:
    """The open connections of one server, each in one queue. They are used on the loop only."""

    def __init__(self, limits: ConnectionLimits, clock: Clock) -> None:
        self.limits = limits
        self.clock = clock
        self.open: set[Limited] = set()
        self.fresh: OrderedDict[Limited, float] = OrderedDict()
        """The time since when each connection waits for its first request head."""
        self.idle: OrderedDict[Limited, float] = OrderedDict()
        """The time since when each connection waits for its next request head."""
        self.moving: OrderedDict[Limited, float] = OrderedDict()
        """The time since when each body is read, or each answer is written that its reader does not take."""
        self.lingering: OrderedDict[Limited, float] = OrderedDict()
        """The time since when each ended connection waits for its sender to read why."""
        self.evicted = 0
        self.leaving = False
        self.empty = asyncio.Event()
        """Set when the server leaves and no connection is open any more."""

    def accepted(self, connection: Limited) -> None:
        """Count a new connection. At the cap, close the one that has waited longest for a request head, not the newcomer.

        If none waits for a head, close the one whose body has taken longest. If all others wait for answers, close the newcomer.
        """
        self.open.add(connection)
        self.fresh[connection] = self.clock.monotonic()
        if len(self.open) > self.limits.max_connections:
            self._evict()

    def has_head(self, connection: Limited) -> None:
        """Note that a request head is complete."""
        if connection in self.idle:
            del self.idle[connection]
        else:
            self.fresh.pop(connection, None)

    def moves(self, connection: Limited) -> None:
        """Give a body, or the reader of a response, its time from now on."""
        self.moving.pop(connection, None)
        self.moving[connection] = self.clock.monotonic()

    def lingers(self, connection: Limited) -> None:
        """Let a connection end soon: nothing more is read from it or written to it."""
        self.forget(connection)
        self.open.add(connection)
        self.lingering[connection] = self.clock.monotonic()

    def forget(self, connection: Limited) -> None:
        """Remove a connection that has ended."""
        self.open.discard(connection)
        for queue in (self.fresh, self.idle, self.moving, self.lingering):
            queue.pop(connection, None)
        if self.leaving and not self.open:
            self.empty.set()

    def leave(self) -> None:
        """Close idle connections now and the others after their response."""
        self.leaving = True
        for connection in tuple(self.idle):
            connection.close()
        if not self.open:
            self.empty.set()

    def sweep(self) -> None:
        """Close what is overdue: heads and idle connections silently, bodies with an answer."""
        now, limits = self.clock.monotonic(), self.limits
        for queue, limit_s in (
            (self.fresh, limits.header_s),
            (self.idle, limits.idle_s),
            (self.lingering, limits.lingering_s),
        ):
            while queue and now - queue[next(iter(queue))] >= limit_s:
                self._close(next(iter(queue)))
        while self.moving and now - self.moving[next(iter(self.moving))] >= limits.body_s:
            self.moving.popitem(last=False)[0].overdue()

    def _evict(self) -> None:
        queues = [queue for queue in (self.lingering, self.fresh, self.idle) if queue]
        oldest = min(queues, key=lambda queue: queue[next(iter(queue))])
        if self.moving and len(self.lingering) + len(self.fresh) + len(self.idle) == 1:
            oldest = self.moving
        self.evicted += 1
        self._close(next(iter(oldest)))

    def _close(self, connection: Limited) -> None:
        self.forget(connection)
        connection.drop()
