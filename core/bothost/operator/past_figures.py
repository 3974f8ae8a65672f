"""Add to a process's counts what the journal knows from before its start, so that a restart empties no chart."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec

from bothost.errors import JournalAway
from bothost.telemetry.metrics import BotFigures, MinuteFigures
from bothost.telemetry.metrics.counters import RING_MINUTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.clock import Clock
    from bothost.journal import Journal
    from bothost.journal.past import Past

READ_S = 30.0
"""The seconds between two looks, because other hosts on the journal take deliveries too."""


class PastFigures:
    """The figures of each bot from before `started`, and its last delivery on any host. They are read when somebody looks."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._minutes: dict[str, list[MinuteFigures]] | None = None
        self._known: Mapping[str, BotFigures] = {}

    async def read(self, started: float) -> Mapping[str, BotFigures]:
        """Return them by bot; what was last known while the journal is away. `started` is by the wall clock."""
        async with self._lock:
            if self._clock.monotonic() - self._read_at >= READ_S:
                self._read_at = self._clock.monotonic()
                with contextlib.suppress(JournalAway):
                    await self._look(started)
        return self._known

    async def _look(self, started: float) -> None:
        shift = self._clock.now().timestamp() - self._journal.now()
        seconds = RING_MINUTES * 60.0 if self._minutes is None else 0.0
        past = await self._journal.past(started - shift, seconds, shift)
        if self._minutes is None:
            self._minutes = _minutes_of(past)
        self._known = {
            one.bot: BotFigures(
                last_delivery=one.last_delivery + shift if one.last_delivery else 0.0,
                recent=list(one.runs_s),
                minutes=self._minutes.get(one.bot, []),
            )
            for one in past.newest
        }


def _minutes_of(past: Past) -> dict[str, list[MinuteFigures]]:
    found: dict[str, list[MinuteFigures]] = {}
    for one in sorted(past.minutes, key=lambda one: one.minute):
        found.setdefault(one.bot, []).append(
            MinuteFigures(one.minute, one.deliveries, one.runs, one.failures, one.seconds, one.slowest)
        )
    return found


def with_past(figures: BotFigures, past: BotFigures | None, started: float) -> BotFigures:
    """Return a bot's figures of the living processes together with those from before `started`."""
    if past is None:
        return figures
    return msgspec.structs.replace(
        figures,
        last_delivery=max(figures.last_delivery, past.last_delivery),
        recent=figures.recent or past.recent,
        minutes=_joined(figures.minutes, past.minutes, int(started // 60)),
    )


def _joined(here: list[MinuteFigures], before: list[MinuteFigures], started: int) -> list[MinuteFigures]:
    """Join minutes. In one before the start a sibling may have counted what the journal counted too, so the larger counts hold."""
    if not before:
        return here
    minutes = {one.minute: one for one in before}
    for one in here:
        known = minutes.get(one.minute)
        if known is None:
            minutes[one.minute] = one
        elif one.minute < started:
            counts = zip(msgspec.structs.astuple(known), msgspec.structs.astuple(one), strict=True)
            minutes[one.minute] = MinuteFigures(*(max(pair) for pair in counts))
        else:
            both = minutes[one.minute] = msgspec.structs.replace(known)
            both.add(one)
    return [minutes[minute] for minute in sorted(minutes)][-RING_MINUTES:]
