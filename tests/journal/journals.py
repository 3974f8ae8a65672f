"""A journal that several owners open, as several processes would: the same tests for both stores."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from bothost.clock import SystemClock
from bothost.errors import JournalAway
from bothost.journal import Journal, open_journal
from bothost.journal.entry import Entry, JournalTiming
from bothost.journal.sqlite.connection import path_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

QUICK = JournalTiming(lease_s=0.6, beat_s=0.2, retry_beat_s=0.05, sweep_s=0.1, commit_s=2.0, linger_s=0.005)
PATIENT = msgspec.structs.replace(QUICK, commit_s=10.0, lease_s=10.0)
"""Where several processes work beside each other: a busy machine may let one wait for longer than a short lease or commit lasts.
A lock tells at once who is dead; but a beat that lands after its process was killed and forgotten is waited for until it is over."""
BEGAN = time.time()
DAY = 86400.0
BODY = b'{"task_id": 7}'


class JournalMaker:
    """Makes stores on one journal: the embedded one in `folder`, or the shared one at `url`."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.url = url
        self.clock = SystemClock()

    @property
    def shared(self) -> bool:
        return bool(self.url)

    def make(
        self,
        timing: JournalTiming = QUICK,
        *,
        claims_first: bool = True,
        readonly: bool = False,
        folder: Path | None = None,
    ) -> Journal:
        """A store that is not open yet; another `folder` is another machine's (PostgreSQL only)."""
        return open_journal(
            self.url, folder or self.folder, self.clock, claims_first=claims_first, timing=timing, readonly=readonly
        )

    @asynccontextmanager
    async def open(
        self,
        timing: JournalTiming = QUICK,
        *,
        claims_first: bool = True,
        readonly: bool = False,
        folder: Path | None = None,
    ) -> AsyncIterator[Journal]:
        store = self.make(timing, claims_first=claims_first, readonly=readonly, folder=folder)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Behind the store's back: execute statements; the rows of the last one. `{s}` is the schema's prefix."""
        return asyncio.run(self._shared_sql(statements)) if self.shared else self._embedded_sql(statements)

    def _embedded_sql(self, statements: Sequence[str]) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(path_of(self.folder), timeout=10)
        rows: list[tuple[Any, ...]] = []
        with connection:
            for statement in statements:
                rows = connection.execute(statement.format(s="")).fetchall()
        connection.close()
        return rows

    async def _shared_sql(self, statements: Sequence[str]) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.url)
        rows: list[Any] = []
        for statement in statements:
            rows = await connection.fetch(statement.format(s="bothost."))
        await connection.close()
        return [tuple(row) for row in rows]

    def run(self, work: Callable[[Journal], Awaitable[Any]], timing: JournalTiming = QUICK) -> Any:
        """Run `work` with one open store."""

        async def with_store() -> Any:
            async with self.open(timing) as store:
                return await work(store)

        return asyncio.run(with_store())


def make_entry(number: int = 1, **changes: Any) -> Entry:
    """A new event of task 7 of the bot `refunds`, unless told otherwise."""
    bot = changes.get("bot", "refunds")
    task = changes.get("task", 7)
    values: dict[str, Any] = {
        "id": f"{bot}:{task}:comment:{number}", "bot": bot, "task": task, "turn": str(task), "comment": number,
        "seen": 1, "seen_at": BEGAN, "created": BEGAN + number / 1e5, "updated": BEGAN, "trace": "",
    }  # fmt: skip
    return Entry(**{**values, **changes})


def parked(number: int = 1, **changes: Any) -> Entry:
    """A parked event, due now."""
    return make_entry(number, **{"state": "ready", "door": "api", "due": BEGAN - 1, **changes})


def answered(entry: Entry, **changes: Any) -> Entry:
    """The entry with its answer delivered."""
    return change(entry, **{"state": "answered", "answer": b"{}", "delivered": True, **changes})


def change(entry: Entry, **changes: Any) -> Entry:
    """A changed copy."""
    return msgspec.structs.replace(entry, **changes)


async def lands(store: Journal, entry: Entry) -> bool:
    """Save it; False where the journal is away."""
    try:
        return await store.save(entry, BODY)
    except JournalAway:
        return False


async def until(found: Callable[[], Awaitable[Any]], within_s: float = 10.0) -> Any:
    """Ask again and again until there is something.

    What a store makes due now is due by its own estimate of the database's clock, which may be some milliseconds ahead.
    """
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if result := await found():
            return result
        await asyncio.sleep(0.02)
    raise AssertionError(f"nothing within {within_s} s")
