"""Read and write the shared journal's tables for a copy."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bothost.background import SupervisedLoops
from bothost.errors import JournalError
from bothost.journal.copying import BATCH, SIDE_TABLES
from bothost.journal.postgres.pool import ConnectionPool
from bothost.journal.postgres.session import DatabaseAddress
from bothost.journal.postgres.statements import SCHEMA
from bothost.journal.rows import COLUMNS, FIELDS, entry_of, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bothost.clock import Clock
    from bothost.journal.copying import Row, SideRow
    from bothost.journal.postgres.session import Session

LIMIT_S = 60.0


def label_of(dsn: str) -> str:
    """Return a name of a database without user and password."""
    parts = urlsplit(dsn)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


class PostgresTables:
    """See `copying.JournalTables`.

    With `beside` hosts may work on the journal. Then the tables are read only, and show one state, that of the open.
    """

    def __init__(self, dsn: str, clock: Clock, *, beside: bool = False) -> None:
        self.label = label_of(dsn)
        self._beside = beside
        self._pool = ConnectionPool(DatabaseAddress(dsn, LIMIT_S), clock, SupervisedLoops(clock), lambda: None)
        self._stack = AsyncExitStack()
        self._session: Session | None = None

    async def open(self) -> None:
        """Open, and make or upgrade the journal unless `beside`. Raises JournalAway, and JournalError if a host works on it."""
        await self._pool.open(make=not self._beside)
        self._stack.push_async_callback(self._pool.close)
        if self._beside:
            self._session = await self._stack.enter_async_context(self._pool.transaction())
            await self._session.execute("set transaction isolation level repeatable read, read only")
            return
        self._session = await self._stack.enter_async_context(self._pool.connection())
        alive = await self._session.fetchval(
            f"select count(*) from {SCHEMA}.owner where lease > extract(epoch from clock_timestamp())"
        )
        if alive:
            await self.close()
            raise JournalError(f"a host works on {self.label}: stop it, and wait half a minute where it was killed")

    async def close(self) -> None:
        """Close."""
        await self._stack.aclose()

    async def rows(self, after: str) -> Sequence[Row]:
        """See `copying.JournalTables.rows`."""
        asked = f"select {COLUMNS}, body from {SCHEMA}.delivery where id > $1 order by id limit {BATCH}"
        return [(entry_of(tuple(found)[:-1]), found["body"]) for found in await self._open.fetch(asked, after)]

    async def add(self, rows: Sequence[Row]) -> None:
        """See `copying.JournalTables.add`."""
        marks = ", ".join(f"${number}" for number in range(1, len(FIELDS) + 3))
        await self._open.executemany(
            f"insert into {SCHEMA}.delivery ({COLUMNS}, until, body) values ({marks})",
            [(*values_of(entry), 0.0, body) for entry, body in rows],
        )

    async def last(self) -> str:
        """See `copying.JournalTables.last`."""
        return str(await self._open.fetchval(f"select max(id) from {SCHEMA}.delivery") or "")

    async def facts(self) -> Mapping[str, str]:
        """See `copying.JournalTables.facts`."""
        rows = await self._open.fetch(f"select name, value from {SCHEMA}.control")
        return {row["name"]: row["value"] for row in rows}

    async def set_fact(self, name: str, value: str | None) -> None:
        """See `copying.JournalTables.set_fact`."""
        if value is None:
            await self._open.execute(f"delete from {SCHEMA}.control where name = $1", name)
        else:
            await self._open.execute(
                f"insert into {SCHEMA}.control (name, value) values ($1, $2) on conflict (name) do update set value = $2",
                name,
                value,
            )

    async def side(self, table: str) -> Sequence[SideRow]:
        """See `copying.JournalTables.side`."""
        found = await self._open.fetch(f"select {', '.join(SIDE_TABLES[table])} from {SCHEMA}.{table}")
        return [tuple(row) for row in found]

    async def add_side(self, table: str, rows: Sequence[SideRow]) -> None:
        """See `copying.JournalTables.add_side`."""
        columns = ", ".join(SIDE_TABLES[table])
        await self._open.executemany(
            f"insert into {SCHEMA}.{table} ({columns}) values ($1, $2, $3, $4) on conflict do nothing", rows
        )

    @property
    def _open(self) -> Session:
        assert self._session is not None
        return self._session
