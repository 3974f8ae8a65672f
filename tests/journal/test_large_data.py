"""100,000 keys of a store and 100,000 waiting jobs: what deliveries and rounds ask of the journal costs what it cost before."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.journal.journals import BODY, answered, make_entry, parked

from bothost.journal.data import AddJob, AddValue, CancelJob, JournalData, ListValues, ReadValue, WriteValue
from bothost.journal.entry import EntryFilter
from bothost.journal.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal

pytestmark = pytest.mark.full

MANY = 100_000
STEPS = 100
"""SQLite tells of so many steps of its machine at a time."""
SERIES = f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {MANY})"
LATER = {
    "id": "'refunds:' || (task + i) || ':job::nudge:' || i",
    "task": "task + i",
    "due": "due + i",
    "created": "created + i",
}
JOBS = (
    f"{SERIES} insert into {{s}}delivery ({COLUMNS}, until, body) "
    f"select {', '.join(LATER.get(name, name) for name in COLUMNS.split(', '))}, 0, body "
    "from {s}delivery cross join n where kind = 'job'"
)
VALUES = (
    f"{SERIES} insert into {{s}}value (space, name, value, expires) "
    "select space, 'many:' || i, value, expires + i from {s}value cross join n where name = 'key'"
)
READ = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables"


async def begin(store: Journal, journal: JournalMaker) -> None:
    """Put the job and the value of which there will be many."""
    data = JournalData(store, "refunds", journal.clock)
    await data.ask("", AddJob("nudge", "", 7, b"null", time.time() + 3600))
    await data.ask("", WriteValue("key", b"1", 86400.0))


def deliver(journal: JournalMaker) -> Callable[[Journal], Any]:
    """Make everything that a delivery, a late reply, a plugin and the rounds of a host ask of the journal."""

    async def work(store: Journal) -> None:
        data = JournalData(store, "refunds", journal.clock)
        began = store.now()
        for number in range(20):
            entry = make_entry(number, state="running", owner=store.owner, fence=1, created=began, due=began)
            assert await store.latest(entry.id) is None
            assert await store.save(entry, BODY)
            assert await store.save(answered((await store.find(entry.id)) or entry))
            await store.save(parked(100 + number, task=number + 1, created=began, due=began), BODY)
            assert [row.comment for row in await store.due({"refunds": 5}, 5)] == [100 + number]
            await store.waiting()
            await store.last_step("refunds", 7)
            await store.written("refunds", 7)
            await store.list(EntryFilter(bot="refunds", task=7, states=("ready", "running")))
            await store.list(EntryFilter(bot="refunds", task=7, limit=200))
            await store.list(EntryFilter(bot="refunds", kind="timer", states=("ready", "running")))
            await data.ask("", AddValue("count", b"1"))
            await data.ask("", ReadValue("many:5"))
            await data.ask("", WriteValue("key", b"2"))
            await data.ask("", ListValues("none"))
            await data.ask("", AddJob("nudge", "k", 7, b"null", time.time() + 60))
            assert await data.ask("", CancelJob("k"))
        await store.reap()

    return work


def effort(journal: JournalMaker, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return how many steps or rows the work takes."""
    if journal.shared:
        ((before,),) = journal.sql("analyze", READ)
        journal.run(deliver(journal))
        time.sleep(1)
        ((after,),) = journal.sql(READ)
        return float(after - before)
    steps = 0

    def one() -> None:
        nonlocal steps
        steps += 1

    connect = sqlite3.connect

    def watched(*arguments: Any, **keys: Any) -> sqlite3.Connection:
        made = connect(*arguments, **keys)
        made.set_progress_handler(one, STEPS)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", watched)
        journal.run(deliver(journal))
    return steps * STEPS


def test_a_hundred_thousand_keys_and_jobs_cost_a_delivery_nothing(
    journal: JournalMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.run(lambda store: begin(store, journal))
    few = effort(journal, monkeypatch)
    journal.sql("delete from {s}delivery where kind <> 'job'", JOBS, VALUES)
    many = effort(journal, monkeypatch)
    print("rows" if journal.shared else "steps", few, many)
    assert many < few * 1.2
    recent = journal.run(lambda store: store.recent(store.now() - 600))
    assert {row.kind for row in recent} == {"hook"}, "a start loads no waiting job into memory"
