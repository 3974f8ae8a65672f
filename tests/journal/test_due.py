"""What is due: order, turns, room, posts, and events that were in flight at a death."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.journal.journals import BEGAN, BODY, answered, change, make_entry, parked

if TYPE_CHECKING:
    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal


def test_parked_events_of_a_task_run_one_by_one_in_the_order_they_came(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        for number in (3, 1, 2):
            await store.save(parked(number, due=time.time() - number), BODY)
        order = []
        while rows := await store.due({"refunds": 5}, 5):
            (row,) = rows
            assert (row.state, row.fence, row.owner) == ("running", 1, store.owner)
            order.append(row.comment)
            await store.save(answered(row))
        assert order == [1, 2, 3]

    journal.run(work)


def test_the_oldest_go_first_and_no_bot_gets_more_than_its_room(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        now = time.time()
        for number in range(6):
            await store.save(parked(number, task=number + 1, due=now - 60 + number), BODY)
        await store.save(parked(9, bot="other", due=now - 1), BODY)
        await store.save(parked(9, bot="gone", due=now - 1), BODY)
        rows = await store.due({"refunds": 4, "other": 4}, 100)
        assert sorted((row.bot, row.comment) for row in rows) == [
            ("other", 9), ("refunds", 0), ("refunds", 1), ("refunds", 2), ("refunds", 3)
        ]  # fmt: skip
        assert await store.due({"refunds": 0, "other": 3}, 100) == []
        assert [row.comment for row in await store.due({"refunds": 4}, 1)] == [4]

    journal.run(work)


def test_a_limit_is_shared_among_bots(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        for number in range(20):
            await store.save(parked(number, task=number + 1, due=100.0), BODY)
            await store.save(parked(number, bot="other", task=number + 1, due=200.0), BODY)
        rows = await store.due({"refunds": 20, "other": 20}, 10)
        assert [sum(row.bot == bot for row in rows) for bot in ("refunds", "other")] == [5, 5]

    journal.run(work)


def test_what_is_not_due_yet_stays_and_keeps_its_place_in_line(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        await store.save(parked(1, due=time.time() + 3600), BODY)
        await store.save(parked(2), BODY)
        assert await store.due({"refunds": 5}, 5) == [], "the younger one waits behind the older one"
        assert await store.waiting() == {"refunds": 1}

    journal.run(work)


def test_a_busy_task_does_not_hide_the_others(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        await asyncio.gather(*(store.save(parked(number, due=10.0 + number), BODY) for number in range(300)))
        await store.save(parked(900, task=8, due=5000.0), BODY)
        await store.save(parked(901, task=9, turn=None, due=6000.0), BODY)
        (first,) = await store.due({"refunds": 1}, 5)
        assert first.comment == 0
        assert sorted(row.comment for row in await store.due({"refunds": 5}, 5)) == [900, 901]

    journal.run(work)


def test_replies_are_handed_out_without_room_one_a_task_in_order(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        for number in (2, 1):
            await store.save(parked(number, answer=b'{"text":"x"}', due=time.time() - number, tries=1), BODY)
        await store.save(parked(3, task=8, answer=b'{"text":"x"}', tries=1), BODY)
        await store.save(parked(4, bot="gone", answer=b'{"text":"x"}', tries=1), BODY)
        assert await store.waiting() == {"refunds": 3, "gone": 1}
        rows = await store.due({"refunds": 0}, 100)
        assert sorted(row.comment for row in rows) == [1, 3]
        assert all(row.state == "running" and row.answer is not None and row.fence == 1 for row in rows)
        assert await store.due({"refunds": 0}, 100) == [], "the second post of a task waits for the first"
        first = next(row for row in rows if row.comment == 1)
        await store.save(change(first, state="ready", due=time.time() + 300, tries=2))
        assert await store.due({"refunds": 0}, 100) == [], "also while the first is to be tried again"
        row = await store.find(first.id)
        assert row is not None
        await store.save(change(row, state="failed"))
        assert [row.comment for row in await store.due({"refunds": 0}, 100)] == [2]

    journal.run(work)


def test_a_first_post_waits_for_the_turn(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, running = await store.claim(make_entry(2), BODY)
        await store.save(parked(1, answer=b'{"text":"x"}'), BODY)
        assert await store.due({"refunds": 0}, 5) == []
        await store.save(answered(running))
        assert [row.comment for row in await store.due({"refunds": 0}, 5)] == [1]

    journal.run(work)


def test_events_in_flight_at_a_death_run_one_by_one(journal: JournalMaker) -> None:
    async def both() -> None:
        async with journal.open() as one, journal.open() as two:
            for number in range(1, 5):
                await one.save(parked(number, task=number, deaths=1, rerun="crash"), BODY)
            await one.save(parked(8, task=8, deaths=1, rerun="manual"), BODY)
            await one.save(parked(9, task=9), BODY)
            rows = await one.due({"refunds": 9}, 9)
            assert sorted(row.comment for row in rows) == [1, 8, 9]
            assert await one.due({"refunds": 9}, 9) == []
            assert [row.comment for row in await two.due({"refunds": 9}, 9)] == [2], "each owner runs one of them"
            await one.save(answered(next(row for row in rows if row.comment == 1)))
            assert [row.comment for row in await one.due({"refunds": 9}, 9)] == [3]

    asyncio.run(both())


def test_two_owners_never_claim_the_same_entry(journal: JournalMaker) -> None:
    async def both() -> None:
        async with journal.open() as one, journal.open() as two:
            await asyncio.gather(*(one.save(parked(number, task=number % 40), BODY) for number in range(200)))
            ran: list[int] = []
            turns: set[str | None] = set()

            async def run(store: Journal) -> None:
                idle = 0
                while idle < 20:
                    rows = await store.due({"refunds": 7}, 7)
                    idle = 0 if rows else idle + 1
                    for row in rows:
                        assert row.turn not in turns, "two of one task at once"
                        turns.add(row.turn)
                    await asyncio.sleep(0.001)
                    for row in rows:
                        ran.append(row.comment)
                        turns.discard(row.turn)
                        assert await store.save(answered(row))

            await asyncio.gather(run(one), run(two))
            assert sorted(ran) == list(range(200))
            for task in range(40):
                of_task = [number for number in ran if number % 40 == task]
                assert of_task == sorted(of_task), "in the order they came"

    asyncio.run(both())


def test_waiting_counts_what_is_due_by_bot(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        assert await store.waiting() == {}
        await store.save(parked(1), BODY)
        await store.save(parked(2, task=8), BODY)
        await store.save(parked(3, task=9, due=time.time() + 60), BODY)
        await store.save(parked(4, bot="other"), BODY)
        assert await store.waiting() == {"refunds": 2, "other": 1}

    journal.run(work)


def test_where_nothing_is_due_nobody_gets_anything(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        assert await store.due({"refunds": 3, "other": 3}, 5) == []
        await store.save(parked(1, bot="other"), BODY)
        (row,) = await store.due({"refunds": 3, "other": 3}, 5)
        assert row.bot == "other"
        assert await store.due({"refunds": 3, "other": 3}, 5) == []

    journal.run(work)


def test_two_bots_with_busy_tasks_both_get_at_what_stands_behind(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        for bot in ("refunds", "other"):
            _, busy = await store.claim(make_entry(1, bot=bot, door="api"), BODY)
            assert busy.state == "running"
            await asyncio.gather(
                *(store.save(parked(number, bot=bot, due=BEGAN - 100), BODY) for number in range(2, 120))
            )
            await store.save(parked(500, bot=bot, task=8), BODY)
        rows = await store.due({"refunds": 1, "other": 1}, 2)
        assert sorted((row.bot, row.task) for row in rows) == [("other", 8), ("refunds", 8)]

    journal.run(work)
