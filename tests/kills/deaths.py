"""Has the journal itself take down each claim, and each death that counts, by triggers of the test's own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from bothost.journal.sqlite.connection import path_of

if TYPE_CHECKING:
    from pathlib import Path

_TABLES = (
    "create table {s}claim_seen (id text, fence bigint, at {real}, primary key (id, fence))",
    "create table {s}death_seen (id text, task bigint, owner text, fence bigint)",
)
_CLAIM = "insert into {s}claim_seen values (new.id, new.fence, {now}) on conflict do nothing;"
_DEATH = "insert into {s}death_seen values (new.id, new.task, old.owner, old.fence);"
_EMBEDDED = (
    f"create trigger claim_new after insert on delivery when new.state = 'running' begin {_CLAIM} end",
    f"create trigger claim_old after update on delivery when new.fence > old.fence begin {_CLAIM} end",
    f"create trigger death after update on delivery when new.deaths > old.deaths begin {_DEATH} end",
)
_SHARED = (
    f"create function bothost.seen() returns trigger language plpgsql as $$ begin if new.fence > 0 then {_CLAIM} end if; "
    f"if tg_op = 'UPDATE' then if new.deaths > old.deaths then {_DEATH} end if; end if; return null; end $$",
    "create trigger seen after insert or update on bothost.delivery for each row execute function bothost.seen()",
)
_DEATHS = "select d.task, d.owner, c.at from {s}death_seen d join {s}claim_seen c on c.id = d.id and c.fence = d.fence"


class Death(NamedTuple):
    """One death that counts: of whose process, and when that had claimed the event (epoch seconds)."""

    task: int
    owner: str
    claimed: float

    @property
    def pid(self) -> int:
        """The process of the owner."""
        return int(self.owner.split(":")[1])


class DeathBook:
    """The deaths that the journal counted: the shared one at `url`, else the embedded one in `folder`."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder

    async def open(self) -> None:
        """Begin; the journal is there."""
        if self._url:
            words = {"s": "bothost.", "real": "double precision", "now": "extract(epoch from clock_timestamp())"}
            await self._shared([one.format(**words) for one in (*_TABLES, *_SHARED)])
        else:
            words = {"s": "", "real": "real", "now": "(julianday('now') - 2440587.5) * 86400.0"}
            self._embedded([one.format(**words) for one in (*_TABLES, *_EMBEDDED)])

    async def all(self) -> list[Death]:
        """All deaths until now."""
        rows = (
            await self._shared([_DEATHS.format(s="bothost.")]) if self._url else self._embedded([_DEATHS.format(s="")])
        )
        return [Death(*row) for row in rows]

    async def _shared(self, statements: list[str]) -> list[tuple[int, str, float]]:
        connection = await asyncpg.connect(self._url)
        try:
            return [tuple(row) for row in [await connection.fetch(one) for one in statements][-1]]
        finally:
            await connection.close()

    def _embedded(self, statements: list[str]) -> list[tuple[int, str, float]]:
        with closing(sqlite3.connect(path_of(self._folder), timeout=30)) as connection, connection:
            return [connection.execute(one).fetchall() for one in statements][-1]
