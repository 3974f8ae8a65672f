"""Entries that wait in a slot: put once, replaced, taken out; jobs as both journals hold them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tests.journal.journals import JournalMaker, change, make_entry

from bothost.clock import SystemClock
from bothost.journal.data import AddJob, CancelJob, JournalData, ListJobs, job_key_of, job_name_of
from bothost.journal.entry import EntryFilter

if TYPE_CHECKING:
    from bothost.journal import Journal


def data(opened: Journal) -> JournalData:
    return JournalData(opened, "refunds", SystemClock(), 60.0)


def nudge(key: str = "a:b~c/Ж", *, in_s: float = -1.0, task: int = 7) -> AddJob:
    return AddJob("nudge", key, task, b"[1]", time.time() + in_s)


def test_an_entry_is_put_once(journal: JournalMaker) -> None:
    async def work(opened: Journal) -> None:
        entry = make_entry(1, state="ready", door="api", kind="request")
        assert (await opened.put(entry, b"first")).kind == "request"
        again = await opened.put(change(entry, task=9), b"second")
        assert again.task == 7
        assert await opened.body(entry.id) == b"first"

    journal.run(work)


def test_many_that_put_one_entry_at_once_put_it_once(journal: JournalMaker) -> None:
    async def work(opened: Journal) -> None:
        entry = make_entry(1, state="ready", door="api", kind="request")
        async with journal.open() as other:
            puts = [one.put(entry, b"%d" % n) for n, one in enumerate([opened, other] * 10)]
            assert len({row.id for row in await asyncio.gather(*puts)}) == 1
        assert len(await opened.list(EntryFilter())) == 1

    journal.run(work)


def test_a_job_is_replaced_by_its_key_and_one_that_ran_is_cancelled(journal: JournalMaker) -> None:
    async def work(opened: Journal) -> None:
        jobs = data(opened)
        first = await jobs.ask("", nudge())
        assert (job_key_of(first), job_name_of(first)) == ("a:b~c/Ж", "nudge")
        second = await jobs.ask("", nudge(task=8))
        assert await opened.find(first) is None
        await jobs.ask("", nudge("other"))
        (row,) = [row for row in await opened.due({"refunds": 9}, 9) if row.id == second]
        await opened.save(change(row, state="ready", runs=1, due=time.time() + 60))
        third = await jobs.ask("", nudge())
        failed = await opened.find(second)
        assert failed is not None
        assert (failed.state, failed.error) == ("cancelled", "replaced or cancelled by the plugin")
        assert await jobs.ask("", CancelJob("a:b~c/Ж")) is True
        assert await opened.find(third) is None
        assert await jobs.ask("", CancelJob("a:b~c/Ж")) is False

    journal.run(work)


def test_a_running_job_is_not_replaced(journal: JournalMaker) -> None:
    async def work(opened: Journal) -> None:
        jobs = data(opened)
        first = await jobs.ask("", nudge())
        (running,) = await opened.due({"refunds": 9}, 9)
        assert await opened.body(running.id) == b"[1]"
        assert await jobs.ask("", CancelJob("a:b~c/Ж")) is False
        second = await jobs.ask("", nudge(in_s=3600))
        assert second != first
        still = await opened.find(first)
        assert still is not None
        assert still.state == "running"

    journal.run(work)


def test_a_job_runs_when_it_is_due_and_not_before(journal: JournalMaker) -> None:
    async def work(opened: Journal) -> None:
        jobs = data(opened)
        await jobs.ask("", nudge(in_s=40 * 86400))
        due = await jobs.ask("", nudge("now"))
        assert await opened.quiet() == []
        assert dict(await opened.waiting()) == {"refunds": 1}
        assert [row.id for row in await opened.due({"refunds": 9}, 9)] == [due]
        assert [row.due > time.time() for row in await jobs.ask("", ListJobs())] == [True]
        assert await opened.recent(time.time() - 600) == [], "no delivery brings a job again, so none need be in memory"

    journal.run(work)


def test_waiting_jobs_are_listed_over_many_pages(journal: JournalMaker) -> None:
    async def work(opened: Journal) -> None:
        jobs = data(opened)
        for number in range(250):
            await jobs.ask("", nudge(f"k{number}", in_s=1000 + number // 10))
        found: list[Any] = []
        before = None
        while page := await jobs.ask("", ListJobs(before)):
            found += page
            before = (page[-1].due, page[-1].id)
        assert sorted(job_key_of(row.id) for row in found) == sorted(f"k{number}" for number in range(250))

    journal.run(work)


def test_the_step_of_a_task_is_not_that_of_its_jobs(journal: JournalMaker) -> None:
    async def work(opened: Journal) -> None:
        await opened.claim(make_entry(1, step=3, turn=None), b"{}")
        await data(opened).ask("", nudge())
        await opened.due({"refunds": 9}, 9)
        assert await opened.last_step("refunds", 7) == 3
        assert len(await opened.list(EntryFilter(bot="refunds", task=7))) == 2

    journal.run(work)
