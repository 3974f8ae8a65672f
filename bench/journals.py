"""Make a journal that has seen much, so that deliveries are measured beside it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bothost.clock import SystemClock
from bothost.journal.entry import Entry
from bothost.journal.rows import values_of
from bothost.journal.sqlite.connection import WritingConnection
from bothost.journal.sqlite.statements import write_all

if TYPE_CHECKING:
    from pathlib import Path

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
