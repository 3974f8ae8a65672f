"""Render figures for Prometheus with bounded labels, in a thread, piece by piece. A scrape is kept for 5 s."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bothost.telemetry.metrics.counters import BotFigures, together
from bothost.telemetry.metrics.families import families

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from prometheus_client import Metric

    from bothost.clock import Clock
    from bothost.telemetry.metrics.counters import MetricsSnapshot
    from bothost.telemetry.metrics.families import HostGauges

MOST_HISTOGRAMS = 200
MOST_BOTS = 2_000
OTHER = "other"
_KEPT_S = 5.0


class LabelBudget:
    """The bots that have a label of their own; the others share `other`.

    A label is given to the busiest bots that have none. It is never taken back, because a counter would fall.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seated: set[str] = set()

    def give(self, bots: dict[str, BotFigures]) -> None:
        """Give a label to as many of these bots as there is room for, the busiest first."""
        free = self._limit - len(self._seated)
        waiting = [name for name in bots if name not in self._seated]
        if len(waiting) > free:
            waiting.sort(key=lambda name: bots[name].deliveries, reverse=True)
        self._seated.update(waiting[:free])

    def label(self, bot: str) -> str:
        """Return the label of the bot's series."""
        return bot if bot in self._seated else OTHER


class Exposition:
    """Answers scrapes. `gather` collects the snapshots of all processes and the host's own values, on the loop."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(
        self, gather: Callable[[], Awaitable[tuple[Sequence[MetricsSnapshot], HostGauges]]], clock: Clock
    ) -> None:
        self._gather = gather
        self._clock = clock
        self._histogram_seats = LabelBudget(MOST_HISTOGRAMS)
        self._seats = LabelBudget(MOST_BOTS)
        self._kept = (b"", float("-inf"))
        self._lock = asyncio.Lock()

    async def text(self) -> bytes:
        """Return the scrape's body, which is at most 5 s old."""
        async with self._lock:
            body, at = self._kept
            if self._clock.monotonic() - at >= _KEPT_S:
                snapshots, host = await self._gather()
                with self._clock.real_io():
                    body = await asyncio.to_thread(self._render, snapshots, host)
                self._kept = (body, self._clock.monotonic())
            return body

    def _render(self, snapshots: Sequence[MetricsSnapshot], host: HostGauges) -> bytes:
        from prometheus_client import generate_latest

        bots = together(snapshots)
        for gauge in host.bots:
            bots.setdefault(gauge.name, BotFigures())
        self._histogram_seats.give(bots)
        self._seats.give(bots)
        pieces: list[bytes] = []
        name = ""
        for family in families(snapshots, host, bots, (self._seats.label, self._histogram_seats.label)):
            text = generate_latest(_SingleFamily(family))
            pieces.append(_without_head(text) if family.name == name else text)
            name = family.name
        return b"".join(pieces)


def _without_head(text: bytes) -> bytes:
    """Return a further piece of one family without HELP and TYPE, which may stand only once."""
    return text.split(b"\n", 2)[2]


class _SingleFamily:
    """A registry of one family, for `generate_latest`."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)
