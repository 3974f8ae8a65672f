"""Retry or cancel many events: select them, plan, carry out at a steady pace. The command line and the page share it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from bothost.background import BackgroundTasks
from bothost.errors import JournalError
from bothost.journal.entry import JournalTiming
from bothost.journal.status import phase
from bothost.journal.transitions import comes_again
from bothost.pipeline.reply_poster import MOVED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from bothost.clock import Clock
    from bothost.journal.entry import Entry, EntryFilter

Verb = Literal["retry", "cancel"]
MOST = 10_000
"""The most events of one selection."""
_PAGE = 500
RATE_PER_S = 5.0
MOST_JOBS = 20
_OPEN = frozenset({"waiting", "running", "held", "parked", "posting"})


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are meant: a filter, and a text that their error contains (in any case)."""

    want: EntryFilter
    error: str = ""

    def fits(self, entry: Entry) -> bool:
        """Return whether the entry's error contains the text."""
        return self.error.lower() in entry.error.lower()


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """The work that would be done: the events, oldest first, and those that are left out, by reason."""

    verb: Verb
    entries: tuple[Entry, ...]
    left_out: Mapping[str, int]


@dataclass(slots=True)
class BulkProgress:
    """The progress of a plan."""

    total: int
    done: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """The events that were refused, each with the reason."""
    taken: list[str] = field(default_factory=list)
    """The ids of the events that were retried or cancelled."""
    ended: bool = False


async def select(
    read: Callable[[EntryFilter], Awaitable[Sequence[Entry]]],
    selection: Selection,
    most: int = MOST,
    most_read: int = 1_000_000,
) -> list[Entry]:
    """Return the events that are meant, newest first. `read` is `Journal.list` or what adds waiting events to it."""
    found: list[Entry] = []
    seen = 0
    want = msgspec.structs.replace(selection.want, limit=_PAGE)
    while len(found) < most and seen < most_read:
        page = await read(want)
        seen += len(page)
        found += filter(selection.fits, page)
        if len(page) < _PAGE:
            break
        want = msgspec.structs.replace(want, before=(page[-1].created, page[-1].id))
    return found[:most]


def make_plan(
    entries: Iterable[Entry],
    verb: Verb,
    without_login: Collection[str],
    *,
    known: Collection[str],
    now: float,
    anyway: bool = False,
) -> BulkPlan:
    """Sort out the events that cannot be retried or cancelled. `anyway` keeps those whose reply cannot be posted.

    `known` are the bots of bots.ini, and `now` is the journal's time.
    """
    todo: list[Entry] = []
    left_out: Counter[str] = Counter()
    for entry in entries:
        why = refusal(entry, verb, now)
        if not why and verb == "retry" and entry.bot not in known:
            why = f"{entry.bot} is not in bots.ini, so nothing would run; put its section back first"
        why = why or ("" if anyway or verb == "cancel" else obstacle(entry, without_login))
        if why:
            left_out[why] += 1
        else:
            todo.append(entry)
    return BulkPlan(verb, tuple(sorted(todo, key=lambda entry: (entry.created, entry.id))), left_out)


def refusal(entry: Entry, verb: Verb, now: float) -> str:
    """Return why the event's state does not allow it; "" if it does. The journal has the last word."""
    state = phase(entry)
    if verb == "cancel":
        return "" if state in _OPEN else f"already {state}"
    if comes_again(entry, now, JournalTiming()):
        return "not acknowledged, so Pyrus comes again by itself"
    if entry.state in ("failed", "cancelled") or state == "parked":
        return ""
    return f"{state}, so there is nothing to retry"


def obstacle(entry: Entry, without_login: Collection[str]) -> str:
    """Return why the reply could not be posted if the event were retried now; "" if nothing is known to stand against it."""
    if entry.bot in without_login:
        return f"{entry.bot} has no login, so no reply could be posted; set one first"
    if not entry.failed and entry.error.startswith(MOVED):
        return "the step has moved on or the task is closed, so the reply would be refused again"
    return ""


async def carry_out(
    plan: BulkPlan,
    act: Callable[[Entry], Awaitable[object]],
    clock: Clock,
    *,
    rate_per_s: float = RATE_PER_S,
    tell: Callable[[BulkProgress], None] = lambda _progress: None,
    progress: BulkProgress | None = None,
) -> BulkProgress:
    """Do it to each event once, no faster than the rate. `act` raises JournalError if the event is refused."""
    progress = progress or BulkProgress(len(plan.entries))
    began = clock.monotonic()
    for number, entry in enumerate(plan.entries):
        pause_s = began + number / rate_per_s - clock.monotonic()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        try:
            await act(entry)
        except JournalError as error:
            progress.refused[entry.id] = str(error).removeprefix(f"{entry.id} ")
        else:
            progress.taken.append(entry.id)
        progress.done += 1
        tell(progress)
    progress.ended = True
    return progress


class BulkJobs:
    """The plans that the page carries out, in the memory of the process that serves it."""

    def __init__(self) -> None:
        self._jobs: dict[int, tuple[BulkPlan, BulkProgress]] = {}
        self._tasks = BackgroundTasks()

    def start(self, plan: BulkPlan, act: Callable[[Entry], Awaitable[object]], clock: Clock) -> int:
        """Carry a plan out in the background; return its number. The oldest of many is forgotten."""
        number = max(self._jobs, default=0) + 1
        progress = BulkProgress(len(plan.entries))
        self._jobs[number] = (plan, progress)
        if len(self._jobs) > MOST_JOBS:
            self._jobs.pop(min(self._jobs))
        self._tasks.spawn(carry_out(plan, act, clock, progress=progress))
        return number

    def find(self, number: int) -> tuple[BulkPlan, BulkProgress] | None:
        """Return a plan and how far it is; None if it is not known (any more)."""
        return self._jobs.get(number)


def without_login(sections: Iterable[tuple[str, str]], facts: Mapping[str, str]) -> frozenset[str]:
    """Return the bots for which no login is set or learnt, of (name, login) pairs and the journal's facts."""
    return frozenset(name for name, login in sections if not login and not facts.get(f"login:{name}"))
