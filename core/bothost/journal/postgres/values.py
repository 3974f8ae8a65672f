"""Read and write values of bots in the shared journal, each request in a transaction of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bothost.journal.data import PAGE, AddValue, DataRequest, ListValues, ReadValue, WriteValue, beyond
from bothost.journal.postgres.statements import NOW, SCHEMA
from bothost.journal.values import added

if TYPE_CHECKING:
    from bothost.journal.postgres.pool import ConnectionPool

_TABLE = f"{SCHEMA}.value"
_LIVES = f"(expires = 0 or expires > {NOW})"
READ = f"select value, expires from {_TABLE} where space = $1 and name = $2 and {_LIVES}"
LOCK = "select pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))"
"""The lock before a row is read for a change. The row itself cannot be locked, because it may not be there yet."""
DELETE = f"delete from {_TABLE} where space = $1 and name = $2"
PUT = f"""
insert into {_TABLE} (space, name, value, expires) values ($1, $2, $3, $4)
on conflict (space, name) do update set value = excluded.value, expires = excluded.expires
"""
_LIST = f"""
select name, value, case when expires > 0 then expires - {NOW} else 0 end from {_TABLE}
where space = $1 and name > $2 and name >= $3 and name <= $4 and {_LIVES} order by name limit {PAGE}
"""
DROP_EXPIRED = f"""
delete from {_TABLE} where (space, name) in (
    select space, name from {_TABLE} where expires > 0 and expires <= {NOW} limit $1)
"""


async def answer(pool: ConnectionPool, space: str, request: DataRequest) -> Any:
    """Carry out a request, and return the result that its class describes."""
    match request:
        case ReadValue(key):
            rows = await pool.fetch(READ, space, key)
            return rows[0]["value"] if rows else None
        case WriteValue():
            return await _write(pool, space, request)
        case AddValue(key, amount):
            return await _add(pool, (space, key), amount)
        case ListValues(prefix, after):
            return [tuple(row) for row in await pool.fetch(_LIST, space, after, prefix, beyond(prefix))]


async def _write(pool: ConnectionPool, space: str, request: WriteValue) -> bool:
    async with pool.transaction() as connection:
        await connection.execute(LOCK, space, request.key)
        row = await connection.fetchrow(READ, space, request.key)
        if request.checked and (row["value"] if row else None) != request.expected:
            return False
        if request.value is None:
            await connection.execute(DELETE, space, request.key)
            return row is not None
        expires = row["expires"] if row else 0.0
        if request.expires_in_s is not None:
            expires = await connection.fetchval(f"select {NOW}") + request.expires_in_s if request.expires_in_s else 0.0
        await connection.execute(PUT, space, request.key, request.value, expires)
        return True


async def _add(pool: ConnectionPool, place: tuple[str, str], amount: bytes) -> bytes:
    async with pool.transaction() as connection:
        await connection.execute(LOCK, *place)
        row = await connection.fetchrow(READ, *place)
        total = added(row["value"] if row else None, amount)
        await connection.execute(PUT, *place, total, row["expires"] if row else 0.0)
        return total
