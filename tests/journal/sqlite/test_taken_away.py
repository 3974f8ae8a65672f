"""The journal's files deleted, moved, replaced or cut under the host: nothing of it is lost, and it is said."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.journal.journals import BODY, make_entry, parked

from bothost.errors import JournalAway

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
