"""Tell an entry's phase, its state in the words of the state table: waiting, held, parked, posting, undelivered and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.journal.entry import Entry, Kind, Phase, State

SHOWN_KINDS: Mapping[Kind, str] = {
    "hook": "delivery", "missed": "missed", "request": "hook", "job": "job", "timer": "timer", "manual": "manual",
}  # fmt: skip
"""An entry's kind in the operator's words: a hook is a request from elsewhere to a bot's hook."""
STATES_OF: Mapping[Phase, tuple[State, ...]] = {
    "waiting": ("ready",),
    "running": ("running",),
    "held": ("ready",),
    "parked": ("ready",),
    "posting": ("ready", "running"),
    "answered": ("answered",),
    "undelivered": ("answered",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}
"""The journal's states in which entries of a phase are found."""
CONDITIONS: Mapping[Phase, str] = {
    "running": "answer is null",
    "waiting": "door = 'response' and answer is null and fence = 0",
    "held": "door = 'response' and answer is null and fence > 0",
    "parked": "door = 'api' and answer is null",
    "posting": "answer is not null",
    "answered": "not (door = 'response' and not delivered and due > 0)",
    "undelivered": "door = 'response' and not delivered and due > 0",
}
"""The SQL condition that tells a phase from the others of these states. It agrees with `phase`."""


def phase(entry: Entry) -> Phase:
    """Return the phase of an entry."""
    if entry.state in ("ready", "running"):
        if entry.answer is not None:
            return "posting"
        if entry.state == "running":
            return "running"
        # an event that was never claimed waits in some host's memory, and the journal does not have it
        return "parked" if entry.door == "api" else "held" if entry.fence else "waiting"
    if entry.state == "answered":
        return "undelivered" if entry.door == "response" and not entry.delivered and entry.due > 0 else "answered"
    return "failed" if entry.state == "failed" else "cancelled"
