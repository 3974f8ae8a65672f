"""Merge the events that wait in a host's memory, which nobody has claimed yet, with those that the journal lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.journal.rows import states_of
from bothost.journal.status import phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bothost.journal.entry import Entry, EntryFilter


def beside(waiting: Iterable[Entry], rows: Sequence[Entry], want: EntryFilter) -> list[Entry]:
    """Return both together as `Journal.list` would: filtered, newest first, an entry that is in both once."""
    known = {row.id for row in rows}
    unlisted = [entry for entry in waiting if entry.id not in known and fits(entry, want)]
    return sorted([*unlisted, *rows], key=_cursor_of, reverse=True)[: want.limit]


def fits(entry: Entry, want: EntryFilter) -> bool:
    """Return whether the filter asks for this entry."""
    states = states_of(want)
    return (
        want.bot in (None, entry.bot)
        and want.task in (None, entry.task)
        and want.kind in (None, entry.kind)
        and want.phase in (None, phase(entry))
        and (not states or entry.state in states)
        and _is_within(entry, want)
    )


def _is_within(entry: Entry, want: EntryFilter) -> bool:
    return (
        (want.since is None or entry.created >= want.since)
        and (want.until is None or entry.created < want.until)
        and (want.before is None or _cursor_of(entry) < want.before)
    )


def _cursor_of(entry: Entry) -> tuple[float, str]:
    return entry.created, entry.id
