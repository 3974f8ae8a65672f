"""Put and take out entries that wait in a slot of the shared journal, at most one in each. Jobs with keys use slots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bothost.journal.data import SLOT_S
from bothost.journal.postgres import statements as sql
from bothost.journal.postgres.values import DELETE, LOCK, PUT, READ
from bothost.journal.rows import entry_of, raised, values_of
from bothost.journal.transitions import REPLACED

if TYPE_CHECKING:
    from bothost.journal.entry import Entry
    from bothost.journal.postgres.pool import ConnectionPool

Slot = tuple[str, str]


async def put(pool: ConnectionPool, entry: Entry, body: bytes, slot: Slot | None, now: float) -> Entry:
    """Insert an entry, unless its id is known, in place of the one in its slot. Return the row as it stands."""
    async with pool.transaction() as connection:
        await connection.execute(LOCK, "", entry.id)
        known = await connection.fetchrow(sql.FIND, entry.id)
        if known is not None:
            return entry_of(tuple(known))
        if slot is not None:
            await _withdraw(connection, slot, now)
            await connection.execute(PUT, *slot, entry.id.encode(), max(entry.due, now) + SLOT_S)
        await connection.execute(sql.WRITE, *values_of(raised(entry)), body)
    if entry.due <= now:
        await pool.hint()
    return entry


async def withdraw(pool: ConnectionPool, slot: Slot, now: float) -> bool:
    """Take out the entry that waits in a slot, and return whether there was one."""
    async with pool.transaction() as connection:
        return await _withdraw(connection, slot, now)


async def _withdraw(connection: Any, slot: Slot, now: float) -> bool:
    await connection.execute(LOCK, *slot)
    found = await connection.fetchrow(READ, *slot)
    if found is None:
        return False
    await connection.execute(DELETE, *slot)
    row = await connection.fetchrow(f"{sql.FIND} for update", found["value"].decode())
    entry = entry_of(tuple(row)) if row is not None else None
    if entry is None or entry.state != "ready" or entry.answer is not None:
        return False
    if entry.runs or entry.fence:
        entry.state, entry.error, entry.updated = "cancelled", REPLACED, now
        await connection.execute(sql.PUT, *values_of(raised(entry)))
    else:
        await connection.execute(f"delete from {sql.TABLE} where id = $1", entry.id)
    return True
