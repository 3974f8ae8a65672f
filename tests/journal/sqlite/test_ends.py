"""The embedded journal where opening, closing or the file itself goes wrong."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.journal.journals import BODY, DAY, QUICK, answered, lands, make_entry, parked, until

from bothost.errors import JournalAway, JournalError
from bothost.journal.owner_locks import boot_id, place_id
from bothost.journal.sqlite import body_files, maintenance, writer
from bothost.journal.sqlite.body_files import BodyFiles, BodyLocation
from bothost.journal.sqlite.connection import WritingConnection, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal

IMPATIENT = msgspec.structs.replace(QUICK, commit_s=0.1)


@contextmanager
def locked(journal: JournalMaker) -> Iterator[None]:
    """Somebody else holds the whole database."""
    other = sqlite3.connect(path_of(journal.folder), isolation_level=None)
    other.execute("begin exclusive")
    try:
        yield
    finally:
        other.execute("rollback")
        other.close()


def test_a_second_host_on_a_folder_is_told_so_and_leaves_the_first_alone(embedded: JournalMaker) -> None:
    async def scene() -> None:
        async with embedded.open(claims_first=False) as first:
            second = embedded.make(claims_first=False)
            with pytest.raises(JournalAway, match="another host works on"):
                await second.open()
            assert await first.save(parked(1), BODY)
        await second.open()
        assert await second.body(parked(1).id) == BODY
        await second.close()

    asyncio.run(scene())


def test_a_journal_that_is_no_database_is_away(embedded: JournalMaker) -> None:
    embedded.folder.mkdir(mode=0o700)
    path_of(embedded.folder).write_bytes(b"this is a text and no database" * 200)

    async def scene() -> None:
        with pytest.raises(JournalAway, match="not a database"):
            await embedded.make().open()

    asyncio.run(scene())
    assert path_of(embedded.folder).read_bytes().startswith(b"this is a text"), "nothing of it was touched"


def test_a_file_that_goes_bad_is_opened_anew_once_it_is_mended(
    embedded: JournalMaker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(embedded.folder)

    async def scene() -> None:
        async with embedded.open(IMPATIENT) as store:
            await store.save(parked(1), BODY)
            embedded.sql("insert into control values ('x', 'y')")
            embedded.sql("pragma wal_checkpoint(truncate)")
            shutil.copy(path, tmp_path / "good")
            with path.open("r+b") as file:
                file.write(b"\xff" * 100)
            await until(lambda: away(store))
            with path.open("r+b") as file:
                file.write((tmp_path / "good").read_bytes()[:100])

            await until(lambda: lands(store, parked(2, task=8)))
            assert await store.body(parked(1).id) == BODY

    async def away(store: Journal) -> bool:
        try:
            await store.reap()
        except JournalAway:
            return True
        return False

    asyncio.run(scene())
    assert "the journal is back" in caplog.text


def test_an_owner_that_cannot_sign_off_leaves_all_the_same(
    embedded: JournalMaker, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        store = embedded.make(IMPATIENT, claims_first=False)
        await store.open()
        with locked(embedded):
            store.note(make_entry(1, state="answered"), BODY)
            await store.close()
        async with embedded.open() as other:
            assert await other.find(make_entry(1).id) is None
            assert await other.reap() == []

    asyncio.run(scene())
    assert "1 entries could not be written before the end" in caplog.text
    assert "could not sign off" in caplog.text


def test_a_disk_that_hangs_does_not_keep_the_process(
    embedded: JournalMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "STOP_S", 0.0)
    back = threading.Event()

    async def scene() -> Journal:
        store = embedded.make(IMPATIENT)
        await store.open()
        with pytest.raises(JournalAway, match="no answer within"):
            await store._ask(lambda _connection: back.wait(20))  # type: ignore[attr-defined]
        await store.close()
        return store

    asyncio.run(scene())
    back.set()
    assert "the journal's disk does not answer; left as it is" in caplog.text


def test_who_asked_on_a_loop_that_has_ended_is_not_waited_for(embedded: JournalMaker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(_connection: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(20)

    async def first() -> Journal:
        store = embedded.make(msgspec.structs.replace(QUICK, commit_s=20.0))
        await store.open()
        asking = asyncio.create_task(store._ask(slowly))  # type: ignore[attr-defined]
        await asyncio.to_thread(begun.wait, 20)
        asking.cancel()
        return store

    async def second(store: Journal) -> None:
        assert await store.save(parked(1), BODY), "the thread that writes has gone on"
        await store.close()

    store = asyncio.run(first())
    go_on.set()
    asyncio.run(second(store))


def test_a_write_that_fails_takes_its_large_body_back(embedded: JournalMaker) -> None:
    async def scene() -> None:
        async with embedded.open() as store:
            await store.save(parked(1, task=1), b"a" * 9000)
            with pytest.raises(JournalAway):
                await store._ask(lambda c: spoil(c, store))  # type: ignore[attr-defined]
            await store.save(parked(2, task=2), b"b" * 9000)
            places = embedded.sql("select body_at from delivery order by task")
            assert [place.split(":")[-2] for (place,) in places] == ["0", "9000"]
            assert await store.body(parked(2, task=2).id) == b"b" * 9000

    def spoil(connection: sqlite3.Connection, store: Any) -> None:
        store._transactions.bodies.append(b"x" * 9000)
        connection.execute("select * from nowhere")

    asyncio.run(scene())


def test_bodies_of_one_transaction_are_written_together_and_can_be_read_in_it(embedded: JournalMaker) -> None:
    sent = {parked(number, task=number).id: b"%d" % number * 5000 for number in range(1, 301)}

    def work(connection: sqlite3.Connection, store: Any) -> list[bytes | None]:
        written = store._transactions
        for number, body in enumerate(sent.values(), 1):
            assert written.write_one(connection, parked(number, task=number), body)
        return [written.body(connection, key) for key in sent]

    async def scene() -> None:
        async with embedded.open() as store:
            assert await store._ask(lambda c: work(c, store)) == list(sent.values())  # type: ignore[attr-defined]
            assert [await store.body(key) for key in sent] == list(sent.values())

    asyncio.run(scene())


def test_bodies_whose_file_is_gone_are_none(embedded: JournalMaker) -> None:
    async def scene() -> None:
        async with embedded.open() as store:
            done = answered(make_entry(1, created=make_entry(1).created - 8 * DAY))
            await store.save(done, b"z" * 9000)
            for file in (embedded.folder / "bodies").iterdir():
                file.unlink()
            assert await store.body(done.id) is None
            assert await store.retain({}) == 1, "what is gone need not be wiped"

    asyncio.run(scene())


def test_a_segment_without_bodies_is_not_left_behind(embedded: JournalMaker) -> None:
    embedded.folder.mkdir(mode=0o700)
    made = BodyFiles(embedded.folder, "host:1:abc")
    mark = made.mark()
    made.append(b"z" * 9000)
    made.rewind(mark)
    assert made.names() == ["host:1:abc.000000"], "another segment than at the mark: nothing to go back to"
    mark = made.mark()
    made.append(b"y" * 9000)
    made.rewind(mark)
    made.close()
    assert (embedded.folder / "bodies" / "host:1:abc.000000").stat().st_size == 9000
    empty = BodyFiles(embedded.folder, "host:2:abc")
    empty.append(b"")
    empty.close()
    assert made.names() == ["host:1:abc.000000"]
    empty.drop([BodyLocation("host:2:abc.000000", 0, 10)])


def test_written_bodies_leave_the_kernels_memory(embedded: JournalMaker) -> None:
    def cached(path: Path, begin: int = 0) -> int:
        """How many of the 16 places of a body are in memory."""
        with path.open("rb") as file:
            return sum(is_there(file.fileno(), begin + at) for at in range(0, 1 << 20, 1 << 16))

    def is_there(file: int, at: int) -> bool:
        try:
            return os.preadv(file, [bytearray(64)], at, os.RWF_NOWAIT) == 64
        except BlockingIOError:
            return False

    embedded.folder.mkdir(mode=0o700)
    plain = embedded.folder / "plain"
    with plain.open("wb") as file:
        file.write(b"z" * (1 << 20))
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 1 << 20, os.POSIX_FADV_DONTNEED)
    few = max(cached(plain), 4)  # a file system in memory forgets nothing
    made = BodyFiles(embedded.folder, "host:1:abc")
    segment = embedded.folder / "bodies" / "host:1:abc.000000"
    made.append(b"y" * (1 << 20))
    made.write()
    assert cached(segment) == 16, "reading it back shows whether it was synced"
    made.sync()
    assert cached(segment) <= few
    mark = made.mark()
    made.append(b"w" * (1 << 20))
    made.sync()
    made.rewind(mark)  # its transaction failed after the sync
    assert made.append(b"v" * (1 << 20)).offset == 1 << 20
    made.sync()
    assert cached(segment, 1 << 20) <= few, "synced anew, although it is no further than before"
    made.append(b"u" * body_files.SEGMENT_BYTES)
    made.append(b"t" * (1 << 20))
    made.sync()
    assert cached(embedded.folder / "bodies" / "host:1:abc.000002") <= few, "a new segment begins at nothing"
    made.close()


def test_a_disk_without_room_for_a_segment_is_told_and_leaves_no_file(
    embedded: JournalMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_files, "SEGMENT_BYTES", 1 << 60)
    embedded.folder.mkdir(mode=0o700)
    made = BodyFiles(embedded.folder, "host:1:abc")
    with pytest.raises(OSError, match=r"space|large|Invalid"):
        made.append(b"z" * 9000)
    assert made.names() == []


def test_a_frozen_holder_of_the_lock_is_not_waited_for_for_ever(embedded: JournalMaker) -> None:
    async def scene() -> None:
        store = embedded.make(IMPATIENT)
        await store.open()
        lock = os.open(embedded.folder / "journal.lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(JournalAway):
            await store.save(parked(1), BODY)
        await store.close()
        os.close(lock)
        async with embedded.open() as other:
            assert await other.save(parked(1), BODY)

    asyncio.run(scene())


def test_an_older_sqlite_is_refused(embedded: JournalMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 0))
    database = WritingConnection(embedded.folder, embedded.clock, 1.0)
    with pytest.raises(JournalError, match=r"too old for the journal; 3\.35"):
        database.open(make=True)
    database.close()


def test_what_was_claimed_meanwhile_is_not_given_back(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(1), BODY)
        await store._ask(  # type: ignore[attr-defined]
            lambda c: maintenance.give_back(c, store.owner, {mine.id: mine.fence - 1, "gone": 1}, (0.0, QUICK))
        )
        assert await store.find(mine.id) == mine

    embedded.run(work)


def test_a_machine_without_a_boot_id_and_a_folder_that_is_gone_have_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bothost.journal import owner_locks

    assert place_id(tmp_path / "none") == f"{boot_id()}:none"
    monkeypatch.setattr(owner_locks, "_BOOT_ID", tmp_path / "none")
    assert boot_id() == "unknown"
