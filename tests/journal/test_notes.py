"""Writing behind: what is noted is there in order, once, under the fence; and what a claim costs that nobody heard of."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.journal.journals import BEGAN, BODY, QUICK, answered, change, make_entry, parked, until

from bothost.errors import JournalAway
from bothost.journal.entry import JournalTiming
from bothost.journal.sqlite.connection import path_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal

CALM = msgspec.structs.replace(QUICK, lease_s=600.0, beat_s=600.0)
SLOW = msgspec.structs.replace(QUICK, lease_s=600.0, beat_s=600.0, linger_s=0.2)


def run_behind(
    embedded: JournalMaker, work: Callable[[Journal], Awaitable[None]], timing: JournalTiming = QUICK
) -> None:
    async def scene() -> None:
        async with embedded.open(timing, claims_first=False) as store:
            await work(store)

    asyncio.run(scene())


def test_what_is_noted_is_found_at_once(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        mine = make_entry(state="running", fence=1, owner=store.owner)
        store.note(mine, BODY)
        assert await store.find(mine.id) == change(mine, revision=1)
        store.note(answered(mine))
        assert await store.find(mine.id) == answered(mine, revision=2)
        assert await store.body(mine.id) == BODY

    run_behind(embedded, work, SLOW)


def test_a_claim_and_its_outcome_are_one_insert(embedded: JournalMaker) -> None:
    written: list[str] = []

    async def work(store: Journal) -> None:
        store._writer._transactions.write_notes = _telling(store._writer._transactions.write_notes, written)  # type: ignore[attr-defined]
        for number in range(50):
            mine = make_entry(number, task=number, state="running", fence=1, owner=store.owner)
            store.note(mine, BODY)
            store.note(answered(mine))
        assert await store.find(make_entry(49, task=49).id) is not None
        assert written == ["answered"] * 50

    run_behind(embedded, work, SLOW)


def _telling(write: Callable[..., None], written: list[str]) -> Callable[..., None]:
    def tell(connection: sqlite3.Connection, notes: dict[str, tuple[str, tuple[object, ...], bytes | None]]) -> None:
        written.extend(str(values[3]) for _, values, _ in notes.values())
        write(connection, notes)

    return tell


def test_a_note_is_a_snapshot(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        mine = make_entry(state="running", fence=1, owner=store.owner)
        store.note(mine, BODY)
        mine.error = "changed afterwards"
        found = await store.find(mine.id)
        assert found is not None
        assert found.error == ""

    run_behind(embedded, work, SLOW)


def test_notes_are_written_soon_though_nobody_asks(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        store.note(make_entry(state="running", fence=1, owner=store.owner), BODY)

        async def is_there() -> bool:
            with sqlite3.connect(path_of(embedded.folder)) as other:
                found = other.execute("select count(*) from delivery").fetchone()[0]
            other.close()
            return bool(found)

        await until(is_there, 2)

    run_behind(embedded, work)


def test_a_newer_fence_replaces_and_an_older_one_changes_nothing(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        store.note(make_entry(state="running", fence=2, owner=store.owner), BODY)
        await store.find(make_entry().id)
        store.note(make_entry(state="failed", fence=1, owner=store.owner))
        found = await store.find(make_entry().id)
        assert found is not None
        assert (found.state, found.fence) == ("running", 2)
        store.note(make_entry(state="answered", fence=3, owner=store.owner))
        found = await store.find(make_entry().id)
        assert found is not None
        assert (found.state, found.fence) == ("answered", 3)

    run_behind(embedded, work)


def test_an_entry_moved_by_the_store_is_not_moved_back_by_a_late_note(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        held = make_entry(state="ready", rerun="error", error="boom", due=1.0, fence=1, owner=store.owner)
        store.note(held, BODY)
        (moved,) = await store.quiet()
        assert moved.state == "failed"
        store.note(change(held, seen=2))
        assert await store.find(held.id) == moved
        store.note(change(held, state="running", fence=2))
        found = await store.find(held.id)
        assert found is not None
        assert found.state == "running", "a claim goes before what the store did meanwhile"

    run_behind(embedded, work)


def test_a_turn_that_passes_on_within_one_batch_is_written_with_it(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        first = make_entry(1, state="running", fence=1, owner=store.owner)
        second = make_entry(2, state="running", fence=1, owner=store.owner)
        store.note(first, BODY)
        await store.find(first.id)
        store.note(second, BODY)
        store.note(answered(first))
        found = await store.find(second.id)
        assert found is not None
        assert found.turn == "7"

    run_behind(embedded, work, SLOW)


def test_a_note_whose_turn_another_holds_is_written_without_it(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        store.note(make_entry(1, state="running", fence=1, owner="somebody:else"), BODY)
        await store.find(make_entry(1).id)
        for number, size in ((2, 10), (3, 9000)):
            store.note(make_entry(number, state="running", fence=1, owner=store.owner), b"x" * size)
        store.note(make_entry(4, task=8, state="running", fence=1, owner=store.owner), BODY)
        found = [
            await store.find(make_entry(number, task=task).id) for number, task in ((1, 7), (2, 7), (3, 7), (4, 8))
        ]
        assert [entry and entry.turn for entry in found] == ["7", None, None, "8"]
        assert await store.body(make_entry(3).id) == b"x" * 9000

    run_behind(embedded, work, SLOW)


def test_a_save_overtakes_no_note_and_no_note_a_save(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        mine = make_entry(state="running", fence=1, owner=store.owner)
        store.note(mine, BODY)
        saving = asyncio.ensure_future(store.save(change(mine, door="api", error="saved")))
        await asyncio.sleep(0)
        store.note(change(mine, door="api", error="noted"))
        assert await saving
        found = await store.find(mine.id)
        assert found is not None
        assert found.error == "noted"

    run_behind(embedded, work, SLOW)


def test_a_note_does_not_take_an_operators_wish_back(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        mine = make_entry(state="running", fence=1, owner=store.owner)
        store.note(mine, BODY)
        assert (await store.cancel(mine.id)).cancel
        store.note(change(mine, door="api"))
        found = await store.find(mine.id)
        assert found is not None
        assert found.cancel
        await until(lambda: asyncio.sleep(0, store.cancelled() == {mine.id}))
        store.note(change(mine, fence=2))
        found = await store.find(mine.id)
        assert found is not None
        assert not found.cancel, "the wish was about the run before"

    run_behind(embedded, work)


def test_what_runs_again_although_an_operator_cancelled_it_is_asked_to_end(embedded: JournalMaker) -> None:
    """Its owner had it in line, and had not heard of it yet."""

    async def work(store: Journal) -> None:
        held = make_entry(state="ready", rerun="error", due=BEGAN + 240, fence=1, owner=store.owner)
        await store.save(held, BODY)
        assert (await store.cancel(held.id)).state == "cancelled"
        assert await store.save(change(held, state="running", fence=2))
        found = await store.find(held.id)
        assert found is not None
        assert (found.state, found.cancel) == ("running", True)
        await until(lambda: asyncio.sleep(0, store.cancelled() == {held.id}))

    run_behind(embedded, work)


def test_what_cannot_be_written_costs_a_bounded_amount_of_memory(embedded: JournalMaker) -> None:
    megabyte = b"m" * (1 << 20)

    async def work(store: Journal) -> None:
        other = sqlite3.connect(path_of(embedded.folder), isolation_level=None)
        other.execute("begin exclusive")
        store.note(make_entry(1000, task=1000, state="running", fence=1, owner=store.owner))
        for number in range(90):
            store.note(make_entry(number, task=number, state="running", fence=1, owner=store.owner), megabyte)
        writer = store._writer  # type: ignore[attr-defined]
        await until(lambda: asyncio.sleep(0, len(writer._kept) == 91))
        other.execute("rollback")
        other.close()

        async def is_written() -> bool:
            return await store.find(make_entry(89, task=89).id) is not None

        await until(is_written)
        kept = [await store.body(make_entry(number, task=number).id) for number in range(90)]
        assert kept == [None] * 26 + [megabyte] * 64, "every entry is there; the oldest gave up their bodies"

    run_behind(embedded, work, msgspec.structs.replace(QUICK, commit_s=0.3))


def test_how_long_a_transaction_took_is_told(embedded: JournalMaker) -> None:
    took: list[float] = []

    async def work(store: Journal) -> None:
        store.measure(took.append)  # type: ignore[attr-defined]
        assert await store.save(parked(1), BODY)

    run_behind(embedded, work)
    assert took
    assert all(0 < seconds < 5 for seconds in took)


def test_what_is_asked_in_one_turn_of_the_loop_is_one_transaction(embedded: JournalMaker) -> None:
    took: list[float] = []

    async def work(store: Journal) -> None:
        writer = store._writer  # type: ignore[attr-defined]
        store.measure(took.append)  # type: ignore[attr-defined]

        async def not_woken_yet() -> bool:
            return len(writer._queue) == 8 and not writer._wake.is_set()

        claims = [store.claim(make_entry(n, task=n), BODY) for n in range(1, 9)]
        *claimed, gathered = await asyncio.gather(*claims, not_woken_yet())
        assert [word for word, _ in claimed] == ["claimed"] * 8
        assert gathered
        assert len(took) == 1

    embedded.run(work, CALM)


def test_what_is_asked_while_another_process_holds_the_lock_joins_the_transaction(embedded: JournalMaker) -> None:
    took: list[float] = []

    async def work(store: Journal) -> None:
        writer = store._writer  # type: ignore[attr-defined]
        store.measure(took.append)  # type: ignore[attr-defined]
        lock = os.open(embedded.folder / "journal.lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        saves = [asyncio.ensure_future(store.save(parked(1, task=1), BODY))]
        await until(lambda: asyncio.sleep(0, bool(writer._queue) and not writer._urgent))
        saves += [asyncio.ensure_future(store.save(parked(n, task=n), BODY)) for n in range(2, 9)]
        await until(lambda: asyncio.sleep(0, len(writer._queue) == 8))
        os.close(lock)
        assert await asyncio.gather(*saves) == [True] * 8
        assert len(took) == 1

    embedded.run(work, CALM)


def test_what_is_noted_is_written_at_the_end(embedded: JournalMaker) -> None:
    async def leave(store: Journal) -> None:
        store.note(make_entry(state="running", fence=1, owner=store.owner), BODY)

    async def look(store: Journal) -> None:
        assert await store.body(make_entry().id) == BODY

    run_behind(embedded, leave, SLOW)
    run_behind(embedded, look)


def test_notes_keep_their_own_runs_out_of_the_lost_ones(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        for number in range(200):
            store.note(make_entry(number, task=number, state="running", fence=1, owner=store.owner), BODY)
            if number % 10 == 0:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        assert store.lost() == set()
        assert await store.reap() == []
        assert len(await store.recent(0.0)) == 200

    run_behind(embedded, work)


def test_a_claim_that_nobody_heard_of_is_given_back(journal: JournalMaker) -> None:
    async def scene() -> None:
        async with journal.open() as store:
            await store.save(parked(1), BODY)
            await store.save(make_entry(2, task=8, state="ready", due=1e12), BODY)
            await asyncio.to_thread(
                journal.sql, f"update {{s}}delivery set state = 'running', fence = 1, owner = '{store.owner}'"
            )
            _, mine = await store.claim(make_entry(3, task=9), BODY)

            async def freed() -> bool:
                await store.give_back(store.orphans())
                return {row.task for row in await store.recent(0.0) if row.state == "ready"} == {7, 8}

            await until(freed)
            assert await store.find(mine.id) == mine
            parked_again = await store.find(parked(1).id)
            held_again = await store.find(make_entry(2, task=8).id)
            assert parked_again is not None
            assert held_again is not None
            assert (parked_again.deaths, parked_again.rerun, held_again.deaths) == (0, "", 0)
            assert held_again.due == held_again.seen_at + 240
            assert [row.task for row in await store.due({"refunds": 5}, 5)] == [7]

    asyncio.run(scene())


def test_a_claim_whose_answer_was_lost_is_found_again_by_the_next_try(journal: JournalMaker) -> None:
    async def scene() -> None:
        async with journal.open() as store, journal.open() as other:
            await store.save(make_entry(1), BODY)
            await asyncio.to_thread(
                journal.sql, f"update {{s}}delivery set state = 'running', fence = 1, owner = '{store.owner}'"
            )
            assert (await other.claim(make_entry(1), BODY))[0] == "known"
            word, mine = await store.claim(make_entry(1), BODY)
            assert (word, mine.owner, mine.fence) == ("claimed", store.owner, 1)
            assert (await store.claim(make_entry(1), BODY))[0] == "known", "once"

    asyncio.run(scene())


def test_a_run_that_another_owner_took_is_lost(journal: JournalMaker) -> None:
    async def scene() -> None:
        async with journal.open() as store:
            _, mine = await store.claim(make_entry(1), BODY)
            await asyncio.to_thread(
                journal.sql, "update {s}delivery set fence = 2, revision = 2, owner = 'somebody:else'"
            )
            await until(lambda: asyncio.sleep(0, store.lost() == {mine.id}))
            assert not await store.save(answered(mine))
            await until(lambda: asyncio.sleep(0, store.lost() == set()))

    asyncio.run(scene())


def test_an_entry_that_no_row_can_hold_costs_the_others_nothing(
    embedded: JournalMaker, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(store: Journal) -> None:
        store.note(make_entry(1, task=1, state="answered"), BODY)
        store.note(make_entry(2, task=2**64, state="answered"), BODY)
        store.note(make_entry(3, task=3, state="answered", trace="\ud800"), BODY)
        store.note(make_entry(4, task=4, state="answered", status=None), BODY)  # type: ignore[arg-type]
        store.note(make_entry(5, task=5, state="answered"), BODY)
        assert [await store.find(make_entry(n, task=n).id) is not None for n in (1, 3, 4, 5)] == [
            True,
            False,
            False,
            True,
        ]
        assert store.alive()

    run_behind(embedded, work)
    dropped = [record for record in caplog.records if "cannot be written is dropped" in record.message]
    assert len(dropped) == 3


def test_an_operation_that_the_database_refuses_is_told_to_who_asked(embedded: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        with pytest.raises(JournalAway, match="no such table"):
            await store._ask(lambda c: c.execute("select * from nowhere"))  # type: ignore[attr-defined]
        assert await store.save(parked(1), BODY)

    run_behind(embedded, work)
