"""The embedded journal on a sick disk, and what it leaves on a healthy one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.journal.journals import BODY, QUICK, JournalMaker, answered, change, make_entry, parked, until
from tests.journal.processes import line_of, process

from bothost.errors import JournalAway, JournalError
from bothost.journal.entry import JournalTiming
from bothost.journal.retention import DAY_S
from bothost.journal.sqlite.connection import path_of
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal

IMPATIENT = msgspec.structs.replace(QUICK, commit_s=0.3)


def test_what_does_not_fit_on_the_disk_is_not_acknowledged_and_room_heals_it(embedded: JournalMaker) -> None:
    with process(embedded, "fill", 3_000_000) as child:
        said = [line.split(" ", 1) for line in child.communicate(timeout=60)[0].splitlines()]
    words = [word for word, _ in said]
    assert words.count("acknowledged") > 20
    assert words[-6:] == ["acknowledged", "away", "reads", "away", "acknowledged", "noted"]
    assert dict(said)["reads"] == "True"
    assert dict(said)["noted"] == "b'noted'", "what was noted meanwhile is written when there is room"

    async def work(store: Journal) -> None:
        for word, key in said:
            if word == "acknowledged":
                assert await store.body(key) == b"y" * 3000

    embedded.run(work)
    assert embedded.sql("pragma integrity_check") == [("ok",)]


def test_a_journal_that_may_not_be_written_is_away_until_it_may() -> None:
    with TemporaryDirectory(prefix="bothost-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        journal = JournalMaker(Path(folder) / "state")
        with process(journal, "read_only") as child:
            said = child.communicate(timeout=60)[0].splitlines()
    assert said[0].startswith("away"), said
    assert "ermission" in said[0] or "readonly" in said[0]
    assert said[1] == "found True True"


def test_a_locked_journal_is_away_and_reads_go_on(embedded: JournalMaker) -> None:
    async def scene() -> None:
        async with embedded.open(IMPATIENT) as store:
            await store.save(parked(1), BODY)
            other = sqlite3.connect(path_of(embedded.folder), isolation_level=None)
            other.execute("begin exclusive")
            with pytest.raises(JournalAway, match=r"locked|no answer"):
                await store.save(parked(2, task=8), BODY)
            store.note(parked(3, task=9), BODY)
            assert await store.find(parked(1).id) is not None
            await until(lambda: asyncio.sleep(0, not store.alive()))
            other.execute("commit")
            other.close()
            await until(lambda: asyncio.sleep(0, store.alive()))
            assert await store.save(parked(2, task=8), BODY)
            assert await store.body(parked(3, task=9).id) == BODY

    asyncio.run(scene())


def test_an_owner_cut_off_from_its_journal_keeps_its_runs_if_nobody_took_them(embedded: JournalMaker) -> None:
    async def scene() -> None:
        async with embedded.open(IMPATIENT) as one, embedded.open(IMPATIENT) as two:
            _, mine = await one.claim(make_entry(door="api"), BODY)
            other = sqlite3.connect(path_of(embedded.folder), isolation_level=None)
            other.execute("begin exclusive")
            for _ in range(4):
                for store in (one, two):
                    with pytest.raises(JournalAway):
                        await store.reap()
            other.execute("commit")
            other.close()
            assert [await store.reap() for store in (two, one, two, one)] == [[], [], [], []]
            assert await one.save(answered(mine))

    asyncio.run(scene())


def test_a_folder_and_its_files_belong_to_their_owner_alone(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        await store.claim(make_entry(), b"z" * 9000)
        modes = {
            path.relative_to(embedded.folder.parent).as_posix().split("/")[-1].partition(":")[0]: path.stat().st_mode
            & 0o777
            for path in (embedded.folder, *embedded.folder.rglob("*"))
        }
        host = store.owner.partition(":")[0]
        assert modes == {
            "state": 0o700, "owners": 0o700, "bodies": 0o700, "journal.db": 0o600, "journal.db-wal": 0o600,
            "journal.db-shm": 0o600, "journal.lock": 0o600, "host-lock": 0o600, host: 0o600,
        }  # fmt: skip

    before = os.umask(0)
    try:
        embedded.run(work)
    finally:
        os.umask(before)


def test_what_is_dropped_leaves_no_bytes_behind(embedded: JournalMaker) -> None:
    needles = [b"needle-small-body" * 9, b"needle-large-body" * 600]

    async def work(store: Journal) -> None:
        for number, needle in enumerate(needles):
            done = make_entry(number, task=number, state="answered", answer=b'{"text":"needle-answer"}', delivered=True)
            await store.save(change(done, created=done.created - 8 * DAY_S), needle)
        await store.save(answered(make_entry(5, task=5)), b"kept" * 2000)
        assert await store.retain({"refunds": 7 * DAY_S}) == 2
        assert await store.body(make_entry(5, task=5).id) == b"kept" * 2000

    embedded.run(work)
    for path in embedded.folder.rglob("*"):
        if path.is_file():
            assert b"needle" not in path.read_bytes(), path.name


def test_a_file_of_large_bodies_goes_with_its_last_one(embedded: JournalMaker) -> None:
    async def fill(store: Journal) -> None:
        done = answered(make_entry(1, task=1, created=1.0))
        await store.save(done, b"z" * 9000)

    async def look(store: Journal) -> None:
        bodies = embedded.folder / "bodies"
        assert len(list(bodies.iterdir())) == 1
        await store.retain({})
        assert list(bodies.iterdir()) == []

    embedded.run(fill)
    embedded.run(look)


def test_a_forked_child_keeps_nothing_of_the_journal(embedded: JournalMaker) -> None:
    async def scene() -> None:
        async with embedded.open(JournalTiming(lease_s=600.0, beat_s=0.1)) as store:
            with process(embedded, "fork") as child:
                assert line_of(child, "child") == ["[]"]
                assert line_of(child, "saved") == ["True"], "the parent goes on writing"
                assert await store.reap() == []
                children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text("ascii").split()
                child.kill()
                child.wait()
                try:
                    (reaped,) = await until(store.reap, 5)
                    assert reaped.dead, "the child that lives on does not keep its parent's lock"
                finally:
                    for pid in children:
                        os.kill(int(pid), signal.SIGKILL)

    asyncio.run(scene())


def test_leases_of_another_boot_mean_nothing(embedded: JournalMaker) -> None:
    async def scene() -> None:
        async with embedded.open() as one, embedded.open() as two:
            await one.claim(make_entry(door="api"), BODY)
            assert await two.reap() == []
            embedded.sql(f"update owner set boot = 'another', lease = 1e12 where id = '{one.owner}'")
            (reaped,) = await two.reap()
            assert reaped.dead

    asyncio.run(scene())


def test_a_second_store_with_a_newer_schema_is_refused(embedded: JournalMaker) -> None:
    async def nothing(_: Journal) -> None:
        """Only open."""

    embedded.run(nothing)
    embedded.sql("insert into migration values ('9999 from tomorrow', 'x')")
    with pytest.raises(JournalError, match="newer bothost"):
        embedded.run(nothing)


def test_a_visitor_makes_no_files(embedded: JournalMaker) -> None:
    async def scene() -> None:
        with pytest.raises(JournalAway, match="no journal"):
            async with embedded.open(readonly=True):
                raise AssertionError("opened")
        assert not embedded.folder.exists()
        async with embedded.open():
            pass
        before = sorted(path.name for path in embedded.folder.rglob("*"))
        async with embedded.open(readonly=True) as visitor:
            assert await visitor.counts() == {}
        assert sorted(path.name for path in embedded.folder.rglob("*")) == before

    asyncio.run(scene())


def test_in_virtual_time_a_lease_is_kept_for_hours_and_what_is_noted_is_written_at_once(tmp_path: Path) -> None:
    from bothost.journal.sqlite.journal import SqliteJournal

    clock = VirtualClock()
    timing = JournalTiming(linger_s=0.0)
    store = SqliteJournal(tmp_path / "state", clock, claims_first=False, timing=timing)

    async def begin() -> None:
        await store.open()
        store.note(make_entry(state="running", fence=1, owner=store.owner, door="api"), BODY)

    async def look() -> tuple[bool, int, bool]:
        found = await store.find(make_entry().id)
        return store.alive(), len(await store.reap()), found is not None

    clock.run(begin())
    with contextlib.closing(sqlite3.connect(path_of(tmp_path / "state"))) as journal:
        rows = journal.execute("select state from delivery").fetchall()
    assert rows == [("running",)], "time stood still until it was written"
    for _ in range(3):
        clock.advance("400s")
        assert clock.run(look()) == (True, 0, True)
    clock.run(store.close())
    clock.loop.close()
