"""The value that the stages of an event's life share; assembly.py makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost.pipeline.attempts import LEASE_BEYOND_S
from bothost.pyrus.token_mask import without_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.background import SupervisedLoops
    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.journal import Journal
    from bothost.journal.entry import Entry, JournalTiming
    from bothost.pipeline.event_table import EventTable, TrackedEvent
    from bothost.pipeline.loop_breaker import LoopBreaker
    from bothost.pipeline.responses import Responses
    from bothost.pyrus_client.api import Pyrus


@dataclass(frozen=True, slots=True)
class PipelineContext:
    """Journal, memory, time and the bots in service: all that an event needs besides its own values."""

    journal: Journal
    event_table: EventTable
    clock: Clock
    responses: Responses
    find_bot: Callable[[str], Bot | None]
    """The bot of a name in the registry of this moment."""
    pyrus_for: Callable[[Bot, TrackedEvent, float], Pyrus | None]
    """Gives a run its way to Pyrus, until a moment of the monotonic clock."""
    timing: JournalTiming
    now: Callable[[], float]
    """The journal's time in epoch seconds: entries are planned by it, and no step of a wall clock moves it alone."""
    loops: SupervisedLoops
    """Keeps this process's loops going."""
    loop_breaker: LoopBreaker
    hide: Callable[[str], None] = lambda _token: None
    """Takes each delivery's token, so that no log line and no stored traceback shows it."""
    failed: Callable[[Entry], None] = lambda _entry: None
    """Takes each event that has failed, once, after that was recorded."""

    def goes_on(self) -> str:
        """Say what goes on while the journal is away, and what is answered 503."""
        if self.journal.claims_first:
            return "deliveries wait for it up to answer_within, then get 503; a last attempt runs all the same"
        return "deliveries are answered as always; those that would be acknowledged before their reply get 503"


def limit_of(config: BotConfig) -> float:
    """Give the seconds for which a run of this bot keeps its claim alive: its `timeout` and a minute."""
    return config.timeout_s + LEASE_BEYOND_S


def stored_body(tracked: TrackedEvent) -> bytes | None:
    """Give the body that the journal keeps: the bytes with the token masked; None if it has them already."""
    if tracked.body is None and tracked.envelope is not None and tracked.envelope.body:
        envelope = tracked.envelope
        tracked.body = without_token(envelope.body, envelope.token, envelope.written_token)
    return tracked.body
