"""Copy a whole journal into another one, of either kind, and check by counts and digests that both are equal.

Entries go in the order of their keys, in batches, so that a copy that was cut off goes on where it stopped. An entry that ran
when its host ended is copied as the next host would leave it: freed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bothost.errors import JournalError
from bothost.journal.entry import JournalTiming
from bothost.journal.transitions import reaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bothost.journal.entry import Entry

COPYING = "copying"
"""The fact in a journal that is being filled; its value names the source. No host serves on such a journal."""
BATCH = 500

Row = tuple["Entry", bytes | None]
SideRow = tuple[Any, ...]
SIDE_TABLES = {"written": ("bot", "task", "comment", "at"), "value": ("space", "name", "value", "expires")}
"""The tables beside entries and facts, with their columns: comments of handlers, and what plugins keep."""


class JournalTables(Protocol):
    """The operations on a journal's tables that a copy needs."""

    label: str
    """Names the journal for people, without a password."""

    async def rows(self, after: str) -> Sequence[Row]:
        """Return the next entries by key, with their bodies."""

    async def add(self, rows: Sequence[Row]) -> None:
        """Write entries in one transaction."""

    async def last(self) -> str:
        """Return the highest key; "" if there is none."""

    async def facts(self) -> Mapping[str, str]:
        """Return the facts of the journal."""

    async def set_fact(self, name: str, value: str | None) -> None:
        """Set or remove a fact."""

    async def side(self, table: str) -> Sequence[SideRow]:
        """Return the rows of one of `SIDE_TABLES`."""

    async def add_side(self, table: str, rows: Sequence[SideRow]) -> None:
        """Write such rows, and leave known ones as they are."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """A finished copy: the number of entries, and the digest that both journals have."""

    entries: int
    digest: str


async def copy(source: JournalTables, target: JournalTables, now: float, told: Callable[[int], None]) -> CopyResult:
    """Copy, and compare afterwards. `told` gets the number of entries now and then. Raises JournalError, JournalAway."""
    last = await target.last()
    marked = (await target.facts()).get(COPYING)
    if marked != source.label and (last or marked):
        holds = f"is a copy of {marked} that was cut off" if marked else "holds events already"
        raise JournalError(f"{target.label} {holds}: copy into an empty journal")
    await target.set_fact(COPYING, source.label)
    done = 0
    while rows := [freed(row, now) for row in await source.rows(last)]:
        await target.add(rows)
        last = rows[-1][0].id
        done += len(rows)
        told(done)
    facts = {name: value for name, value in (await source.facts()).items() if name != COPYING}
    for name, value in facts.items():
        await target.set_fact(name, value)
    for table in SIDE_TABLES:
        await target.add_side(table, await source.side(table))
    result = await _compared(source, target, now)
    kept = await target.facts()
    if any(kept.get(name) != value for name, value in facts.items()):
        raise JournalError(f"{target.label} lacks facts of {source.label}: copy again into an empty journal")
    for table in SIDE_TABLES:
        if set(await source.side(table)) - set(await target.side(table)):
            raise JournalError(f"{target.label} lacks rows of {table}: copy again into an empty journal")
    await target.set_fact(COPYING, None)
    return result


async def _compared(source: JournalTables, target: JournalTables, now: float) -> CopyResult:
    here, there = await summed(source, now), await summed(target, now)
    if here != there:
        raise JournalError(
            f"{target.label} has {there.entries} entries with digest {there.digest[:12]}, {source.label} has {here.entries} with "
            f"{here.digest[:12]}: {source.label} has changed meanwhile; copy again into an empty journal"
        )
    return here


async def summed(tables: JournalTables, now: float) -> CopyResult:
    """Count the entries of a journal, and digest them with their bodies."""
    total, entries, last = hashlib.sha256(), 0, ""
    while rows := await tables.rows(last):
        for entry, body in (freed(row, now) for row in rows):
            total.update(msgspec.msgpack.encode((msgspec.structs.astuple(entry), body)))
        entries += len(rows)
        last = rows[-1][0].id
    return CopyResult(entries, total.hexdigest())


def freed(row: Row, now: float) -> Row:
    """Free an entry that ran when its host ended; leave any other as it is."""
    entry, body = row
    return (reaped(entry, dead=True, now=now, timing=JournalTiming()), body) if entry.state == "running" else row
