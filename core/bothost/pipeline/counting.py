"""Counts the deliveries of an event, and keeps what became of those before in its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.journal.history import HistoryStep, with_step
from bothost.pipeline.attempts import APART_S, read_attempt

if TYPE_CHECKING:
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.event_table import TrackedEvent
    from bothost.pyrus.envelope import Envelope


def count_delivery(
    context: PipelineContext, tracked: TrackedEvent, delivery: Delivery, envelope: Envelope, now: float
) -> None:
    """Count the delivery and set the attempt. Deliveries within a second of each other count as one."""
    entry = tracked.entry
    attempt = read_attempt(delivery.attempt)
    seen = entry.seen
    if seen and now - entry.seen_at < APART_S:
        seen -= 1
    elif seen:
        entry.history = with_step(entry, HistoryStep("attempt", entry.seen_at, seen, entry.status))
    tracked.attempt = attempt.number(seen)
    tracked.last = attempt.is_last(seen)
    entry.seen, entry.seen_at = seen + 1, now
    tracked.touched = context.clock.monotonic()
    if envelope.token:
        tracked.token = envelope.token
        context.hide(envelope.token)
