"""Read and write values of bots in the embedded journal, each request in a transaction of the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bothost.journal.data import PAGE, AddValue, DataRequest, ListValues, ReadValue, WriteValue, beyond
from bothost.journal.values import added

if TYPE_CHECKING:
    import sqlite3

_LIVES = "(expires = 0 or expires > ?)"


def answer(connection: sqlite3.Connection, space: str, request: DataRequest, now: float) -> Any:
    """Carry out a request, and return the result that its class describes."""
    match request:
        case ReadValue(key):
            row = _row(connection, space, key, now)
            return row[0] if row else None
        case WriteValue():
            return _write(connection, space, request, now)
        case AddValue(key, amount):
            row = _row(connection, space, key, now)
            total = added(row[0] if row else None, amount)
            _put(connection, (space, key), total, row[1] if row else 0.0)
            return total
        case ListValues():
            return _listed(connection, space, request, now)


def drop_expired(connection: sqlite3.Connection, now: float, limit: int) -> int:
    """Delete expired values, at most `limit`, and return how many."""
    return connection.execute(
        "delete from value where rowid in (select rowid from value where expires > 0 and expires <= ? limit ?)",
        (now, limit),
    ).rowcount


def _row(connection: sqlite3.Connection, space: str, key: str, now: float) -> tuple[bytes, float] | None:
    asked = f"select value, expires from value where space = ? and name = ? and {_LIVES}"
    found: tuple[bytes, float] | None = connection.execute(asked, (space, key, now)).fetchone()
    return found


def _write(connection: sqlite3.Connection, space: str, request: WriteValue, now: float) -> bool:
    row = _row(connection, space, request.key, now)
    if request.checked and (row[0] if row else None) != request.expected:
        return False
    if request.value is None:
        connection.execute("delete from value where space = ? and name = ?", (space, request.key))
        return row is not None
    expires = row[1] if row else 0.0
    if request.expires_in_s is not None:
        expires = now + request.expires_in_s if request.expires_in_s else 0.0
    _put(connection, (space, request.key), request.value, expires)
    return True


def _put(connection: sqlite3.Connection, place: tuple[str, str], value: bytes, expires: float) -> None:
    connection.execute(
        "insert into value (space, name, value, expires) values (?, ?, ?, ?) "
        "on conflict (space, name) do update set value = excluded.value, expires = excluded.expires",
        (*place, value, expires),
    )


def _listed(
    connection: sqlite3.Connection, space: str, wanted: ListValues, now: float
) -> list[tuple[str, bytes, float]]:
    asked = (
        "select name, value, expires from value where space = ? and name >= ? and name <> ? and name <= ? "
        f"and {_LIVES} order by name limit ?"
    )
    # one lower bound: of two, SQLite begins at either
    values = (space, max(wanted.after, wanted.prefix), wanted.after, beyond(wanted.prefix), now, PAGE)
    rows = connection.execute(asked, values).fetchall()
    return [(name, value, expires - now if expires else 0.0) for name, value, expires in rows]
