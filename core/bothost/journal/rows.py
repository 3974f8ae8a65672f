"""Entries as rows: the columns both stores share, and the operator's filter as a condition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.journal.entry import Entry
from bothost.journal.status import CONDITIONS, STATES_OF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bothost.journal.entry import EntryFilter, State

FIELDS = Entry.__struct_fields__
"""The entry's columns, in the order in which rows are read and written."""
FIXED_FIELDS = frozenset({"id", "bot", "kind", "task", "comment", "created"})
"""What is never changed once the row is there."""
_BOOLS = ("cancel", "delivered", "failed")
_NAME = FIELDS.index("id")
COLUMNS = ", ".join(FIELDS)
INDEXED_STATES = frozenset({"ready", "running", "failed", "cancelled"})
"""All but answered: few enough for an index of their own."""

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def values_of(entry: Entry) -> tuple[Any, ...]:
    """Return the entry's values in the order of `FIELDS`: a snapshot, because callers go on changing their entry.

    Its error, which quotes whatever a plugin or Pyrus said, becomes what both databases can hold.
    """
    if entry.error and _UNSTORABLE.search(entry.error):
        entry = msgspec.structs.replace(entry, error=_UNSTORABLE.sub("\ufffd", entry.error))
    return msgspec.structs.astuple(entry)


def raised(entry: Entry) -> Entry:
    """Copy an entry as its next write leaves it: one revision on."""
    return msgspec.structs.replace(entry, revision=entry.revision + 1)


def entry_of(row: Sequence[Any]) -> Entry:
    """Make an entry of a row that was read as `COLUMNS`."""
    entry = Entry(**dict(zip(FIELDS, row, strict=True)))
    for name in _BOOLS:
        setattr(entry, name, bool(getattr(entry, name)))
    return entry


def entries_of(rows: Iterable[Sequence[Any]]) -> list[Entry]:
    """Make entries of rows."""
    return [entry_of(row) for row in rows]


def task_range(bot: str, task: int) -> tuple[str, str]:
    """The keys of a bot's task lie from the first (included) to the second; `;` follows `:`."""
    return f"{bot}:{task}:", f"{bot}:{task};"


def timer_range(bot: str | None) -> tuple[str, str]:
    """The keys of a bot's ticks, or of all ticks."""
    return ("timer:", "timer;") if bot is None else (f"timer:{bot}:", f"timer:{bot};")


def number_of(key: str) -> tuple[str, int]:
    """The event key of a `key~n`, and its number; 1 where it has none."""
    head, mark, number = key.rpartition("~")
    return (head, int(number)) if mark and number.isdigit() else (key, 1)


class WhereClause:
    """A WHERE clause that grows; only what was asked for stands in it, so that the planner sees what it can use."""

    def __init__(self, mark: Callable[[int], str]) -> None:
        self._mark = mark
        self.parts: list[str] = []
        self.values: list[Any] = []

    def add(self, part: str, *values: Any) -> None:
        """Add a condition; each `{}` in it becomes the mark of the next value."""
        marks = []
        for value in values:
            self.values.append(value)
            marks.append(self._mark(len(self.values)))
        self.parts.append(part.format(*marks))

    def __str__(self) -> str:
        return " and ".join(self.parts) or "true"


def states_of(want: EntryFilter) -> tuple[State, ...]:
    """The journal's states that are asked for; empty: all."""
    return STATES_OF[want.phase] if want.phase is not None else want.states


def condition_of(want: EntryFilter, mark: Callable[[int], str]) -> WhereClause:
    """Make a condition of what the operator asks for; `mark` writes the n-th value's place (`?`, or `$n`)."""
    where = WhereClause(mark)
    _add_equals(where, want)
    if want.since is not None:
        where.add("created >= {}", want.since)
    if want.until is not None:
        where.add("created < {}", want.until)
    if want.before is not None:
        created, key = want.before
        where.add("(created < {} or (created = {} and id < {}))", created, created, key)
    return where


def _add_equals(where: WhereClause, want: EntryFilter) -> None:
    if want.bot is not None:
        where.add("bot = {}", want.bot)
    if states := states_of(want):
        where.add(f"state in ({', '.join(['{}'] * len(states))})", *states)
    if want.phase is not None and want.phase in CONDITIONS:
        where.add(CONDITIONS[want.phase])
    if want.task is not None:
        where.add("task = {}", want.task)
    if want.kind is not None:
        where.add("kind = {}", want.kind)
    if want.kind == "timer":
        where.add("id >= {} and id < {}", *timer_range(want.bot))
    elif want.task and want.bot is not None:
        where.add("id >= {} and id < {}", *task_range(want.bot, want.task))
