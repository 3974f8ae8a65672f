"""Follow a step of the wall clock under the embedded journal: planned times move with the clock, once for all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.journal.journal_clock import STEP_S

if TYPE_CHECKING:
    import sqlite3

    from bothost.journal.journal_clock import JournalClock

FACT = "clock"
"""The control in which the journal keeps its offset to the boot clock, with the boot it belongs to."""
RECENT_S = 7200.0
"""The age up to which ended entries move too, because they tell repeats from new events."""
_SHIFT = """
update delivery set created = created + ?1, updated = updated + ?1, revision = revision + 1,
    due = iif(due > 0, due + ?1, due), seen_at = iif(seen_at > 0, seen_at + ?1, seen_at)
where state in ('ready', 'running') or (state = 'answered' and not delivered) or created >= ?2
"""


def follow(connection: sqlite3.Connection, clock: JournalClock, boot_id: str) -> float:
    """Bring the rows to the wall clock, and return the offset that holds from now on.

    Another process may have done it already. After a boot nobody knows how long the machine was off. So the clock counts as
    stepped then only if it is behind a time that the journal has seen.
    """
    held = _held(connection, boot_id)
    if held is None:
        newest = connection.execute("select max(created) from delivery").fetchone()[0] or 0.0
        held = max(newest - clock.boot(), clock.wall_offset())
    offset = clock.wall_offset()
    if abs(offset - held) > STEP_S:
        now = clock.boot() + held
        connection.execute(_SHIFT, (offset - held, now - RECENT_S))
        connection.execute("update value set expires = expires + ? where expires > 0", (offset - held,))
    else:
        offset = held
    connection.execute(
        "insert into control (name, value) values (?, ?) on conflict (name) do update set value = excluded.value",
        (FACT, f"{boot_id} {offset!r}"),
    )
    return offset


def _held(connection: sqlite3.Connection, boot_id: str) -> float | None:
    row = connection.execute("select value from control where name = ?", (FACT,)).fetchone()
    boot, _, offset = (row[0] if row else "").partition(" ")
    return float(offset) if boot == boot_id and offset else None
