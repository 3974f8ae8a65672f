"""Read and write the embedded journal's tables for a copy, of a state folder without a host or beside a running one."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bothost.errors import JournalAway
from bothost.journal import owner_locks
from bothost.journal.copying import BATCH, SIDE_TABLES
from bothost.journal.rows import COLUMNS, FIELDS, entry_of, values_of
from bothost.journal.sqlite.body_files import BodyFiles, location_of
from bothost.journal.sqlite.connection import WritingConnection, connect_to_read, explain, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bothost.clock import Clock
    from bothost.journal.copying import Row, SideRow

BUSY_S = 30.0


def why_no_journal(path: Path) -> str:
    """Return why a file is no journal; "" if it is one."""
    try:
        with closing(connect_to_read(path, BUSY_S)) as connection:
            found = connection.execute("select 1 from sqlite_master where name = 'delivery'").fetchone()
    except sqlite3.Error as error:
        return str(error)
    return "" if found else "it has no table of deliveries"


class SqliteTables:
    """See `copying.JournalTables`.

    With `beside` a host may work on the folder. Then the tables are read only, and show one state, that of the open.
    """

    def __init__(self, folder: Path, clock: Clock, *, beside: bool = False, label: str = "") -> None:
        self.label = label or str(folder)
        self._path = path_of(folder)
        self._shown = Path(label) if label else self._path
        self._beside = beside
        self._database = WritingConnection(folder, clock, BUSY_S)
        self._lock = owner_locks.HostLock(folder, alone=True)
        self._bodies = BodyFiles(folder, "")
        self._reader: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open, and keep hosts away unless `beside`. Makes or upgrades the journal. Raises JournalAway, JournalError."""
        try:
            if not self._beside:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._keep_hosts_away()  # before the open, which upgrades an older journal
                self._database.open(make=True)
            elif not self._path.exists():
                raise JournalAway(f"{self._path}: there is no journal yet")
            self._reader = connect_to_read(self._path, BUSY_S)
            if self._beside:
                self._reader.execute("begin")
        except (sqlite3.Error, OSError, JournalAway) as error:
            self.close()
            raise error if isinstance(error, JournalAway) else JournalAway(explain(error, self._shown)) from error

    def _keep_hosts_away(self) -> None:
        try:
            self._lock.take()
        except JournalAway:
            raise JournalAway(
                f"a host works on {self.label}: stop it first; `bothost journal backup FILE` copies beside a running host"
            ) from None

    def close(self) -> None:
        """Close, and let hosts work again."""
        if self._reader is not None:
            self._reader.close()
        self._database.close()
        self._lock.give_back()

    async def rows(self, after: str) -> Sequence[Row]:
        """See `copying.JournalTables.rows`."""
        asked = f"select {COLUMNS}, body, body_at from delivery where id > ? order by id limit ?"
        return [self._row(found) for found in self._read(asked, after, BATCH)]

    def _row(self, found: tuple[Any, ...]) -> Row:
        body, location = found[-2], found[-1]
        held = self._bodies.read(location_of(str(location))) if location else body
        return entry_of(found[:-2]), held if isinstance(held, bytes) else None

    async def add(self, rows: Sequence[Row]) -> None:
        """See `copying.JournalTables.add`."""
        marks = ", ".join("?" * (len(FIELDS) + 2))
        with self._writing() as connection:
            connection.executemany(
                f"insert into delivery ({COLUMNS}, until, body) values ({marks})",
                [(*values_of(entry), 0.0, body) for entry, body in rows],
            )

    async def last(self) -> str:
        """See `copying.JournalTables.last`."""
        ((found,),) = self._read("select max(id) from delivery")
        return str(found or "")

    async def facts(self) -> Mapping[str, str]:
        """See `copying.JournalTables.facts`."""
        return dict(self._read("select name, value from control"))

    async def set_fact(self, name: str, value: str | None) -> None:
        """See `copying.JournalTables.set_fact`."""
        with self._writing() as connection:
            connection.execute("delete from control where name = ?", (name,))
            if value is not None:
                connection.execute("insert into control (name, value) values (?, ?)", (name, value))

    async def side(self, table: str) -> Sequence[SideRow]:
        """See `copying.JournalTables.side`."""
        return self._read(f"select {', '.join(SIDE_TABLES[table])} from {table}")

    async def add_side(self, table: str, rows: Sequence[SideRow]) -> None:
        """See `copying.JournalTables.add_side`."""
        columns = ", ".join(SIDE_TABLES[table])
        with self._writing() as connection:
            connection.executemany(f"insert or ignore into {table} ({columns}) values (?, ?, ?, ?)", rows)

    def _read(self, asked: str, *values: object) -> list[Any]:
        assert self._reader is not None
        try:
            return self._reader.execute(asked, values).fetchall()
        except sqlite3.Error as error:
            raise JournalAway(explain(error, self._path)) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database.transaction() as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise JournalAway(explain(error, self._path)) from error
