"""Put and take out entries that wait in a slot of the embedded journal, at most one in each. Jobs with keys use slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.journal.data import SLOT_S, ReadValue, WriteValue
from bothost.journal.sqlite import statements, values
from bothost.journal.transitions import REPLACED

if TYPE_CHECKING:
    import sqlite3

    from bothost.journal.entry import Entry
    from bothost.journal.sqlite.transactions import Transactions

Slot = tuple[str, str]


def put(
    connection: sqlite3.Connection, transactions: Transactions, entry: Entry, body: bytes, slot: Slot | None
) -> Entry:
    """Insert an entry, unless its id is known, in place of the one in its slot. Return the row as it stands."""
    known = statements.find(connection, entry.id)
    if known is not None:
        return known
    if slot is not None:
        withdraw(connection, slot, entry.updated)
        lasts_s = max(entry.due - entry.updated, 0.0) + SLOT_S
        values.answer(connection, slot[0], WriteValue(slot[1], entry.id.encode(), lasts_s), entry.updated)
    transactions.write_one(connection, entry, body)
    return entry


def withdraw(connection: sqlite3.Connection, slot: Slot, now: float) -> bool:
    """Take out the entry that waits in a slot, and return whether there was one."""
    space, name = slot
    found = values.answer(connection, space, ReadValue(name), now)
    if found is None:
        return False
    values.answer(connection, space, WriteValue(name, None), now)
    entry = statements.find(connection, found.decode())
    if entry is None or entry.state != "ready" or entry.answer is not None:
        return False
    if entry.runs or entry.fence:
        entry.state, entry.error, entry.updated = "cancelled", REPLACED, now
        statements.put(connection, entry)
    else:
        connection.execute("delete from delivery where id = ?", (entry.id,))
    return True
