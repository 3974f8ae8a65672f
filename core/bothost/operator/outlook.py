"""Say why an event waits, until when, and when it expires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost.journal.history import steps_of
from bothost.journal.retention import DAY_S
from bothost.journal.status import phase
from bothost.pipeline.late_replies import last_try

if TYPE_CHECKING:
    from bothost.journal.entry import Entry
    from bothost.journal.history import HistoryStep
    from bothost.operator.harm import BotView

MOST_HELD_S = 240.0
"""Pyrus does not come again so long after its last delivery."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The next thing an event waits for. Times are epoch seconds; 0: not known."""

    why: str
    until: float = 0.0
    expires: float = 0.0


def outlook_of(entry: Entry, view: BotView | None, now: float) -> Outlook | None:
    """Return what the event waits for; None if it does not wait. `view`: its bot, if bots.ini still has it."""
    state = phase(entry)
    if state == "held":
        return Outlook("for Pyrus's next attempt", entry.due, entry.seen_at + MOST_HELD_S)
    if state == "posting":
        if not entry.tries:
            return Outlook("for its reply to be posted", entry.due)
        # only a post that may have been applied is given up one day; what never left is tried until Pyrus takes it
        expires = last_try(entry.tries, max(entry.due, now)) if entry.post_begun else 0.0
        return Outlook(f"for the next try to post the reply, the tries so far: {entry.tries}", entry.due, expires)
    if state not in ("parked", "waiting"):
        return None
    expires = 0.0
    if state == "parked":
        keep_s = view.bot.config.keep_s if view is not None else DAY_S
        expires = entry.created + max(keep_s, DAY_S)
    return Outlook(_why(entry, view, now), max(entry.due, 0.0) if entry.due > now else 0.0, expires)


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A line of an event's history, as people read it."""

    at: float
    what: str
    number: int = 0
    status: int = 0
    ms: float = 0.0
    outcome: str = ""
    who: str = ""


SHOWN = {"post": "post of the reply"}


def history_of(entry: Entry, error: str) -> list[HistoryRow]:
    """Return the attempts, runs, posts and what operators did, oldest first. `error` has its secrets replaced.

    What the entry's history does not hold is told by the entry: its first delivery, its last run and how it stands.
    """
    steps = steps_of(entry)
    rows = [
        HistoryRow(
            step.at, SHOWN.get(step.what, step.what), step.number, step.status, step.ms, _outcome(step), step.who
        )
        for step in steps
        if (step.what, step.number) != ("attempt", 1)
    ]
    first = next((step for step in steps if (step.what, step.number) == ("attempt", 1)), None)
    missed = entry.kind == "missed"
    status = first.status if first is not None else entry.status if entry.seen <= 1 and not missed else 0
    arrived = "found by catching up" if missed else "arrived"
    rows.insert(0, HistoryRow(entry.created, arrived, 1 if entry.seen else 0, status))
    if entry.seen > 1:
        rows.append(HistoryRow(entry.seen_at, "attempt", entry.seen, entry.status))
    if entry.runs and not any((step.what, step.number) == ("run", entry.runs) for step in steps):
        failed = error.partition("\n")[0] if entry.failed or entry.answer is None else ""
        ended = entry.post_begun or entry.updated
        rows.append(HistoryRow(max(ended, entry.created), "run", entry.runs, 0, entry.ms, failed or "replied"))
    rows.append(HistoryRow(entry.updated, "last change", outcome=phase(entry)))
    return sorted(rows, key=lambda row: row.at)


def _outcome(step: HistoryStep) -> str:
    return step.outcome or ("replied" if step.what == "run" else "")


def _why(entry: Entry, view: BotView | None, now: float) -> str:
    if view is None:
        return "no such bot in bots.ini"
    if view.now.state != "active":
        return f"its bot is {view.now.state}" + (f": {view.now.reason}" if view.now.reason else "")
    if entry.task in view.paused_tasks:
        return f"its task is paused: {view.paused_tasks[entry.task]}"
    if entry.due > now:
        return "for its next run after a failure" if entry.error else "until it is due"
    return f"for its task's turn or a permit: {view.now.running} runs of the bot are under way"
