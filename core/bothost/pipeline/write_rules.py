"""Decide whether and how something may be written on an event's row: a pure function of row, memory, and what happens.

It knows no clock, no journal and no loop, so tests explore every order of happenings (tests/pipeline/test_exploration.py).
What a run makes of its event is decided in `completion.py`; the state table of docs/design.md lists the rules of both.
`writing.py` carries a decision out: it writes the result on the revision that was decided on, and asks again with the row as
it stands if that is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.journal.entry import Entry


@dataclass(frozen=True, slots=True)
class Memory:
    """The part of a process's memory of an event on which a decision depends."""

    owner: str
    fence: int
    """The fence of the claim that this process holds, or of the row that it knew last."""
    begun: int = 0
    """The highest fence under which its handler was called here."""
    waiting: bool = False
    """It stands in line here and has not been begun."""
    unrecorded: bool = False
    """It runs on a claim in memory only: the journal was away at its last attempt."""
    rerun: str = ""
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class TimeIsUp:
    """Deliveries must be acknowledged without the reply: `answer_within`, a drain, or a bound was reached."""

    now: float
    unpostable: str = ""
    """The reason why nobody could post the reply of an event that is parked now. Then it fails, and is not acknowledged."""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The call of the handler is over; `outcome` makes of the running entry what it becomes by that."""

    outcome: Callable[[Entry], Entry]


@dataclass(frozen=True, slots=True)
class Held:
    """The owner goes on with an entry that it holds: a POST begins or has ended, or the entry is put back."""

    change: Callable[[Entry], Entry]


@dataclass(frozen=True, slots=True)
class Amended:
    """Something is added to a row that nobody holds; `applies` tells whether the row still is the one that was meant."""

    applies: Callable[[Entry], bool]
    change: Callable[[Entry], Entry]


Happening = TimeIsUp | RunFinished | Held | Amended


def decide(row: Entry, memory: Memory, happening: Happening) -> Entry | None:
    """Return the row to write. The same row means that it has the change already. None means that the change does not apply."""
    match happening:
        case TimeIsUp():
            return _acknowledged(row, memory, happening)
        case RunFinished(outcome):
            return _ended(row, memory, outcome)
        case Held(change):
            return change(row) if is_held(row, memory) else None
        case Amended(applies, change):
            return change(row) if applies(row) else None


def is_held(row: Entry, memory: Memory) -> bool:
    """Return whether the row still shows the claim of this process."""
    return row.state == "running" and row.owner == memory.owner and row.fence == memory.fence


def _acknowledged(row: Entry, memory: Memory, up: TimeIsUp) -> Entry | None:
    """Set the door to the API. A waiting event is parked, and a run goes on.

    It may run on another process: its owner learns of the door when its next write is refused. A row that has ended by its
    response, or is held while this process believes to run it, is not acknowledged: the row says what to answer.
    """
    if row.door == "api":
        return row
    changed = msgspec.structs.replace(row, door="api", status=200, updated=up.now)
    # a claim of this process landed although its result was lost: no run belongs to it
    unheard = (
        row.state == "running" and row.owner == memory.owner and row.fence > memory.begun and not memory.unrecorded
    )
    if unheard or (memory.waiting and row.state == "ready"):
        if up.unpostable:
            return msgspec.structs.replace(
                row, state="failed", failed=True, status=500, error=up.unpostable, updated=up.now
            )
        changed.state, changed.due = "ready", up.now
        return changed
    if memory.unrecorded and row.state == "ready" and row.fence <= memory.fence:
        changed.state, changed.owner, changed.fence = "running", memory.owner, memory.fence
        return changed
    return changed if row.state == "running" else None


def _ended(row: Entry, memory: Memory, outcome: Callable[[Entry], Entry]) -> Entry | None:
    """Record the end of a run, with the door that the row shows.

    A claim that was taken from this process while it could not beat is still its own as long as nobody else has claimed the
    row (the fence tells): then the event need not run again.
    """
    if row.answer is not None and is_held(row, memory):
        return row  # only the holder writes an answer: this is the one
    if row.answer is not None or row.state not in ("ready", "running"):
        return None
    if memory.unrecorded:
        ours = row.fence <= memory.fence and (row.state == "ready" or row.owner == memory.owner)
    else:
        ours = row.fence == memory.fence and row.owner in (memory.owner, "")
    if not ours:
        return None
    mine = msgspec.structs.replace(
        row, state="running", owner=memory.owner, fence=memory.fence, rerun=memory.rerun, deaths=memory.deaths
    )
    return outcome(mine)
