"""Claims, fences, turns, doors: the contract of both stores."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.journal.journals import BEGAN, BODY, change, make_entry, parked, until

if TYPE_CHECKING:
    from tests.journal.journals import JournalMaker

    from bothost.journal import Journal
    from bothost.journal.entry import Entry


def test_a_new_event_is_claimed_once_and_known_ever_after(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        word, mine = await store.claim(make_entry(), BODY)
        assert (word, mine.state, mine.fence, mine.owner) == ("claimed", "running", 1, store.owner)
        word, row = await store.claim(make_entry(), BODY)
        assert (word, row) == ("known", mine)
        assert await store.find(mine.id) == mine
        assert await store.body(mine.id) == BODY

    journal.run(work)


def test_everything_of_an_entry_comes_back_as_it_was_written(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        full = make_entry(
            5, state="answered", door="api", kind="manual", turn=None, step=3, due=12.5, tries=2, seen=3, runs=2, deaths=1,
            rerun="crash", delivered=True, status=200, answer=b'{"text":"\xd0\xb4\xd0\xb0"}', failed=True, error="one\ntwo",
            post_begun=11.25, posted=99, version="1.2", trace="00-ab", ms=1.5, comment=2**40, task=2**40, limit_s=60.0,
        )  # fmt: skip
        assert await store.save(full, b"x")
        assert full.revision == 1
        assert await store.find(full.id) == full

    journal.run(work)


def test_two_at_once_are_one_claim(journal: JournalMaker) -> None:
    async def both() -> None:
        async with journal.open() as one, journal.open() as two:
            words = await asyncio.gather(*(store.claim(make_entry(), BODY) for store in (one, two) for _ in range(5)))
            assert sorted(word for word, _ in words) == ["claimed"] + ["known"] * 9

    asyncio.run(both())


def test_a_taken_turn_makes_the_next_event_of_the_task_busy(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, first = await store.claim(make_entry(1), BODY)
        word, _ = await store.claim(make_entry(2), BODY)
        assert word == "busy"
        assert await store.find(make_entry(2).id) is None
        assert (await store.claim(make_entry(3, task=8), BODY))[0] == "claimed", "another task has a turn of its own"
        assert (await store.claim(make_entry(4, bot="other"), BODY))[0] == "claimed", "and so has another bot"
        assert (await store.claim(make_entry(5, turn=None), BODY))[0] == "claimed", "order = none waits for nobody"
        assert await store.save(change(first, state="answered", answer=b"{}", delivered=True))
        assert (await store.claim(make_entry(2), BODY))[0] == "claimed"

    journal.run(work)


def test_an_older_parked_event_goes_first(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        assert await store.save(parked(1), BODY)
        assert (await store.claim(make_entry(2), BODY))[0] == "busy"
        assert (await store.claim(make_entry(0), BODY))[0] == "claimed", "one that came before does not wait for it"

    journal.run(work)


def test_a_turn_is_held_until_the_first_post_was_tried(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, first = await store.claim(make_entry(1), BODY)
        posting = change(first, door="api", answer=b'{"text":"late"}')
        assert await store.save(posting)
        assert (await store.claim(make_entry(2), BODY))[0] == "busy"
        assert await store.save(change(posting, state="ready", tries=1, due=0.0))
        word, second = await store.claim(make_entry(2), BODY)
        assert word == "claimed"
        (again,) = await store.due({"refunds": 0}, 5)
        assert (again.id, again.state, second.state) == (first.id, "running", "running"), "later tries hold no turn"

    journal.run(work)


def test_a_held_event_is_taken_by_its_next_attempt(journal: JournalMaker) -> None:
    async def both() -> None:
        async with journal.open() as one, journal.open() as two:
            _, first = await one.claim(make_entry(), BODY)
            held = change(first, state="ready", rerun="error", runs=1, due=first.seen_at + 240)
            assert await one.save(held)
            assert list(await one.due({"refunds": 9}, 9)) == [], "nothing but an attempt claims it"
            taken = await two.take(first.id, seen=2, seen_at=first.seen_at + 61)
            assert taken is not None
            assert (taken.fence, taken.owner, taken.state) == (2, two.owner, "running")
            assert (taken.seen, taken.seen_at, taken.rerun, taken.runs) == (2, first.seen_at + 61, "error", 1)
            assert await one.take(first.id, seen=2, seen_at=0.0) is None
            assert not await one.save(change(held, state="answered")), "the old fence refuses"
            assert (await one.find(first.id)) == taken

    asyncio.run(both())


def test_a_held_event_waits_for_its_turn(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, first = await store.claim(make_entry(1), BODY)
        assert await store.save(change(first, state="ready", due=first.seen_at + 240))
        _, second = await store.claim(make_entry(2), BODY)
        assert await store.take(first.id, seen=2, seen_at=0.0) is None
        assert await store.save(change(second, state="answered", answer=b"{}", delivered=True))
        assert await store.take(first.id, seen=2, seen_at=0.0) is not None

    journal.run(work)


def test_a_write_on_a_row_that_has_gone_on_changes_nothing(journal: JournalMaker) -> None:
    """Another process acknowledges the event while its owner runs it: the owner decides anew, by the other door."""

    async def both() -> None:
        async with journal.open() as one, journal.open() as two:
            _, mine = await one.claim(make_entry(), b"")
            row = await two.find(mine.id)
            assert row is not None
            assert await two.save(change(row, door="api", seen=2, seen_at=mine.seen_at + 61), BODY)
            assert await one.body(mine.id) == BODY
            answered = change(mine, state="answered", answer=b'{"text":"x"}')
            assert not await one.save(answered)
            row = await one.find(mine.id)
            assert row is not None
            assert (row.door, row.owner, row.seen, row.revision) == ("api", one.owner, 2, 2)
            assert await one.save(change(answered, state="running", door="api", revision=row.revision))
            row = await one.find(mine.id)
            assert row is not None
            assert (row.door, row.answer, row.seen) == ("api", b'{"text":"x"}', 2), "what others saw is not taken back"

    asyncio.run(both())


@pytest.mark.parametrize(
    "then",
    [
        {"state": "answered", "answer": b"ours", "delivered": True},
        {"state": "failed", "failed": True, "error": "boom"},
        {"state": "ready", "rerun": "error", "error": "boom", "due": BEGAN + 240},
        {"state": "running", "door": "api", "answer": b"ours"},
    ],
    ids=lambda then: str(then["state"]),
)
def test_a_write_that_was_given_up_and_lands_late_takes_nothing_back(
    journal: JournalMaker, then: dict[str, Any]
) -> None:
    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(), BODY)
        acknowledgement = change(mine, door="api", status=200)
        assert await store.save(newest := change(mine, **then))
        assert not await store.save(acknowledgement, BODY)
        assert (await store.find(mine.id), newest.revision) == (newest, 2)

    journal.run(work)


def test_every_way_to_write_a_row_raises_its_revision(journal: JournalMaker) -> None:
    """A write that was decided before any of them is refused."""

    async def work(store: Journal) -> None:
        async def raises(decided: Entry, what: str) -> Entry:
            assert not await store.save(change(decided)), what
            row = await store.find(decided.id)
            assert row is not None
            assert row.revision == decided.revision + 1, what
            return row

        held = make_entry(1, state="ready", fence=1, due=BEGAN - 1, seen=3)
        assert await store.save(held, BODY)
        assert held.revision == 1
        assert not await store.save(make_entry(1, state="ready", fence=1), BODY), "it is there already"
        before = change(held)
        assert await store.take(held.id, seen=2, seen_at=BEGAN) is not None
        mine = await raises(before, "take")
        await store.cancel(mine.id)
        mine = await raises(mine, "cancel")
        await store.give_back({mine.id: mine.fence})
        mine = await raises(mine, "give_back")
        assert await store.save(change(mine, due=BEGAN - 1))
        mine = await raises(mine, "save")
        assert await store.quiet()
        failed = await raises(mine, "quiet")
        await store.retry(failed.id)
        parked_now = await raises(failed, "retry")
        (again,) = await until(lambda: store.due({"refunds": 1}, 1))
        assert (await raises(parked_now, "due")).revision == again.revision
        old = change(again, state="answered", answer=b'{"text":"x"}', delivered=True)
        assert await store.save(old)
        async with journal.open() as other:
            _, theirs = await other.claim(make_entry(2, task=8, limit_s=0.01), BODY)
            (reaped,) = await until(store.reap)
            assert reaped.entry.id == theirs.id
            await raises(theirs, "reap")

    journal.run(work)


def test_what_ended_while_it_was_held_is_not_held_again_by_a_write_that_comes_too_late(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        held = make_entry(state="ready", fence=1, due=BEGAN + 240)
        assert await store.save(held, BODY)
        counted = change(held, seen=2, due=BEGAN + 300)
        assert await store.save(counted)
        cancelled = await store.cancel(held.id)
        assert not await store.save(change(counted, seen=3, due=BEGAN + 360))
        assert await store.find(held.id) == cancelled

    journal.run(work)


def test_the_newest_of_a_keys_entries_is_the_one_with_the_highest_number(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        key = "refunds:7:comment:sha-aa"
        assert await store.latest(key) is None
        for name in (key, f"{key}~2", f"{key}~10", f"{key}~9", f"{key}b", f"{key}b~77", "refunds:7:comment:sha-a"):
            assert await store.save(make_entry(id=name, state="answered", delivered=True), b"")
        newest = await store.latest(key)
        assert newest is not None
        assert newest.id == f"{key}~10"
        other = await store.latest("refunds:7:comment:sha-a")
        assert other is not None
        assert other.id == "refunds:7:comment:sha-a"

    journal.run(work)


def test_bodies_of_every_size_come_back(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        sizes = (0, 1, 4096, 4097, 150_000, 17 << 20)
        for number, size in enumerate(sizes, 1):
            await store.claim(make_entry(number, task=number), bytes([number]) * size)
        for number, size in enumerate(sizes, 1):
            assert await store.body(make_entry(number, task=number).id) == (bytes([number]) * size or None)
        assert await store.body("no such key") is None

    journal.run(work)


def test_a_body_is_stored_once(journal: JournalMaker) -> None:
    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(), b"a" * 9000)
        late = change(mine, door="api")
        assert await store.save(late, b"b" * 10)
        assert await store.save(late, b"c" * 9000)
        assert await store.body(mine.id) == b"a" * 9000

    journal.run(work)


def test_a_timers_tick_is_put_and_run_once_by_all_schedulers(journal: JournalMaker) -> None:
    ticks = 200

    def tick(number: int) -> Entry:
        return parked(id=f"timer:refunds:remind:{number}", kind="timer", task=0, turn=None, created=float(number))

    async def scheduler() -> list[str]:
        ran: list[str] = []
        async with journal.open() as store:
            for number in range(ticks):
                if await store.find(tick(number).id) is None:
                    await store.save(tick(number), b"")
                for entry in await store.due({"refunds": 3}, 3):
                    ran.append(entry.id)
                    assert await store.save(change(entry, state="answered", answer=b"{}", delivered=True))
            while rows := await store.due({"refunds": 3}, 3):
                for entry in rows:
                    ran.append(entry.id)
                    assert await store.save(change(entry, state="answered", answer=b"{}", delivered=True))
        return ran

    async def all_three() -> None:
        ran = await asyncio.gather(scheduler(), scheduler(), scheduler())
        assert sorted(key for keys in ran for key in keys) == sorted(tick(number).id for number in range(ticks))

    asyncio.run(all_three())


@pytest.mark.parametrize("said", ["a\x00b", "half a character: \ud83d", "\x07\u202e"])
def test_an_error_is_stored_whatever_characters_it_quotes(journal: JournalMaker, said: str) -> None:
    async def work(store: Journal) -> None:
        _, mine = await store.claim(make_entry(1), BODY)
        assert await store.save(change(mine, state="failed", error=said))
        row = await store.find(mine.id)
        assert row is not None
        assert row.error == said.replace("\x00", "\ufffd").replace("\ud83d", "\ufffd")

    journal.run(work)
