"""What deliveries are answered, and the one log line each of them gets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from bothost.delivery import NOTHING, Outcome

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.delivery import Delivery
    from bothost.ledger import Live

log = logging.getLogger("bothost.delivery")

LATE = Outcome(200, NOTHING, "late")
PARKED = Outcome(200, NOTHING, "parked")
ACKNOWLEDGED = Outcome(200, NOTHING, "acknowledged", repeat=True)
REPEAT = Outcome(200, NOTHING, "repeat", repeat=True)
CANCELLED = Outcome(200, NOTHING, "cancelled", repeat=True)
UNAVAILABLE = Outcome(503, NOTHING, "unavailable")
BUSY = Outcome(503, NOTHING, "busy")
UNRECORDED = Outcome(503, NOTHING, "unrecorded")
FAILED = Outcome(500, NOTHING, "held")


class Count(Protocol):
    """Takes the figures of what happened; metrics.Metrics is one, and tests bring theirs."""

    def delivery(self, bot: str, word: str, status: int, seconds: float) -> None:
        """One delivery was answered."""

    def run(self, bot: str, seconds: float, failed: bool) -> None:
        """One run of a handler or timer ended."""

    def queue_wait(self, bot: str, seconds: float) -> None:
        """An event waited so long for turn and permit."""

    def post(self, bot: str, result: str) -> None:
        """One try to post a late reply ended."""


Say = Callable[[int, str, dict[str, Any]], None]
"""Takes a log line of this logger: level, message, fields."""


def say(level: int, message: str, fields: dict[str, Any]) -> None:
    """The usual way of a log line."""
    log.log(level, message, extra=fields)


class Answers:
    """Gives outcomes to deliveries and says so."""

    __slots__ = ("_clock", "_say", "count")

    def __init__(self, clock: Clock, count: Count, say: Say = say) -> None:
        self._clock = clock
        self._say = say
        self.count = count

    def give(self, delivery: Delivery, outcome: Outcome, task: int, attempt: int) -> bool:
        """Answer one delivery; False where its connection was gone."""
        written = delivery.respond(outcome)
        bot = delivery.bot.config.name
        seconds = self._clock.monotonic() - delivery.received
        word = outcome.word if written else "gone"
        self.count.delivery(bot, word, outcome.status, seconds)
        level = logging.INFO if outcome.status < 500 else logging.WARNING
        if log.isEnabledFor(level):
            fields: dict[str, Any] = {
                "bot": bot,
                "task": task,
                "attempt": attempt,
                "outcome": word,
                "status": outcome.status,
            }
            fields["ms"] = round(seconds * 1000, 1)
            if delivery.trace:
                fields["traceparent"] = delivery.trace
            self._say(level, "delivery", fields)
        return written

    def give_all(self, live: Live, outcome: Outcome) -> bool:
        """Answer all deliveries that wait for an event; whether any of them could be written."""
        waiters, live.waiters = live.waiters, []
        written = False
        for waiter in waiters:
            waiter.stop()
            written |= self.give(waiter.delivery, outcome, live.entry.task, live.attempt)
        return written
