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
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}
"""In which of the journal's states entries of a phase are found …"""
CONDITIONS: Mapping[Phase, str] = {
    "running": "answer is null",
    "held": "door = 'response' and answer is null",
    "parked": "door = 'api' and answer is null",
    "posting": "answer is not null",
    "answered": "not (door = 'response' and not delivered and due > 0)",
    "undelivered": "door = 'response' and not delivered and due > 0",
}
"""… and what tells it from the others of these states, in SQL: the same that `phase` says of an entry."""


def phase(entry: Entry) -> Phase:
    """See the module."""
    if entry.state in ("ready", "running"):
        if entry.answer is not None:
            return "posting"
        if entry.state == "running":
            return "running"
        return "parked" if entry.door == "api" else "held"
    if entry.state == "answered":
        return "undelivered" if entry.door == "response" and not entry.delivered and entry.due > 0 else "answered"
    return "failed" if entry.state == "failed" else "cancelled"
