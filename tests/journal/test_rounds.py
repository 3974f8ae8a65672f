"""What the store does by itself: what owners left, what is quiet, what is too old; and the operator's hand."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.journal.journals import BODY, DAY, change, make_entry, parked, until

from bothost.errors import JournalAway, JournalError
from bothost.journal import transitions
from bothost.journal.entry import EntryFilter, JournalTiming

if TYPE_CHECKING:
    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal
    from bothost.journal.entry import Entry

LEFT = {"pod:1:a": 2 * DAY, "pod:2:b": 2 * DAY, "pod:3:c": 3600.0}
"""Owners on other machines, and for how long their leases have been over."""


async def cut_off(store: Journal) -> None:
    """Leave as a process does that hangs: no beat, no sign-off, its lock still held."""
    store._writer.stop()  # type: ignore[attr-defined]


async def reap_when_lease_is_over(store: Journal) -> Any:
    for _ in range(300):
        found = await store.reap()
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was reaped")


def test_who_stood_still_itself_takes_nothing_over_until_others_could_renew_their_leases(
    embedded: JournalMaker,
) -> None:
    async def scene() -> None:
        async with embedded.open() as one, embedded.open() as two:
            _, mine = await one.claim(make_entry(1, door="api"), BODY)
            await cut_off(one)
            await until(lambda: asyncio.sleep(0, not one.alive()))
            transactions = two._transactions  # type: ignore[attr-defined]

            def reap_after_a_stall(connection: Any) -> Any:
                transactions.lease_end = 0.0
                return transactions.reap(connection)

            assert await two._ask(reap_after_a_stall) == []  # type: ignore[attr-defined]
            (reaped,) = await reap_when_lease_is_over(two)
            assert (reaped.entry.id, reaped.dead) == (mine.id, False)

    asyncio.run(scene())


def test_a_run_longer_than_its_limit_is_no_longer_kept(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, stuck = await store.claim(make_entry(1, limit_s=0.3, door="api"), BODY)
        _, fine = await store.claim(make_entry(2, task=8), BODY)
        async with journal.open() as other:
            (reaped,) = await reap_when_lease_is_over(other)
        assert (reaped.entry.id, reaped.dead, reaped.entry.state) == (stuck.id, False, "ready")
        assert not await store.save(change(stuck, state="answered")), "it was decided on a row that has gone on"
        row = await store.find(fine.id)
        assert row == fine

    journal.run(work)


def test_an_owner_does_not_reap_what_it_runs_itself(journal: JournalMaker) -> None:
    """It knows how that ended, and writes so when the journal takes it."""

    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(1, limit_s=0.01, door="api"), BODY)
        await asyncio.sleep(1.2)
        assert await store.reap() == []
        assert await store.save(change(mine, state="answered", answer=b"{}"))

    journal.run(work)


def test_the_limit_begins_anew_with_the_posting(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(1, limit_s=0.6, door="api"), BODY)
        async with journal.open() as other:
            await asyncio.sleep(0.4)
            assert await store.save(change(mine, answer=b'{"text":"x"}'))
            await asyncio.sleep(0.35)
            assert await other.reap() == []
            assert await reap_when_lease_is_over(other)

    journal.run(work)


def test_a_held_event_fails_when_pyrus_does_not_come_back(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        past = time.time() - 1
        died = "its process died: it ended with exit code 3"
        for number, rerun, error in ((1, "crash", ""), (2, "error", "boom"), (3, "drain", ""), (4, "crash", died)):
            _, mine = await store.claim(make_entry(number, task=number), BODY)
            assert await store.save(change(mine, state="ready", rerun=rerun, error=error, due=past))
        _, other = await store.claim(make_entry(5, task=5), BODY)
        assert await store.save(change(other, state="ready", rerun="error", due=time.time() + 60))
        moved = sorted(await store.quiet(), key=lambda entry: entry.comment)
        assert [(entry.comment, entry.state) for entry in moved] == [(number, "failed") for number in range(1, 5)]
        stopped = "the host stopped before the outcome was recorded; Pyrus may have it"
        assert [entry.error for entry in moved] == [stopped, "boom", stopped, died]
        assert [await store.find(entry.id) for entry in moved] == moved
        assert await store.quiet() == []

    journal.run(work)


def test_an_earlier_runs_error_is_not_told_of_a_run_whose_host_died() -> None:
    running = change(make_entry(1), state="running", rerun="error", error="boom")
    held = transitions.reaped(running, dead=True, now=5.0, timing=JournalTiming())
    assert transitions.quieted(held, 500.0).error == transitions.STOPPED


def test_an_answer_that_reached_nobody_is_posted_when_it_is_quiet(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        past = time.time() - 1
        for number, answer, delivered in ((1, b'{"text":"x"}', False), (2, b"{}", False), (3, b'{"text":"y"}', True)):
            _, mine = await store.claim(make_entry(number, task=number), BODY)
            await store.save(change(mine, state="answered", answer=answer, delivered=delivered, due=past))
        moved = {entry.comment: entry for entry in await store.quiet()}
        assert sorted(moved) == [1, 2]
        assert (moved[1].state, moved[1].door, moved[1].answer) == ("ready", "api", b'{"text":"x"}')
        assert (moved[2].state, moved[2].delivered) == ("answered", True), "nothing to say needs no post"
        (posting,) = await until(lambda: store.due({"refunds": 0}, 5))
        assert posting.comment == 1
        assert await store.quiet() == []

    journal.run(work)


def test_parked_events_of_a_bot_that_does_not_come_back_expire(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        now = time.time()
        await store.retain({"short": 60.0, "refunds": 3 * DAY})
        for bot, days in (
            ("short", 0.9),
            ("short", 1.1),
            ("refunds", 2.9),
            ("refunds", 3.1),
            ("gone", 6.9),
            ("gone", 7.1),
        ):
            await store.save(parked(int(days * 10), bot=bot, task=int(days * 10), created=now - days * DAY), BODY)
        moved = await store.quiet()
        assert sorted((entry.bot, entry.comment, entry.state) for entry in moved) == [
            ("gone", 71, "failed"), ("refunds", 31, "failed"), ("short", 11, "failed")
        ]  # fmt: skip
        assert all(entry.error.startswith("expired") for entry in moved)

    journal.run(work)


def test_bodies_and_answers_go_after_keep_and_keys_after_thirty_days(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        now = time.time()

        def done(number: int, age_s: float, **changes: Any) -> Entry:
            return make_entry(
                number,
                task=number,
                state="answered",
                answer=b'{"text":"x"}',
                delivered=True,
                created=now - age_s,
                **changes,
            )

        large = b"l" * 50_000
        for entry in (
            done(1, 10),
            done(2, 2 * DAY),
            done(3, 8 * DAY),
            done(4, 31 * DAY),
            done(5, 2 * DAY, bot="brief"),
        ):
            await store.save(entry, large if entry.comment != 2 else BODY)
        await store.save(done(6, 3 * DAY, id="timer:refunds:x:1", kind="timer"), b"")
        await store.save(parked(7, task=70, created=now - 20 * DAY), large)
        await store.save(done(8, 30, bot="none"), BODY)
        await store.save(done(9, 700, bot="none"), BODY)
        assert await store.retain({"refunds": 7 * DAY, "brief": 3600.0, "none": 0.0}) > 0
        left = {entry.comment: entry for entry in await store.list(_all())}
        assert sorted(left) == [1, 2, 3, 5, 7, 8, 9]
        bodies = {number: await store.body(entry.id) for number, entry in left.items()}
        assert bodies == {1: large, 2: BODY, 3: None, 5: None, 7: large, 8: None, 9: None}
        answers = {number for number, entry in left.items() if entry.answer is not None}
        assert answers == {1, 2, 8}, "an answer stays for ten minutes at least"
        assert await store.retain({"refunds": 7 * DAY, "brief": 3600.0, "none": 0.0}) == 0

    journal.run(work)


def test_retention_goes_through_more_than_one_batch(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        old = time.time() - 40 * DAY

        def done(number: int) -> Entry:
            return make_entry(number, task=number, state="answered", answer=b"{}", delivered=True, created=old)

        await asyncio.gather(*(store.save(done(number), BODY) for number in range(1100)))
        await store.retain({})
        assert await store.list(_all()) == []

    journal.run(work)


def test_the_file_grows_by_what_is_kept_and_not_by_what_was(embedded: JournalMaker) -> None:
    body = b"b" * 1200

    async def work(store: Journal) -> None:
        async def an_hour(number: int) -> int:
            first, created = number * 600, time.time() - 2 * DAY + number
            for bot in ("refunds", "other"):
                rows = [
                    make_entry(n, bot=bot, task=n, state="answered", answer=b"{}", delivered=True, created=created)
                    for n in range(first, first + 600)
                ]
                for at in range(0, len(rows), 100):  # all at once take a busy machine longer than a commit may
                    await asyncio.gather(*(store.save(row, body) for row in rows[at : at + 100]))
            await store.retain({"refunds": DAY, "other": DAY})
            ((pages,),) = embedded.sql("pragma page_count")
            return int(pages)

        await an_hour(0)
        before, _, _, after = [await an_hour(number) for number in range(1, 5)]
        keys = 3 * 1200
        assert (after - before) * 4096 < keys * 400, "what a key takes is a quarter of what came with its body"
        ((rows,),) = embedded.sql("select count(*) from delivery")
        assert rows == 6000
        assert await store.find("other:2999:comment:2999") is not None

    embedded.run(work)


def test_a_failed_run_is_run_again_by_hand(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        failed = make_entry(
            state="failed", failed=True, error="boom", status=500, seen=3, runs=3, tries=2, fence=4, deaths=3, posted=5,
            answer=b'{"text":"sorry"}', door="api",
        )  # fmt: skip
        await store.save(failed, BODY)
        again = await store.retry(failed.id)
        assert (again.state, again.door, again.rerun, again.answer, again.fence) == ("ready", "api", "manual", None, 4)
        assert (again.runs, again.tries, again.posted, again.failed) == (3, 2, 0, False)
        (row,) = await until(lambda: store.due({"refunds": 1}, 1))
        assert (row.id, row.fence) == (failed.id, 5)
        with pytest.raises(JournalError, match="runs at this moment"):
            await store.retry(failed.id)

    journal.run(work)


def test_a_failed_post_is_posted_again_by_hand(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        failed = make_entry(state="failed", error="403", door="api", answer=b'{"text":"x"}', tries=3, post_begun=5.0)
        await store.save(failed)
        again = await store.retry(failed.id)
        assert (again.state, again.answer, again.tries, again.post_begun) == ("ready", b'{"text":"x"}', 3, 0.0)
        (row,) = await until(lambda: store.due({"refunds": 0}, 1))
        assert row.id == failed.id

    journal.run(work)


def test_retry_refuses_what_pyrus_brings_again(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        now = time.time()
        held = make_entry(1, task=1, state="ready", rerun="error", status=500, seen=1, seen_at=now, due=now + 240)
        failed = make_entry(2, task=2, state="failed", failed=True, status=500, seen=2, seen_at=now)
        for entry in (held, failed):
            await store.save(entry, BODY)
            with pytest.raises(JournalError, match=r"Pyrus comes again at \d\d:\d\d"):
                await store.retry(entry.id)
        for number, changes in enumerate(({"seen": 3}, {"seen_at": now - 300}, {"status": 200}), 3):
            done = make_entry(
                number, task=number, state="failed", failed=True, **{"status": 500, "seen_at": now, **changes}
            )
            await store.save(done, BODY)
            assert (await store.retry(done.id)).state == "ready"

    journal.run(work)


def test_an_answered_event_is_only_run_again_as_a_new_entry(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        for size in (10, 9000):
            body = b"x" * size
            done = make_entry(size, task=size, state="answered", answer=b'{"text":"x"}', delivered=True, runs=1, step=2)
            await store.save(done, body)
            with pytest.raises(JournalError, match="--again"):
                await store.retry(done.id)
            new = await store.retry(done.id, again=True)
            assert (new.id, new.kind, new.state, new.door) == (f"{done.id}~2", "manual", "ready", "api")
            assert (new.rerun, new.runs, new.answer, new.task, new.turn, new.step) == (
                "manual",
                0,
                None,
                size,
                str(size),
                2,
            )
            assert await store.body(new.id) == body
            assert (await store.retry(done.id, again=True)).id == f"{done.id}~3"
            assert await store.find(done.id) == done

    journal.run(work)


def test_retry_refuses_what_it_cannot_do(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        with pytest.raises(JournalError, match="no delivery"):
            await store.retry("refunds:7:comment:404")
        await store.save(make_entry(1, task=1, state="failed", failed=True, door="api"))
        with pytest.raises(JournalError, match="no longer stored"):
            await store.retry(make_entry(1, task=1).id)
        await store.save(make_entry(2, task=2, state="answered", answer=b"{}", delivered=True))
        with pytest.raises(JournalError, match="no longer stored"):
            await store.retry(make_entry(2, task=2).id, again=True)

    journal.run(work)


def test_cancel_ends_what_waits_and_tells_the_owner_of_what_runs(journal: JournalMaker) -> None:
    async def both() -> None:
        async with journal.open() as one, journal.open(readonly=True) as operator:
            _, running = await one.claim(make_entry(1), BODY)
            await one.save(parked(2, task=8), BODY)
            assert (await operator.cancel("refunds:8:comment:2")).state == "cancelled"
            assert await one.due({"refunds": 5}, 5) == []
            with pytest.raises(JournalError, match="nothing to cancel"):
                await operator.cancel("refunds:8:comment:2")
            wished = await operator.cancel(running.id)
            assert (wished.state, wished.cancel) == ("running", True)
            for _ in range(200):
                if one.cancelled():
                    break
                await asyncio.sleep(0.02)
            assert one.cancelled() == {running.id}
            assert not await one.save(change(running, door="api")), "the owner decides anew …"
            row = await one.find(running.id)
            assert row is not None
            late = change(row, door="api")
            assert await one.save(late)
            assert late.cancel, "… and does not lose the wish by it"
            assert await one.save(change(late, state="cancelled"))

    asyncio.run(both())


def test_a_visitor_reads_and_steers_but_owns_nothing(journal: JournalMaker) -> None:
    async def both() -> None:
        async with journal.open() as one:
            _, mine = await one.claim(make_entry(), BODY)
            async with journal.open(readonly=True) as visitor:
                assert await visitor.find(mine.id) == mine
                assert [row.id for row in await visitor.list(_all())] == [mine.id]
                await visitor.control("pause:refunds", "by hand")
                assert not visitor.alive()
            assert await one.controls() == {"pause:refunds": "by hand"}
            await one.control("pause:refunds", None)
            assert await one.controls() == {}

    asyncio.run(both())


def test_a_gate_gives_no_more_than_its_rate_to_all_together(journal: JournalMaker) -> None:
    async def both() -> None:
        async with journal.open() as one, journal.open() as two:
            assert await one.gate("pyrus", 10, 20.0, 10.0) == 0.0
            wait_s = await two.gate("pyrus", 10, 20.0, 10.0)
            assert 0.0 < wait_s <= 0.5
            await asyncio.sleep(wait_s + 0.001)
            assert await two.gate("pyrus", 10, 20.0, 10.0) == 0.0
            await one.gate_reset("pyrus", 0.0)
            assert await two.gate("pyrus", 1, 0.1, 10.0) > 5.0
            await one.gate_reset("pyrus", 3.0)
            assert [await two.gate("pyrus", 1, 0.1, 10.0) == 0.0 for _ in range(4)] == [True, True, True, False]

    asyncio.run(both())


def test_what_the_memory_needs_at_start_is_found(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        now = time.time()
        done = {"state": "answered", "answer": b"{}", "delivered": True, "runs": 1}
        await store.save(make_entry(1, task=1, created=now - 5000, seen_at=now - 5000, updated=now - 5000, **done))
        await store.save(make_entry(2, task=2, created=now - 900, seen_at=now - 100, updated=now - 900, step=4, **done))
        await store.save(make_entry(3, task=2, created=now - 50, seen_at=now - 50, updated=now - 50, step=5, **done))
        await store.save(parked(4, task=4, created=now - 90000, seen_at=now - 90000, updated=now - 90000), BODY)
        await store.save(parked(5, task=2, created=now - 10, step=6), BODY)
        assert [entry.comment for entry in await store.recent(now - 600)] == [4, 2, 3, 5]
        assert await store.highest() == {"refunds": 5}
        assert await store.last_step("refunds", 2) == 5, "the newest that ran"
        assert await store.last_step("refunds", 99) is None
        assert await store.counts() == {("refunds", "ready"): 2}

    journal.run(work)


def test_what_bots_did_before_a_start_is_told_by_minute_and_by_the_newest(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        minute = time.time() // 60 * 60 - 600
        done = {"state": "answered", "answer": b"{}", "delivered": True, "runs": 1, "ms": 250.0}
        await store.save(make_entry(1, task=1, created=minute + 1, seen_at=minute + 70, **done))
        await store.save(make_entry(2, task=2, created=minute + 2, seen_at=minute + 3, **{**done, "ms": 750.0}))
        failed = {"state": "failed", "runs": 3, "rerun": "error", "ms": 10.0}
        await store.save(make_entry(3, task=3, created=minute + 61, seen_at=minute + 62, **failed))
        again = {**done, "runs": 2, "rerun": "error", "ms": 0.0}
        await store.save(make_entry(4, task=4, created=minute + 62, seen_at=minute + 62, **again))
        await store.save(make_entry(5, task=5, bot="old", created=minute - 9000, seen_at=minute - 9000, **done))
        for number in range(60):  # a timer whose ticks came after the bot's last delivery
            await store.save(
                make_entry(
                    number, bot="old", kind="timer", task=0, turn="t", seen=0, seen_at=0.0, created=minute, **done
                )
            )
        await store.save(parked(6, bot="jobs", kind="job", seen=0, seen_at=0.0, created=minute))
        past = await store.past(minute + 120, 3600.0, 60.0)
        newest = {one.bot: (one.last_delivery, sorted(one.runs_s)) for one in past.newest}
        assert newest["refunds"] == (minute + 70, [0.01, 0.25, 0.75])
        assert newest["old"] == (minute - 9000, [0.25] * 50)
        assert newest["jobs"] == (None, [])
        counts = {(one.bot, one.minute): msgspec.structs.astuple(one)[2:] for one in past.minutes}
        first = int(minute // 60) + 1
        assert counts["refunds", first] == (2, 2, 0, 1.0, 0.75)
        assert counts["refunds", first + 1] == (2, 5, 4, 0.01, 0.01)
        assert counts["old", first] == (0, 60, 0, 15.0, 0.25)
        assert len(counts) == 4
        assert (await store.past(minute + 120, 0.0, 0.0)).minutes == ()

    journal.run(work)


def _all() -> Any:
    from bothost.journal.entry import EntryFilter

    return EntryFilter(limit=1000)


def test_what_was_to_be_cancelled_is_cancelled_when_its_owner_is_gone(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(1, limit_s=0.2, door="api"), BODY)
        await store.cancel(mine.id)
        async with journal.open() as other:
            (reaped,) = await reap_when_lease_is_over(other)
        assert (reaped.entry.state, reaped.entry.error) == ("cancelled", "cancelled by the operator")

    journal.run(work)


def test_retry_of_what_is_parked_makes_it_due_at_once(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        later = parked(1, due=time.time() + 3600, rerun="error", runs=1)
        await store.save(later, BODY)
        assert await store.due({"refunds": 1}, 1) == []
        await store.retry(later.id)
        (row,) = await until(lambda: store.due({"refunds": 1}, 1))
        assert (row.id, row.rerun, row.runs) == (later.id, "error", 1), "nothing else of it is changed"

    journal.run(work)


def test_what_somebody_else_has_retried_since_it_was_chosen_is_not_retried(journal: JournalMaker) -> None:
    """Two operators choose the same events: each runs once, also if it has failed again by then."""

    async def work(store: Journal) -> None:
        await store.save(make_entry(1, state="failed", door="api", failed=True, error="boom"), BODY)
        (chosen,) = await store.list(EntryFilter())
        ready = await store.retry(chosen.id, revision=chosen.revision)
        for again in (ready, change(ready, state="failed")):
            await store.save(again)
            with pytest.raises(JournalError, match="has changed meanwhile: somebody else has it in hand"):
                await store.retry(chosen.id, revision=chosen.revision)

    journal.run(work)


def test_again_of_what_failed_is_a_plain_retry(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        failed = make_entry(1, state="failed", door="api", failed=True, error="boom")
        await store.save(failed, BODY)
        ready = await store.retry(failed.id, again=True)
        assert (ready.id, ready.state, ready.rerun) == (failed.id, "ready", "manual")

    journal.run(work)


def test_a_gates_tokens_are_what_pyrus_says_they_are(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        assert await store.gate("account", 1, 1.0, 100.0) == 0.0
        await store.gate_reset("account", 0.0)
        assert 3.0 < await store.gate("account", 5, 1.0, 100.0) <= 5.0
        await store.gate_reset("account", 5.0)
        assert await store.gate("account", 5, 1.0, 100.0) == 0.0

    journal.run(work)


def test_a_journal_that_was_never_opened_is_away(journal: JournalMaker) -> None:
    async def scene() -> None:
        store = journal.make()
        with pytest.raises(JournalAway):
            await store.reap()
        with pytest.raises(JournalAway):
            await store.save(parked(1), BODY)
        await store.close()

    asyncio.run(scene())


def test_what_handlers_wrote_is_kept_by_task_and_forgotten_with_the_keys(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        for task, comment in ((7, 70), (7, 70), (7, 71), (8, 80)):
            await store.wrote("refunds", task, comment)
        await store.wrote("other", 7, 72)
        assert await store.written("refunds", 7) == {70, 71}
        assert await store.written("refunds", 9) == set()

    async def forget(store: Journal) -> None:
        assert await store.retain({}) == 1
        assert await store.written("refunds", 7) == {71}

    journal.run(work)
    journal.sql(f"update {{s}}written set at = at - {30 * DAY + 60} where comment = 70")
    journal.run(forget)


def test_owners_that_were_killed_and_never_came_back_are_forgotten(journal: JournalMaker) -> None:
    """Each kill leaves a row, and a file in its folder; what runs in an owner's name is freed before it is forgotten."""

    async def work(store: Journal) -> None:
        await store.claim(make_entry(1, door="api"), BODY)

    async def retain(store: Journal) -> None:
        await store.retain({})
        (entry,) = await store.list(EntryFilter())
        assert (entry.state, entry.owner) == ("running", "pod:2:b")
        files.update(os.listdir(owners))
        await reap_when_lease_is_over(store)
        assert [entry.state for entry in await store.list(EntryFilter())] == ["ready"]
        await store.retain({})

    journal.run(work)
    owners, files = journal.folder / "owners", set[str]()
    for name in ("killed:8:c", "alive:9:d"):
        (owners / name).touch()
    now = time.time()
    rows = ", ".join(f"('{name}', 'x', {now - age})" for name, age in LEFT.items())
    journal.sql("update {s}delivery set owner = 'pod:2:b'", f"insert into {{s}}owner (id, boot, lease) values {rows}")
    with (owners / "alive:9:d").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        journal.run(retain)
    assert files & {"killed:8:c", "alive:9:d"} == {"alive:9:d"}
    # another machine's owner that was here an hour ago may only have stood still; an embedded journal has one machine
    assert journal.sql("select id from {s}owner") == ([("pod:3:c",)] if journal.shared else [])
