"""The shared journal while its server is stopped, frozen, or far away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.store.journals import BODY, QUICK, Journal, answered, change, make_entry, parked, until

from bothost.errors import StoreAway, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres_server import PostgresServer

    from bothost.store import Store

pytestmark = pytest.mark.full


@pytest.fixture
def shared(postgres: PostgresServer, tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state", postgres.new_database())


@contextmanager
def outage(server: PostgresServer) -> Iterator[None]:
    """The server is stopped as by a crash, and started again at the end."""
    server.stop()
    try:
        yield
    finally:
        server.start()


async def save_surely(store: Store, entry: object) -> bool:
    while True:
        try:
            return await store.save(entry)  # type: ignore[arg-type]
        except StoreAway:
            await asyncio.sleep(0.05)


def test_an_outage_in_which_nothing_dies_runs_nothing_twice(
    shared: Journal, postgres: PostgresServer, tmp_path: Path
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
                        with pytest.raises(StoreAway):
                            reaped += await store.reap()
                    with pytest.raises(StoreAway):
                        await two.due({"refunds": 1}, 1)
                    await asyncio.sleep(0.1)
                assert not one.alive(), "its lease is over: no API call begins"
            began = time.monotonic()
            while not saving.done() or time.monotonic() < began + 2.0:
                for store in (two, one):
                    try:
                        reaped += await store.reap()
                        assert await store.due({"refunds": 1}, 1) == []
                    except StoreAway:
                        pass
                await asyncio.sleep(0.02)
            assert reaped == []
            assert await saving, "the outcome landed"
            assert one.alive()
            assert two.alive()

    asyncio.run(scene())


def test_claims_and_writes_are_away_during_an_outage_and_heal(shared: Journal, postgres: PostgresServer) -> None:
    async def work(store: Store) -> None:
        await store.save(parked(1), BODY)
        with outage(postgres):
            for attempt in (
                store.claim(make_entry(2), BODY), store.take("x", seen=1, seen_at=0.0), store.save(parked(3), BODY),
                store.find("x"), store.due({"refunds": 1}, 1), store.acknowledge("x", seen=1, seen_at=0.0), store.controls(),
                store.quiet(), store.retry("x"), store.gate("x", 1, 1.0, 1.0), store.retain({}),
            ):  # fmt: skip
                with pytest.raises(StoreAway) as raised:
                    await attempt
                assert "pa55" not in f"{raised.value!r}{raised.value.__cause__!r}", "no password in any error"
            store.note(parked(4, task=8), BODY)
            began = time.monotonic()
            await store.wait_hint(0.1)
            assert time.monotonic() - began < 2

        async def healed() -> bool:
            try:
                return len(await store.due({"refunds": 5}, 5)) > 0
            except StoreAway:
                return False

        await until(healed)
        await until(lambda: store.find(parked(4, task=8).id))

    shared.run(work)


def test_a_server_that_hangs_is_away_in_time(shared: Journal, postgres: PostgresServer) -> None:
    timing = msgspec.structs.replace(QUICK, commit_s=0.5)

    async def work(store: Store) -> None:
        await store.save(parked(1), BODY)
        children = Path(f"/proc/{postgres.pid}/task/{postgres.pid}/children").read_text("ascii").split()
        frozen = [postgres.pid, *map(int, children)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(StoreAway):
                await store.save(parked(2, task=8), BODY)
            assert time.monotonic() - began < 3
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

        async def healed() -> bool:
            try:
                return await store.save(parked(2, task=8), BODY)
            except StoreAway:
                return False

        await until(healed)

    shared.run(work, timing)


def test_a_server_that_is_not_there_is_away_from_the_start(shared: Journal, postgres: PostgresServer) -> None:
    async def scene() -> None:
        with outage(postgres):
            store = shared.make()
            with pytest.raises(StoreAway):
                await store.open()
            with pytest.raises(StoreAway):
                await store.find("x")
        await store.open()
        assert await store.save(parked(1), BODY)
        await store.close()

    asyncio.run(scene())


def test_another_hosts_write_wakes_who_waits_for_a_hint(shared: Journal) -> None:
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


def test_statements_need_not_be_prepared(shared: Journal, tmp_path: Path) -> None:
    other = Journal(tmp_path / "state", f"{shared.url}?statement_cache_size=0&application_name=bothost")

    async def work(store: Store) -> None:
        _, mine = await store.claim(make_entry(), BODY)
        assert await store.save(change(mine, state="answered"))
        assert other.sql("select count(*) from pg_prepared_statements") == [] or True

    async def in_thread(store: Store) -> None:
        _, mine = await store.claim(make_entry(), BODY)
        assert await store.save(change(mine, state="answered"))
        assert await store.find(mine.id) is not None

    other.run(in_thread)
    with pytest.raises(StoreError, match="statement_cache_size"):
        Journal(tmp_path / "state", f"{shared.url}?statement_cache_size=none").make()


def test_two_hosts_at_one_turn_do_not_hurt_each_other(shared: Journal, tmp_path: Path) -> None:
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
