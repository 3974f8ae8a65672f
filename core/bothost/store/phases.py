"""How an entry stands, in the words of the state table: held, parked, posting, undelivered beside the journal's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.store import Entry, State

Phase = Literal["running", "held", "parked", "posting", "answered", "undelivered", "failed", "cancelled"]

STATES_OF: Mapping[Phase, tuple[State, ...]] = {
    "running": ("running",),
    "held": ("ready",),
    "parked": ("ready",),
    "posting": ("ready", "running"),
    "answered": ("answered",),
    "undelivered": ("answered",),
    "failed": ("failed", "answered"),
    "cancelled": ("cancelled",),
}
"""In which of the journal's states entries of a phase are found."""


def phase(entry: Entry) -> Phase:
    """See the module."""
    if entry.state in ("ready", "running"):
        if entry.answer is not None:
            return "posting"
        if entry.state == "running":
            return "running"
        return "parked" if entry.door == "api" else "held"
    if entry.state == "answered":
        if entry.failed:
            return "failed"
        return "undelivered" if entry.door == "response" and not entry.delivered and entry.due else "answered"
    return "failed" if entry.state == "failed" else "cancelled"
