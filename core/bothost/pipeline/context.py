"""Define the value that the stages of an event's life share. `assembly.py` makes it."""

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
    """Everything that an event needs besides its own values: journal, memory, time and the bots in service."""

    journal: Journal
    event_table: EventTable
    clock: Clock
    responses: Responses
    find_bot: Callable[[str], Bot | None]
    """Returns the bot of a name in the present registry, or None."""
    pyrus_for: Callable[[Bot, TrackedEvent, float], Pyrus | None]
    """Returns `event.pyrus` of a run that ends at a moment of the monotonic clock."""
    timing: JournalTiming
    now: Callable[[], float]
    """Returns the journal's time in epoch seconds. Entries are planned by it, and no step of a wall clock moves it alone."""
    loops: SupervisedLoops
    """Keeps this process's loops going."""
    loop_breaker: LoopBreaker
    hide: Callable[[str], None] = lambda _token: None
    """Takes each delivery's token, so that no log line and no stored traceback shows it."""
    failed: Callable[[Entry], None] = lambda _entry: None
    """Takes each event that has failed, once, after that was recorded."""

    def goes_on(self) -> str:
        """Return a text for logs: what goes on while the journal is away, and what is answered 503."""
        if self.journal.claims_first:
            return "deliveries wait for it up to answer_within, then get 503; a last attempt runs all the same"
        return "deliveries are answered as always; those that would be acknowledged before their reply get 503"


def limit_of(config: BotConfig) -> float:
    """Return the seconds for which a run of this bot keeps its claim alive: its `timeout` and a minute."""
    return config.timeout_s + LEASE_BEYOND_S


def stored_body(tracked: TrackedEvent) -> bytes | None:
    """Return the body for the journal, with the token masked; None if the journal keeps none or has it already."""
    if tracked.body is None and tracked.envelope is not None and tracked.envelope.body:
        envelope = tracked.envelope
        tracked.body = without_token(envelope.body, envelope.token, envelope.written_token)
    return tracked.body
