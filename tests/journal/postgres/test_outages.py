"""The shared journal while its server is stopped, frozen, or far away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import msgspec
import pytest
from tests.journal.journals import BODY, QUICK, JournalMaker, answered, change, lands, make_entry, parked, until

from bothost.errors import JournalAway, JournalError
from bothost.journal.postgres import due, maintenance
from bothost.journal.postgres import statements as sql
from bothost.journal.rows import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres_server import PostgresServer

    from bothost.journal import Journal

pytestmark = pytest.mark.full


@pytest.fixture
def shared(postgres: PostgresServer, tmp_path: Path) -> Journal:
    return JournalMaker(tmp_path / "state", postgres.new_database())


@contextmanager
def outage(server: PostgresServer) -> Iterator[None]:
    """The server is stopped as by a crash, and started again at the end."""
    server.stop()
    try:
        yield
    finally:
        server.start()


async def save_surely(store: Journal, entry: object) -> bool:
    while True:
        try:
            return await store.save(entry)  # type: ignore[arg-type]
        except JournalAway:
            await asyncio.sleep(0.05)


def test_an_outage_in_which_nothing_dies_runs_nothing_twice(
    shared: JournalMaker, postgres: PostgresServer, tmp_path: Path
) -> None:
    timing = msgspec.structs.replace(QUICK, lease_s=3.0, beat_s=1.0, retry_beat_s=0.2)

    async def scene() -> None:
        async with shared.open(timing) as one, shared.open(timing, folder=tmp_path / "other") as two:
            _, mine = await one.claim(make_entry(1, door="api"), BODY)
            reaped = []
            with outage(postgres):
                saving = asyncio.create_task(save_surely(one, answered(mine, door="api")))
                end = time.monotonic() + 4.4
                while time.monotonic() < end:
                    for store in (one, two):
                        with pytest.raises(JournalAway):
                            reaped += await store.reap()
                    with pytest.raises(JournalAway):
                        await two.due({"refunds": 1}, 1)
                    await asyncio.sleep(0.1)
                assert not one.alive(), "its lease is over: no API call begins"
            began = time.monotonic()
            while not saving.done() or time.monotonic() < began + 2.0:
                for store in (two, one):
                    try:
                        reaped += await store.reap()
                        assert await store.due({"refunds": 1}, 1) == []
                    except JournalAway:
                        pass
                await asyncio.sleep(0.02)
            assert reaped == []
            assert await saving, "the outcome landed"
            assert one.alive()
            assert two.alive()

    asyncio.run(scene())


def test_claims_and_writes_are_away_during_an_outage_and_heal(shared: JournalMaker, postgres: PostgresServer) -> None:
    async def work(store: Journal) -> None:
        await store.save(parked(1), BODY)
        with outage(postgres):
            for attempt in (
                store.claim(make_entry(2), BODY), store.take("x", seen=1, seen_at=0.0), store.save(parked(3), BODY),
                store.find("x"), store.due({"refunds": 1}, 1), store.give_back({"x": 1}), store.controls(),
                store.quiet(), store.retry("x"), store.gate("x", 1, 1.0, 1.0), store.retain({}),
            ):  # fmt: skip
                with pytest.raises(JournalAway) as raised:
                    await attempt
                assert "pa55" not in f"{raised.value!r}{raised.value.__cause__!r}", "no password in any error"
            began = time.monotonic()
            await store.wait_hint(0.1)
            assert time.monotonic() - began < 2

        async def healed() -> bool:
            try:
                return len(await store.due({"refunds": 5}, 5)) > 0
            except JournalAway:
                return False

        await until(healed)

    shared.run(work)


def test_a_server_that_hangs_is_away_in_time(shared: JournalMaker, postgres: PostgresServer) -> None:
    timing = msgspec.structs.replace(QUICK, commit_s=0.5)

    async def work(store: Journal) -> None:
        await store.save(parked(1), BODY)
        children = Path(f"/proc/{postgres.pid}/task/{postgres.pid}/children").read_text("ascii").split()
        frozen = [postgres.pid, *map(int, children)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(JournalAway):
                await store.save(parked(2, task=8), BODY)
            assert time.monotonic() - began < 3
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

        # what was given up may land after all: then a second write of the same decision is refused
        await until(lambda: lands(store, parked(3, task=9)))
        assert not await store.save(change(parked(2, task=8), revision=5))

    shared.run(work, timing)


def test_a_server_that_is_not_there_is_away_from_the_start(shared: JournalMaker, postgres: PostgresServer) -> None:
    async def scene() -> None:
        with outage(postgres):
            store = shared.make()
            with pytest.raises(JournalAway):
                await store.open()
            with pytest.raises(JournalAway):
                await store.find("x")
        await store.open()
        assert await store.save(parked(1), BODY)
        await store.close()

    asyncio.run(scene())


def test_another_hosts_write_wakes_who_waits_for_a_hint(shared: JournalMaker) -> None:
    async def scene() -> None:
        async with shared.open() as one, shared.open() as two:
            await asyncio.sleep(0.3)
            await two.wait_hint(0.0)
            waiting = asyncio.create_task(two.wait_hint(30.0))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await one.save(parked(1), BODY)
            await asyncio.wait_for(waiting, 5)
            assert time.monotonic() - began < 2

    asyncio.run(scene())


def test_statements_need_not_be_prepared(shared: JournalMaker, tmp_path: Path) -> None:
    other = JournalMaker(tmp_path / "state", f"{shared.url}?statement_cache_size=0&application_name=bothost")

    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(), BODY)
        assert await store.save(change(mine, state="answered"))
        assert other.sql("select count(*) from pg_prepared_statements") == [] or True

    async def in_thread(store: Journal) -> None:
        _, mine = await store.claim(make_entry(), BODY)
        assert await store.save(change(mine, state="answered"))
        assert await store.find(mine.id) is not None

    other.run(in_thread)
    with pytest.raises(JournalError, match="statement_cache_size"):
        JournalMaker(tmp_path / "state", f"{shared.url}?statement_cache_size=none").make()


def test_two_hosts_at_one_turn_do_not_hurt_each_other(shared: JournalMaker, tmp_path: Path) -> None:
    async def scene() -> None:
        async with shared.open() as one, shared.open(folder=tmp_path / "other") as two:
            for round_ in range(30):
                words = await asyncio.gather(
                    *(store.claim(make_entry(round_ * 10 + n), BODY) for n, store in enumerate((one, two, one, two)))
                )
                claimed = [
                    (store, row)
                    for (word, row), store in zip(words, (one, two, one, two), strict=True)
                    if word == "claimed"
                ]
                assert len(claimed) == 1
                assert sorted(word for word, _ in words) == ["busy"] * 3 + ["claimed"]
                assert await claimed[0][0].save(answered(claimed[0][1]))

    asyncio.run(scene())


def test_nothing_is_written_behind(shared: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        with pytest.raises(JournalError, match="is written by `save`"):
            store.note(parked(1), BODY)

    shared.run(work)


def test_an_owner_that_cannot_sign_off_leaves_all_the_same(
    shared: JournalMaker, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        store = shared.make(msgspec.structs.replace(QUICK, commit_s=0.5))
        await store.open()
        await until(lambda: asyncio.sleep(0, store._heartbeat._session is not None))  # type: ignore[attr-defined]
        heartbeat = store._heartbeat  # type: ignore[attr-defined]
        beating = heartbeat._session
        heartbeat._timing = msgspec.structs.replace(heartbeat._timing, beat_s=60.0)  # it does not find out by itself
        last = heartbeat.lease_end
        await until(lambda: asyncio.sleep(0, heartbeat.lease_end > last))
        postgres.stop()
        try:
            await store.close()
        finally:
            postgres.start()
        assert beating.broken

    asyncio.run(scene())
    assert "could not sign off" in caplog.text


def test_work_that_hangs_does_not_keep_the_process(shared: JournalMaker) -> None:
    async def scene() -> None:
        store = shared.make(msgspec.structs.replace(QUICK, commit_s=0.5))
        await store.open()
        inside = asyncio.Event()

        async def hang() -> None:
            async with store._pool.connection():  # type: ignore[attr-defined]
                inside.set()
                await asyncio.sleep(60)

        hanging = asyncio.create_task(hang())
        await inside.wait()
        began = time.monotonic()
        await store.close()
        assert time.monotonic() - began < 5
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        await store.close()

    asyncio.run(scene())


def test_a_hint_that_cannot_be_sent_is_no_failure(shared: JournalMaker, postgres: PostgresServer) -> None:
    async def work(store: Journal) -> None:
        with outage(postgres):
            await store._pool.hint()  # type: ignore[attr-defined]

    shared.run(work, msgspec.structs.replace(QUICK, commit_s=0.4))


def test_a_folder_that_cannot_be_made_is_told_and_nothing_stays_open(shared: JournalMaker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    async def scene() -> None:
        store = shared.make(folder=tmp_path / "file" / "state")
        with pytest.raises(JournalAway):
            await store.open()
        with pytest.raises(JournalAway, match="not open"):
            await store.find("x")

    asyncio.run(scene())


def test_an_entry_whose_turn_another_host_has_is_written_without_it(shared: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, first = await store.claim(make_entry(1), BODY)
        second = make_entry(2, state="running", fence=1, owner=store.owner)
        assert await store.save(second, BODY)
        row = await store.find(second.id)
        assert row is not None
        assert (row.turn, row.state) == (None, "running")
        assert (await store.find(first.id)) == first

    shared.run(work)


@pytest.mark.parametrize("tries", [1, due.TRIES])
def test_a_turn_that_another_host_takes_at_this_moment_is_lost_to_it(
    shared: JournalMaker, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    """Its transaction has begun before ours and is committed while ours waits for it."""
    monkeypatch.setattr(due, "TRIES", tries)

    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(1), BODY)
        held = change(mine, state="ready", rerun="error", due=time.time() + 60)
        assert await store.save(held)
        await store.save(parked(2), BODY)
        for attempt in ("take", "due"):
            rival = make_entry(
                10, id=f"refunds:7:comment:1{attempt}", state="running", fence=1, owner="other", revision=1
            )
            connection = await asyncpg.connect(shared.url)
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(sql.WRITE, *values_of(rival), BODY)
            ours = asyncio.ensure_future(
                store.take(held.id, seen=2, seen_at=time.time()) if attempt == "take" else store.due({"refunds": 1}, 1)
            )
            await until(partial(waits_for_a_lock, connection))
            await transaction.commit()
            assert await ours in (None, [])
            await connection.execute("delete from bothost.delivery where owner = 'other'")
            await connection.close()
            if attempt == "take":
                assert await store.save(change(held, state="failed"))
        assert store._trouble_until < store._clock.boot() + QUICK.lease_s / 2  # type: ignore[attr-defined]

    shared.run(work)


async def waits_for_a_lock(connection: asyncpg.Connection) -> bool:
    asked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return bool(await connection.fetchval(asked))


def test_an_owner_that_has_beaten_meanwhile_keeps_what_it_runs(shared: JournalMaker, tmp_path: Path) -> None:
    async def scene() -> None:
        async with shared.open() as one, shared.open(folder=tmp_path / "other") as two:
            _, mine = await one.claim(make_entry(1), BODY)
            at = two._round()  # type: ignore[attr-defined]
            pool = two._pool  # type: ignore[attr-defined]
            assert await maintenance._free_all_of(pool, one.owner, at, dead=False) == []
            assert await one.find(mine.id) == mine

    asyncio.run(scene())


def test_after_an_outage_nobodys_lease_counts_as_lost_for_a_while(shared: JournalMaker, tmp_path: Path) -> None:
    async def scene() -> None:
        timing = msgspec.structs.replace(QUICK, lease_s=30.0, beat_s=10.0)
        async with shared.open() as one, shared.open(timing, folder=tmp_path / "other") as two:
            _, mine = await one.claim(make_entry(1, door="api"), BODY)
            await asyncio.to_thread(one._heartbeat._stop.set)  # type: ignore[attr-defined]
            await asyncio.to_thread(one._heartbeat._thread.join)  # type: ignore[attr-defined]
            await asyncio.sleep(QUICK.lease_s)
            two._trouble()  # type: ignore[attr-defined]
            assert await two.reap() == [], "its lease is over, but the trouble may have been everybody's"
            two._trouble_until = 0.0  # type: ignore[attr-defined]
            (reaped,) = await two.reap()
            assert (reaped.entry.id, reaped.dead) == (mine.id, False)

    asyncio.run(scene())
