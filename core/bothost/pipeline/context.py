"""What the stages of an event's life share, as one value made in assembly.py."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost.errors import JournalAway
from bothost.pipeline.attempts import LEASE_BEYOND_S
from bothost.pyrus.digest import without_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.background import SupervisedLoops
    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.journal import Journal
    from bothost.journal.entry import Door, Entry, JournalTiming
    from bothost.pipeline.event_table import EventTable, TrackedEvent
    from bothost.pipeline.loop_breaker import LoopBreaker
    from bothost.pipeline.responses import Responses
    from bothost.pyrus_client.api import Pyrus

log = logging.getLogger("bothost.journal")


@dataclass(frozen=True, slots=True)
class PipelineContext:
    """Store, memory, time and the bots in service: all that an event needs besides its own values."""

    journal: Journal
    event_table: EventTable
    clock: Clock
    responses: Responses
    find_bot: Callable[[str], Bot | None]
    """The bot of a name in the registry of this moment."""
    pyrus_for: Callable[[Bot, TrackedEvent], Pyrus | None]
    timing: JournalTiming
    loops: SupervisedLoops
    """Keeps this process's loops going."""
    loop_breaker: LoopBreaker
    hide: Callable[[str], None] = lambda _token: None
    """Told of each delivery's token, which must stand in no log line and no stored traceback."""
    failed: Callable[[Entry], None] = lambda _entry: None
    """Told once of each event that has failed, after that was recorded."""

    def now(self) -> float:
        """The wall clock in epoch seconds, as the journal has it."""
        return self.clock.epoch()


def limit_of(config: BotConfig) -> float:
    """How long a run of this bot may keep its claim alive: its `timeout` and a minute."""
    return config.timeout_s + LEASE_BEYOND_S


def stored_body(tracked: TrackedEvent) -> bytes | None:
    """What the journal keeps of a live entry's body: the bytes with the token masked; None where it has them already."""
    if tracked.body is None and tracked.envelope is not None and tracked.envelope.body:
        tracked.body = without_token(tracked.envelope.body, tracked.envelope.token)
    return tracked.body


async def save_surely(
    context: PipelineContext, entry: Entry, body: bytes | None = None, door: Door | None = None
) -> bool:
    """Write an entry that must not be forgotten: tried until it lands (True) or the fence refuses it (False)."""
    pause_s = context.timing.retry_beat_s
    while True:
        try:
            return await context.journal.save(entry, body, door=door)
        except JournalAway as error:
            log.warning(
                "the journal is away; %s is kept and written again: %s", entry.id, error, extra={"bot": entry.bot}
            )
        await context.journal.wait_hint(pause_s)
        pause_s = min(pause_s * 2, 2.0)
