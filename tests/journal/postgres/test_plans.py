"""Claims stay quick where their plan was made while the table was empty, as it is on a new database and after a quiet night."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.journal.journals import BODY, PATIENT, JournalMaker, parked

from bothost.journal.postgres import statements as sql

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres_server import PostgresServer

    from bothost.journal import Journal

pytestmark = pytest.mark.full

WAITING = 1500
READ = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables"
LATER_FIRST = """
update bothost.delivery set due = due - 5 where id in (select id from bothost.delivery where turn <> '7' order by created desc limit 195)
"""


@pytest.mark.parametrize("statement", [sql.HEADS, sql.TURNS], ids=["heads", "turns"])
@pytest.mark.parametrize("before", [[], ["analyze bothost.delivery"]], ids=["a new database", "an analyzed one"])
def test_a_claim_among_many_that_wait_for_others_reads_few_rows(
    postgres: PostgresServer, tmp_path: Path, before: list[str], statement: str
) -> None:
    async def claim(store: Any) -> tuple[int, int]:
        async with store._pool.transaction() as session:
            rows = await session.fetch(statement, store.owner, store.now(), ["refunds"], [20], 20)
            return len(rows), int(await session.fetchval(READ))

    async def work(store: Journal) -> None:
        await asyncio.to_thread(journal.sql, *before, "select 1")
        assert (await claim(store))[0] == 0
        for number in range(WAITING):
            await store.save(parked(number, task=number % 50), BODY)
        await asyncio.to_thread(journal.sql, LATER_FIRST)
        claimed, read = await claim(store)
        assert claimed == 20 if statement == sql.TURNS else claimed >= 5
        assert read < 100 * WAITING

    journal = JournalMaker(tmp_path / "state", postgres.new_database())
    journal.run(work, PATIENT)
