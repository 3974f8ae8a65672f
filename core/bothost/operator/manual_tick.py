"""Run a timer once because an operator asks for it: a tick in the journal, which runs as any other does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import msgspec

from bothost.pipeline.context import limit_of
from bothost.pipeline.ticks import tick_entry
from bothost.telemetry.host_loggers import LogListener

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from datetime import datetime

    from bothost.config import BotConfig
    from bothost.journal import Journal
    from bothost.journal.entry import Entry

LOOK_S = 0.1
MOST_LINES = 1000
BEYOND_S = 60.0
"""How long a tick may wait for its turn and a permit, beyond the bot's `timeout`."""


class TickReport(msgspec.Struct, frozen=True):
    """Tells what became of a tick: `state` is `answered` or `failed`, or else how it stood when nobody waited any longer."""

    id: str
    state: str
    ms: float
    error: str = ""
    lines: list[str] = []
    """What the plugin logged meanwhile, if it ran in this process."""
    elsewhere: str = ""
    """The other process that ran it, `host:pid`, in whose log its lines stand; "" for this one."""


class LinesOfRun(LogListener):
    """Collects what the host's loggers say of one event while it is entered."""

    def __init__(self, event: str, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self._event = event
        self._scrub = scrub
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line of the event."""
        if vars(record).get("event") == self._event and len(self.lines) < MOST_LINES:
            self.lines.append(self._scrub(f"{record.levelname.lower():<7} {record.getMessage()}"))


async def run_tick(
    journal: Journal, bot: BotConfig, timer: str, due: datetime, scrub: Callable[[str], str]
) -> TickReport:
    """Put a tick into the journal and wait until it has run on one of the hosts. A tick that was there already runs as a new one.

    Raises JournalAway.
    """
    limit_s = limit_of(bot) if journal.claims_first else 0.0
    first = tick_entry(bot.name, timer, due, journal.now(), limit_s)
    for number in itertools.count(1):
        entry = msgspec.structs.replace(first, id=first.id if number == 1 else f"{first.id}~{number}")
        with LinesOfRun(first.id, scrub) as heard:
            if await journal.put(entry, b"") is entry:
                row = await _ended(journal, entry, bot.timeout_s + BEYOND_S)
                elsewhere = "" if row.owner == journal.owner else row.owner.rpartition(":")[0]
                return TickReport(row.id, row.state, row.ms, row.error, heard.lines, elsewhere)
    raise AssertionError("unreachable")


async def _ended(journal: Journal, entry: Entry, limit_s: float) -> Entry:
    """Return the row when its run is over, or as it stands when the time is up."""
    row = entry
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while row.state in ("ready", "running"):
                await journal.wait_hint(LOOK_S)
                row = await journal.find(entry.id) or row
    return row
