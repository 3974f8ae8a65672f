"""Give deliveries their answers, and log one line for each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.pipeline.delivery import Delivery, Outcome
    from bothost.pipeline.event_table import TrackedEvent

log = logging.getLogger("bothost.delivery")


class PipelineMetrics(Protocol):
    """Takes the pipeline's figures. `telemetry.metrics.Metrics` does so, and tests bring their own."""

    def delivery(self, bot: str, word: str, status: int, seconds: float) -> None:
        """Count one answered delivery."""

    def run(self, bot: str, seconds: float, failed: bool) -> None:
        """Count one ended run of a handler or timer."""

    def tick(self, bot: str, result: str) -> None:
        """Count a tick of a timer: ran, failed, skipped."""

    def job(self, bot: str, result: str) -> None:
        """Count a run of a job: ran, failed."""

    def missed(self, bot: str) -> None:
        """Catching up found an event that no webhook brought."""

    def hook(self, bot: str, hook: str, outcome: str) -> None:
        """Count a request to a hook that was answered or refused."""

    def queue_wait(self, bot: str, seconds: float) -> None:
        """Count the time that an event waited for turn and permit."""

    def post(self, bot: str, result: str) -> None:
        """Count one ended try to post a late reply."""


Tell = Callable[[int, str, dict[str, Any], dict[str, str]], None]
"""Takes a log line of the logger `bothost.delivery`: level, message, fields of the host's own, fields with texts from elsewhere.
`logs.LogHandler.take` is one that costs less."""


def _log(level: int, message: str, own: dict[str, Any], foreign: dict[str, str]) -> None:
    if log.isEnabledFor(level):
        log.log(level, message, extra={**own, **foreign})


class Responses:
    """Gives outcomes to deliveries, counts them and logs them."""

    __slots__ = ("_clock", "_tell", "count")

    def __init__(self, clock: Clock, count: PipelineMetrics, tell: Tell | None = None) -> None:
        self._clock = clock
        self.count = count
        self._tell = tell or _log

    def give(
        self, delivery: Delivery, outcome: Outcome, task: int, attempt: int, event: str = "", why: str = ""
    ) -> bool:
        """Answer one delivery. Returns False where its connection was closed. `why` is the reason of a refusal, for the log."""
        written = delivery.respond(outcome)
        bot = delivery.bot.config.name
        seconds = self._clock.monotonic() - delivery.received
        word = outcome.word if written else "gone"
        self.count.delivery(bot, word, outcome.status, seconds)
        level = logging.INFO if outcome.status < 500 else logging.WARNING
        own = {"bot": bot, "task": task, "attempt": attempt, "outcome": word, "status": outcome.status}
        own["ms"] = round(seconds * 1000, 1)
        if event:
            own["event"] = event
        foreign = {"why": why} if why else {}
        if delivery.trace:
            foreign["traceparent"] = delivery.trace
        self._tell(level, "delivery", own, foreign)
        return written

    def give_all(self, tracked: TrackedEvent, outcome: Outcome) -> bool:
        """Answer all deliveries that wait for an event. Returns whether any answer could be written."""
        waiters, tracked.waiters = tracked.waiters, []
        written = False
        for waiter in waiters:
            if waiter.timer is not None:
                waiter.stop()
            written |= self.give(waiter.delivery, outcome, tracked.entry.task, tracked.attempt, tracked.entry.id)
        return written
