"""The journal's files deleted, moved, replaced, cut or written over under the host: nothing of it is lost, and it is said."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.journal.journals import BODY, PATIENT, make_entry, parked

from bothost.errors import JournalAway
from bothost.journal.sqlite import log_index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal
    from bothost.journal.entry import Entry

LARGE = b'{"task_id": 8, "text": "' + b"x" * 9000 + b'"}'


def deleted(state: Path) -> None:
    for path in state.glob("journal.db*"):
        path.unlink()


def moved(state: Path) -> None:
    (state / "journal.db").rename(state / "journal.db.bak")


def replaced_by_an_older_copy(state: Path) -> None:
    shutil.copy(state / "journal.db", state / "copy")
    (state / "copy").rename(state / "journal.db")


def replaced_by_an_empty_file(state: Path) -> None:
    (state / "empty").touch(mode=0o600)
    (state / "empty").rename(state / "journal.db")


def log_deleted(state: Path) -> None:
    (state / "journal.db-wal").unlink()
    (state / "journal.db-shm").unlink()


def log_cut(state: Path) -> None:
    os.truncate(state / "journal.db-wal", 32)


def folder_deleted(state: Path) -> None:
    shutil.rmtree(state)


def written_over(path: Path, begin: int = 0, end: int | None = None) -> None:
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(os.urandom((path.stat().st_size if end is None else end) - begin))


def log_written_over(state: Path) -> None:
    written_over(state / "journal.db-wal", 32)


def head_of_the_log_written_over(state: Path) -> None:
    written_over(state / "journal.db-wal", 0, 32)


def middle_of_the_log_written_over(state: Path) -> None:
    written_over(state / "journal.db-wal", 5000, 5100)


def index_written_over(state: Path) -> None:
    written_over(state / "journal.db-shm")


def index_of(state: Path) -> log_index.LogIndex:
    return log_index.parse((state / "journal.db-shm").read_bytes())


async def save(store: Journal, entry: Entry, body: bytes) -> None:
    """Save as the host does: again while the journal is away."""
    for _ in range(200):
        try:
            assert await store.save(entry, body)
        except JournalAway:
            await asyncio.sleep(0.01)
        else:
            return
    raise AssertionError("the journal stays away")


@pytest.mark.parametrize(
    "act", [deleted, moved, replaced_by_an_older_copy, replaced_by_an_empty_file, log_deleted, folder_deleted]
)
def test_nothing_is_lost_when_the_files_are_taken_away(embedded: JournalMaker, act: Callable[[Path], None]) -> None:
    async def scene() -> None:
        store = embedded.make()
        await store.open()
        assert await store.save(parked(1), BODY)
        assert await store.save(parked(2), LARGE)
        assert store.damage() == ""
        act(embedded.folder)
        assert "under the host" in store.damage()
        await save(store, parked(3), LARGE)
        assert "goes on in a new file" in store.damage()
        assert {row[0] for row in embedded.sql("select id from delivery")} == {parked(n).id for n in (1, 2, 3)}
        assert await store.body(parked(2).id) == LARGE
        assert await store.body(parked(3).id) == LARGE
        assert len(await store.counts()) == 1
        await store.close()
        async with embedded.open() as later:
            assert await later.body(parked(2).id) == LARGE
            assert await later.find(parked(3).id)

    asyncio.run(scene())


@pytest.mark.parametrize(
    "act",
    [
        log_written_over,
        head_of_the_log_written_over,
        middle_of_the_log_written_over,
        index_written_over,
    ],
)
def test_nothing_is_lost_when_bytes_are_written_over_the_log(
    embedded: JournalMaker, act: Callable[[Path], None]
) -> None:
    async def scene() -> None:
        store = embedded.make(PATIENT)
        await store.open()
        assert await store.save(parked(1), BODY)
        assert await store.save(parked(2), LARGE)
        act(embedded.folder)
        await save(store, parked(3), BODY)
        assert "written over under the host" in store.damage()
        assert embedded.sql("pragma integrity_check") == [("ok",)]
        await store.close()
        async with embedded.open() as later:
            assert await later.body(parked(2).id) == LARGE
            assert await later.find(parked(1).id)
            assert await later.find(parked(3).id)

    asyncio.run(scene())


def test_two_processes_notice_a_log_that_was_written_over_and_agree_on_what_stood_without_it(
    embedded: JournalMaker,
) -> None:
    """What the other one wrote last is in nobody's memory as a whole."""

    async def scene() -> None:
        one, two = embedded.make(PATIENT), embedded.make(PATIENT)
        await one.open()
        await two.open()
        assert await one.save(parked(1), BODY)
        embedded.sql("pragma wal_checkpoint(truncate)")
        assert await one.save(parked(2), BODY)
        assert log_index.ends_as_indexed(embedded.folder / "journal.db-wal", index_of(embedded.folder))
        log_written_over(embedded.folder)
        with pytest.raises(JournalAway, match="written over under the host"):
            await two.save(parked(3), BODY)
        await save(two, parked(3), BODY)
        await save(one, parked(4), BODY)
        await save(two, parked(5), BODY)
        found = {row[0] for row in embedded.sql("select id from delivery")}
        assert found == {parked(n).id for n in (1, 3, 4, 5)}
        assert len(list(embedded.folder.glob("journal.db.aside-*"))) == 3
        await one.close()
        await two.close()

    asyncio.run(scene())


def test_a_file_that_somebody_has_only_touched_is_the_same(embedded: JournalMaker) -> None:
    async def scene() -> None:
        store = embedded.make(PATIENT)
        await store.open()
        for number in (1, 2):
            assert await store.save(parked(number), BODY)
            assert log_index.is_whole(embedded.folder / "journal.db-wal", index_of(embedded.folder))
            os.utime(embedded.folder / "journal.db")
            os.utime(embedded.folder / "journal.db-wal")
        assert await store.save(parked(3), BODY)
        assert store.damage() == ""
        assert not list(embedded.folder.glob("*.aside-*"))
        await store.close()

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
def test_a_cut_file_is_noticed_and_the_journal_goes_on(embedded: JournalMaker, name: str) -> None:
    async def scene() -> None:
        store = embedded.make()
        await store.open()
        assert await store.save(parked(1), BODY)
        os.truncate(embedded.folder / name, 40)
        assert "was cut" in store.damage()
        await save(store, parked(2), BODY)
        assert (parked(2).id,) in embedded.sql("select id from delivery")
        await store.close()

    asyncio.run(scene())


def test_pages_that_were_written_over_are_noticed_and_the_journal_goes_on(embedded: JournalMaker) -> None:
    async def scene() -> None:
        store = embedded.make(PATIENT)
        await store.open()
        assert await store.save(parked(1), BODY)
        with closing(sqlite3.connect(embedded.folder / "journal.db", isolation_level=None)) as other:
            assert other.execute("pragma wal_checkpoint(truncate)").fetchone() == (0, 0, 0)
        assert await store.save(parked(2), BODY)
        written_over(embedded.folder / "journal.db", 4096)
        with pytest.raises(JournalAway, match=r"journal\.db was written over under the host"):
            await store.save(parked(3), BODY)
        await save(store, parked(3), BODY)
        assert (parked(3).id,) in embedded.sql("select id from delivery")
        assert list(embedded.folder.glob("*.aside-*"))
        await store.close()

    asyncio.run(scene())


def test_two_processes_agree_on_one_new_file(embedded: JournalMaker) -> None:
    async def scene() -> None:
        one, two = embedded.make(), embedded.make()
        await one.open()
        await two.open()
        assert await one.save(parked(1), BODY)
        deleted(embedded.folder)
        await save(one, parked(2), BODY)
        await save(two, parked(3), BODY)
        await save(one, parked(4), BODY)
        assert {row[0] for row in embedded.sql("select id from delivery")} == {parked(n).id for n in (1, 2, 3, 4)}
        assert not list(embedded.folder.glob("*.aside-*"))
        await one.close()
        await two.close()

    asyncio.run(scene())


def test_deleted_locks_are_made_anew_so_that_no_second_host_begins(embedded: JournalMaker) -> None:
    async def scene() -> None:
        store = embedded.make(claims_first=False)
        await store.open()
        for name in ("host-lock", "journal.lock"):
            (embedded.folder / name).unlink()
        while not (embedded.folder / "host-lock").exists():
            await asyncio.sleep(0.01)
        with pytest.raises(JournalAway, match="another host works on"):
            await embedded.make(claims_first=False).open()
        await store.close()

    asyncio.run(scene())


def test_a_visitor_after_the_loss_sees_what_the_host_kept(embedded: JournalMaker) -> None:
    async def scene() -> None:
        store = embedded.make()
        await store.open()
        claimed, mine = await store.claim(make_entry(1), BODY)
        assert claimed == "claimed"
        deleted(embedded.folder)
        await save(store, parked(2), BODY)
        async with embedded.open(readonly=True) as visitor:
            found = await visitor.find(mine.id)
            assert found is not None
            assert found.owner == store.owner
        assert store.alive()
        await store.close()

    asyncio.run(scene())
