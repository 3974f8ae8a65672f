"""Closing a journal while it is asked: questions are answered or refused, and the process lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.journal.journals import JournalMaker

from bothost.clock import SystemClock
from bothost.errors import JournalAway
from bothost.journal.entry import Entry
from bothost.journal.sqlite.journal import SqliteJournal


def test_questions_under_way_are_answered_or_refused_when_the_journal_closes(tmp_path: Path) -> None:
    async def scene(folder: Path, pause_s: float) -> list[object]:
        store = SqliteJournal(folder, SystemClock(), claims_first=False)
        await store.open()
        for number in range(300):
            store.note(Entry(id=f"b:{number}:comment:{number}", bot=f"b{number % 50}", door="api", created=1.0))
        asked = [asyncio.ensure_future(store.waiting()) for _ in range(40)]
        await asyncio.sleep(pause_s)
        await store.close()
        return await asyncio.gather(*asked, return_exceptions=True)

    for round_ in range(20):
        results = asyncio.run(scene(tmp_path / str(round_), 0.001 * (round_ % 7)))
        assert all(isinstance(result, dict | JournalAway) for result in results)


def test_who_asks_a_closed_journal_is_told_that_it_is_not_open(journal: JournalMaker) -> None:
    async def scene() -> None:
        store = journal.make()
        await store.open()
        await store.close()
        for question in (store.find("x"), store.waiting(), store.controls(), store.cancel("x")):
            with pytest.raises(JournalAway, match="not open"):
                await question

    asyncio.run(scene())


def test_a_journal_whose_files_cannot_be_removed_is_closed_all_the_same(tmp_path: Path) -> None:
    """As on a file system that has become read-only."""

    async def scene() -> None:
        store = SqliteJournal(tmp_path, SystemClock(), claims_first=False)
        await store.open()
        (tmp_path / "owners").rename(tmp_path / "elsewhere")
        (tmp_path / "owners").touch()
        await store.close()
        (tmp_path / "owners").unlink()
        (tmp_path / "elsewhere").rename(tmp_path / "owners")
        again = SqliteJournal(tmp_path, SystemClock(), claims_first=False)
        await again.open()
        await again.close()

    asyncio.run(scene())
