"""Make a journal that has seen much, so that deliveries are measured beside it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bothost.clock import SystemClock
from bothost.journal.data import AddJob, JournalData, WriteValue
from bothost.journal.entry import Entry
from bothost.journal.rows import values_of
from bothost.journal.sqlite.connection import WritingConnection
from bothost.journal.sqlite.journal import SqliteJournal
from bothost.journal.sqlite.statements import write_all

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.journal.data import DataRequest

BATCH = 5000


def fill(folder: Path, entries: int) -> None:
    """Write so many answered events of the last days, without their bodies, as they stand after `keep`."""
    folder.mkdir(0o700)
    database = WritingConnection(folder, SystemClock(), 30.0)
    database.open(make=True)
    began = time.time() - 20 * 86_400
    for first in range(0, entries, BATCH):
        rows = [(*values_of(_entry(n, began + n)), 0.0, None, None) for n in range(first, min(first + BATCH, entries))]
        with database.transaction() as connection:
            write_all(connection, rows)
    database.close()


def _entry(number: int, at: float) -> Entry:
    task, comment = 1_000_000 + number // 3, 2_000_000 + number
    return Entry(
        id=f"b0:{task}:comment:{comment}", bot="b0", state="answered", task=task, turn=str(task), comment=comment, fence=1,
        owner="gone", seen=1, seen_at=at, runs=1, delivered=True, status=200, version="1", ms=1.0, created=at, updated=at,
    )  # fmt: skip


def keep(folder: Path, values: int, jobs: int) -> None:
    """Write so many values of a bot's store, and jobs that wait for the next days, as a plugin does."""
    folder.mkdir(0o700, exist_ok=True)
    asyncio.run(_keep(folder, values, jobs))


async def _keep(folder: Path, values: int, jobs: int) -> None:
    clock = SystemClock()
    journal = SqliteJournal(folder, clock, claims_first=False)
    await journal.open()
    data = JournalData(journal, "b0", clock)
    begin = clock.epoch() + 86_400
    wanted: list[DataRequest] = [WriteValue(f"task:{n}", b'{"seen":true,"sum":"5000.40"}') for n in range(values)]
    wanted += [AddJob("nudge", f"nudge-{n}", n, b'{"hours":3}', begin + n) for n in range(jobs)]
    for first in range(0, len(wanted), BATCH):
        await asyncio.gather(*(data.ask("", one) for one in wanted[first : first + BATCH]))
    await journal.close()
