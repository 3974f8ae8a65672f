"""What stands in line in a host's memory, beside what the journal lists: events that nobody has claimed yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.journal.rows import states_of
from bothost.journal.status import phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bothost.journal.entry import Entry, EntryFilter


def beside(waiting: Iterable[Entry], rows: Sequence[Entry], want: EntryFilter) -> list[Entry]:
    """Both together, as `Store.list` would give them: what fits the filter, newest first, an entry that is in both once."""
    known = {row.id for row in rows}
    lines = [entry for entry in waiting if entry.id not in known and fits(entry, want)]
    return sorted([*lines, *rows], key=_place, reverse=True)[: want.limit]


def fits(entry: Entry, want: EntryFilter) -> bool:
    """Whether the filter asks for this entry."""
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
        and (want.before is None or _place(entry) < want.before)
    )


def _place(entry: Entry) -> tuple[float, str]:
    return entry.created, entry.id
