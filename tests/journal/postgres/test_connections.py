"""Connections to the shared journal that break, are ended or are cancelled: each is away, dropped, and never shared."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import asyncpg
import pytest
from tests.journal.journals import BODY, JournalMaker, make_entry, parked, until

from bothost.errors import JournalAway, TurnTaken
from bothost.journal.postgres.pool import MOST
from bothost.journal.postgres.session import DatabaseAddress, Session

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres_server import PostgresServer

    from bothost.journal import Journal

pytestmark = pytest.mark.full


@pytest.fixture
def shared(postgres: PostgresServer, tmp_path: Path) -> JournalMaker:
    return JournalMaker(tmp_path / "state", postgres.new_database())


async def busy(store: Journal, number: int, seed: random.Random, faults: list[BaseException]) -> None:
    """Ask the journal for one thing after the other; some of the questions are given up in the middle."""
    while True:
        asked = seed.choice(
            (
                lambda: store.claim(make_entry(number, task=number), BODY),
                lambda: store.due({"refunds": 1}, 1),
                lambda: store.save(parked(number, task=number), BODY),
                lambda: store.reap(),
                lambda: store.quiet(),
                lambda: store.controls(),
            )
        )
        try:
            async with asyncio.timeout(seed.choice((0.001, 0.004, 60.0))):
                await asked()
        except (JournalAway, TimeoutError):
            await asyncio.sleep(0.01)
        except Exception as error:  # what this test is about: nothing else may come out
            faults.append(error)
            return


@pytest.mark.parametrize("how", ["fast", "immediate", "terminate"])
def test_whatever_ends_the_connections_the_journal_is_away_and_heals(
    shared: JournalMaker, postgres: PostgresServer, how: str
) -> None:
    ended = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"

    async def work(store: Journal) -> None:
        faults: list[BaseException] = []
        tasks = [asyncio.create_task(busy(store, number, random.Random(number), faults)) for number in range(1, 30)]
        for _ in range(2):
            await asyncio.sleep(0.4)
            if how == "terminate":
                await asyncio.to_thread(postgres.psql, shared.url, ended)
            else:
                await asyncio.to_thread(postgres.stop, fast=how == "fast")
                await asyncio.to_thread(postgres.start)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert faults == []
        _, mine = await until(lambda: claimed(store))
        assert await store.find(mine.id) == mine
        assert not store.loops.restarts

    shared.run(work)


async def claimed(store: Journal) -> object:
    try:
        return await store.claim(make_entry(1, bot="other", task=1), BODY)
    except JournalAway:
        return None


def test_a_connection_that_was_cancelled_in_the_middle_is_not_used_again(shared: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        pool = store._pool  # type: ignore[attr-defined]
        for _ in range(3 * MOST):
            asking = asyncio.ensure_future(pool.fetch("select 'slow' from pg_sleep(5)"))
            await asyncio.sleep(0.02)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert [row[0] for row in await pool.fetch("select 'mine'")] == ["mine"]

    shared.run(work)


def test_a_statement_that_takes_too_long_is_given_up_by_the_server_too(shared: JournalMaker) -> None:
    """So that it does not land when nobody waits for it any more: behind the lock of a table, for instance."""

    async def scene() -> None:
        other = await asyncpg.connect(shared.url)
        async with shared.open() as store:
            transaction = other.transaction()
            await transaction.start()
            await other.execute("lock table bothost.delivery in access exclusive mode")
            with pytest.raises(JournalAway):
                await store.save(parked(1), BODY)
            await transaction.rollback()
            await store.save(parked(2, task=8), BODY)
            assert await store.find(parked(1).id) is None
        await other.close()

    asyncio.run(scene())


def test_whatever_the_driver_raises_breaks_its_connection_and_a_taken_turn_does_not(shared: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        address = DatabaseAddress(shared.url, 5.0)
        session = await address.connect()
        await session.execute("create temporary table one (id int primary key)")
        for _ in range(2):
            with pytest.raises(TurnTaken):
                async with session.transaction():
                    await session.execute("insert into one values (1), (1)")
        assert not session.broken
        two = asyncio.gather(session.fetch("select pg_sleep(0.2)"), session.fetch("select 1"), return_exceptions=True)
        assert any(isinstance(error, JournalAway) for error in await two)
        assert session.broken
        session.terminate()
        session = await address.connect()
        with pytest.raises(JournalAway):
            await session.fetch("select $1::int", "no number")
        assert session.broken
        session.terminate()

    shared.run(work)


def test_a_transaction_left_open_is_no_connection_for_the_next(shared: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        session: Session = await DatabaseAddress(shared.url, 5.0).connect()
        with pytest.raises(KeyError):
            async with session.transaction():
                raise KeyError("ours")
        assert not session.broken
        await session.execute("begin")
        assert session.broken
        session.terminate()

    shared.run(work)
