"""Turn entries into rows with the columns that both stores share, and the operator's filter into a condition."""

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
"""The columns that never change once the row is there."""
_BOOLS = ("cancel", "delivered", "failed")
_NAME = FIELDS.index("id")
COLUMNS = ", ".join(FIELDS)
INDEXED_STATES = frozenset({"ready", "running", "failed", "cancelled"})
"""All states but answered. Their entries are few enough for an index of their own."""

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def values_of(entry: Entry) -> tuple[Any, ...]:
    """Return a snapshot of the entry's values in the order of `FIELDS`, because callers go on changing their entry.

    Its error quotes a plugin or Pyrus, so characters that one of the databases cannot hold are replaced.
    """
    if entry.error and _UNSTORABLE.search(entry.error):
        entry = msgspec.structs.replace(entry, error=storable(entry.error))
    return msgspec.structs.astuple(entry)


def storable(text: str) -> str:
    """Return a text in which the characters that one of the databases cannot hold are replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def raised(entry: Entry) -> Entry:
    """Return a copy of an entry with the next revision, as its next write leaves it."""
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
    """Return the first key of a bot's task and the key behind its last one; `;` follows `:` in the alphabet."""
    return f"{bot}:{task}:", f"{bot}:{task};"


def timer_range(bot: str | None) -> tuple[str, str]:
    """Return the same for the ticks of a bot, or of all bots."""
    return ("timer:", "timer;") if bot is None else (f"timer:{bot}:", f"timer:{bot};")


def number_of(key: str) -> tuple[str, int]:
    """Return the event key of a `key~n` and its number; 1 if it has none."""
    head, mark, number = key.rpartition("~")
    return (head, int(number)) if mark and number.isdigit() else (key, 1)


class WhereClause:
    """A WHERE clause that grows. It holds only the conditions that were asked for, so that the planner can use an index."""

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
    """Return the journal's states that are asked for; empty stands for all."""
    return STATES_OF[want.phase] if want.phase is not None else want.states


def condition_of(want: EntryFilter, mark: Callable[[int], str]) -> WhereClause:
    """Return the condition for an operator's filter. `mark` writes the place of the n-th value (`?`, or `$n`)."""
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
