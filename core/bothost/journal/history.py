"""The history of an event beyond its usual course: further attempts, runs, posts, and what operators did.

It stands in the event's own row, so that it costs no statement of its own. An event that is answered at its first attempt has
none: its row tells everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from bothost.journal.entry import Entry

MOST_STEPS = 40
"""The steps that are kept. Beyond them the oldest but the first few go."""
FIRST_STEPS = 10
LONGEST = 300
"""How much of an error's line is kept, in characters."""


class HistoryStep(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One thing that happened to an event."""

    what: str
    """attempt, run, post, retried, sent again, cancelled or host died; a host of a newer version may write others."""
    at: float
    """When it happened or ended, in epoch seconds of the journal's time."""
    number: int = 0
    """Which attempt, run or try it was."""
    status: int = 0
    """The HTTP status that the attempt got."""
    ms: float = 0.0
    outcome: str = ""
    """The first line of the error, or the result."""
    who: str = ""
    """The operator who asked for it."""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[HistoryStep])


def steps_of(entry: Entry) -> list[HistoryStep]:
    """Return the steps that an entry holds, oldest first."""
    return _decoded(entry.history)


def with_step(entry: Entry, step: HistoryStep) -> bytes:
    """Return the entry's history with one more step. A step that only repeats the last one replaces it."""
    steps = steps_of(entry)
    step = msgspec.structs.replace(step, outcome=step.outcome.partition("\n")[0][:LONGEST])
    if steps and step.what == "post" and (steps[-1].what, steps[-1].outcome) == (step.what, step.outcome):
        steps.pop()
    return _encoded([*steps, step])


def merged(one: bytes | None, other: bytes | None) -> bytes | None:
    """Return both histories of an event as one, because a process and the journal may each know of steps that the other lacks."""
    if not one or not other or one == other:
        return one or other
    steps = {*_decoded(one), *_decoded(other)}
    return _encoded(sorted(steps, key=lambda step: step.at))


def asked_by(entry: Entry) -> str:
    """Return who had the event retried, if nothing has happened to it since; else ""."""
    steps = steps_of(entry)
    return steps[-1].who if steps and steps[-1].what in ("retried", "sent again") else ""


def _decoded(history: bytes | None) -> list[HistoryStep]:
    try:
        return _DECODER.decode(history) if history else []
    except msgspec.DecodeError:  # of another version: the event itself goes on
        return []


def _encoded(steps: list[HistoryStep]) -> bytes:
    if len(steps) > MOST_STEPS:
        steps = [*steps[:FIRST_STEPS], *steps[FIRST_STEPS - MOST_STEPS :]]
    return _ENCODER.encode(steps)
