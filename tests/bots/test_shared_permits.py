"""Processes on one journal count the runs of a bot with `concurrency` together."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.journal.journals import PATIENT, JournalMaker, until
from tests.journal.journals import QUICK as SHORT_LEASES

from bothost.background import SupervisedLoops
from bothost.bots.queue import BotQueue, QueueTicket
from bothost.bots.registry import Bot
from bothost.bots.shared_permits import PERMITS, BotShare, Others, PermitTiming, SharedPermits, Wish
from bothost.clock import SystemClock
from bothost.config import BotConfig
from bothost.journal.data import WriteValue
from bothost.journal.owner_locks import boot_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bothost.journal import Journal
    from bothost.journal.entry import JournalTiming

QUICK = PermitTiming(look_s=0.02, again_s=0.01, quantum_s=0.05)


class Together:
    """The runs of all processes."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.ended: list[str] = []


class Member:
    """One process: its journal, its queue of the bot, and runs that last a while."""

    def __init__(self, name: str, store: Journal, limit: int, together: Together) -> None:
        self.name = name
        self.store = store
        self.together = together
        self.bot = Bot(BotConfig(name="one", concurrency=limit), BotQueue(0))
        clock = SystemClock()
        self.permits = SharedPermits(store, clock, SupervisedLoops(clock), QUICK)
        share = self.permits.share_of(self.bot)
        assert share is not None
        self.share: BotShare = share
        self.bot.queue.resize(self.bot.config.permits, share)
        self.sent = 0

    def send(self, count: int, lasts_s: float = 0.005) -> None:
        """Put events in, each with a task of its own."""
        for number in range(self.sent, self.sent + count):
            ticket = QueueTicket(f"{self.name}{number}", lambda: None)
            ticket.ready = lambda ticket=ticket: self._begin(ticket, lasts_s)  # type: ignore[misc]
            self.bot.queue.enter(ticket)
        self.sent += count

    def keep_busy(self, backlog: int) -> None:
        """Put events in before those that wait run out."""
        if self.sent - self.together.ended.count(self.name) < backlog // 2:
            self.send(backlog)

    def _begin(self, ticket: QueueTicket, lasts_s: float) -> None:
        self.together.running += 1
        self.together.most = max(self.together.most, self.together.running)
        asyncio.get_running_loop().call_later(lasts_s, self._end, ticket)

    def _end(self, ticket: QueueTicket) -> None:
        self.together.running -= 1
        self.together.ended.append(self.name)
        ticket.leave()


@asynccontextmanager
async def members(
    journal: JournalMaker, count: int, limit: int, leases: JournalTiming
) -> AsyncIterator[tuple[list[Member], Together]]:
    together, found = Together(), []
    async with contextlib.AsyncExitStack() as stack:
        for number in range(count):
            store = await stack.enter_async_context(journal.open(leases))
            found.append(Member("abc"[number], store, limit, together))
            found[-1].permits.start()
            stack.push_async_callback(found[-1].permits.stop)
        yield found, together


def seen(journal: JournalMaker, count: int, limit: int, work: Any, leases: JournalTiming = PATIENT) -> None:
    """Short leases end on a busy machine, and the permits of an ended one belong to nobody."""

    async def within() -> None:
        async with members(journal, count, limit, leases) as (found, together):
            await asyncio.wait_for(work(found, together), 20)

    asyncio.run(within())


async def all_ended(together: Together, count: int) -> None:
    async def ended() -> bool:
        return len(together.ended) == count

    await until(ended)


def test_one_process_alone_takes_all_permits_at_once_and_gives_runs_without_asking(journal: JournalMaker) -> None:
    async def work(found: list[Member], together: Together) -> None:
        (one,) = found
        one.send(1)
        await all_ended(together, 1)
        assert one.share.granted == 4
        one.send(6)
        # before the loop has turned, so nothing was asked
        assert together.running == 4
        await all_ended(together, 7)

    seen(journal, 1, 4, work)


@pytest.mark.parametrize(("count", "limit"), [(2, 4), (3, 4), (3, 1)])
def test_processes_run_no_more_than_the_limit_together_and_each_gets_its_share(
    journal: JournalMaker, count: int, limit: int
) -> None:
    async def work(found: list[Member], together: Together) -> None:
        async def each_has_run() -> bool:
            """None has to wait until another one has run out of events, because none runs out."""
            for one in found:
                one.keep_busy(40 * limit)
            return set(together.ended) == {one.name for one in found}

        await until(each_has_run)
        await all_ended(together, sum(one.sent for one in found))
        assert together.most == limit

    seen(journal, count, limit, work)


def test_a_process_that_comes_later_gets_its_share_of_one_that_is_busy(journal: JournalMaker) -> None:
    async def work(found: list[Member], together: Together) -> None:
        first, second = found

        async def has_run(one: Member) -> bool:
            """The first never runs out of events, so it has to give some permits away."""
            first.keep_busy(160)
            return one.name in together.ended

        await until(lambda: has_run(first))
        second.send(20)
        await until(lambda: has_run(second))
        await all_ended(together, first.sent + second.sent)
        assert together.most == 4

    seen(journal, 2, 4, work)


def test_idle_permits_beyond_an_equal_share_are_free_for_others(journal: JournalMaker) -> None:
    async def work(found: list[Member], together: Together) -> None:
        first, second = found
        for one, other in ((first, second), (second, first)):
            together.most = 0
            one.send(8, lasts_s=0.1)

            async def had_all() -> bool:  # it is so for some milliseconds, which a look may miss
                return together.most == 4

            await until(had_all)
            await until(lambda one=one: idle(one))  # type: ignore[misc]
            assert other.share.granted <= 2

    async def idle(one: Member) -> bool:
        return not one.bot.queue.held and one.share.noted == 2

    seen(journal, 2, 4, work)


def test_a_bot_that_is_counted_no_more_gives_all_back(journal: JournalMaker) -> None:
    async def work(found: list[Member], together: Together) -> None:
        first, second = found
        first.send(4)
        await all_ended(together, 4)
        first.bot.config = BotConfig(name="one", concurrency_each=2)
        assert first.permits.share_of(first.bot) is None
        first.bot.queue.resize(first.bot.config.permits)
        first.send(3)
        assert together.running == 2
        second.send(4, lasts_s=60.0)

        async def has_all() -> bool:
            return second.bot.queue.held == 4

        await until(has_all)

    seen(journal, 2, 4, work)


def test_the_permits_of_a_process_come_back_when_its_lease_has_ended(journal: JournalMaker) -> None:
    if journal.shared:
        boot, lease = "", "extract(epoch from now()) + 600"
    else:
        boot, lease = boot_id(), f"{journal.clock.boot() + 600}"

    async def work(found: list[Member], together: Together) -> None:
        (one,) = found
        sql = f"insert into {{s}}owner (id, boot, lease) values ('gone', '{boot}', {lease})"
        assert await one.store.ask(PERMITS, WriteValue("one", msgspec.msgpack.encode({"gone": (3, 1)})))
        await asyncio.to_thread(journal.sql, sql)
        one.send(8, lasts_s=0.1)

        async def begun() -> bool:
            return together.running > 0

        async def has_all() -> bool:
            return one.share.granted == 4

        await until(begun)
        assert one.share.granted == 1
        await asyncio.to_thread(journal.sql, "update {s}owner set lease = 1 where id = 'gone'")
        await until(has_all)
        await all_ended(together, 8)

    seen(journal, 1, 4, work, SHORT_LEASES)


def test_the_permits_of_a_process_that_began_since_the_last_look_are_not_taken(journal: JournalMaker) -> None:
    async def work(found: list[Member], together: Together) -> None:
        first, second = found
        second.send(4, lasts_s=0.3)

        async def has_all() -> bool:
            return second.share.noted == 4

        await until(has_all)
        before = Others({first.store.owner}, ())  # as the first one read it before the second began
        assert await first.permits._try("one", first.share, before, 4) == 4
        assert (first.share.granted, second.share.granted) == (0, 4)
        await all_ended(together, 4)

    seen(journal, 2, 4, work)


def test_a_process_that_claims_in_memory_counts_for_itself(tmp_path: Any) -> None:
    async def work() -> None:
        async with JournalMaker(tmp_path).open(claims_first=False) as store:
            permits = SharedPermits(store, SystemClock(), SupervisedLoops(SystemClock()))
            assert permits.share_of(Bot(BotConfig(name="one", concurrency=4), BotQueue(0))) is None

    asyncio.run(work())


@pytest.mark.parametrize(
    ("limit", "noted", "held_s", "wishes", "may"),
    [
        (4, 4, 9, 1, 2),  # an equal share, at once where it has had them for long
        (4, 4, 0, 1, 4),  # but not in the middle of its time
        (4, 1, 9, 2, 2),  # one of three has the fourth …
        (4, 2, 9, 2, 1),  # … until its time is over
        (1, 1, 9, 1, 0),  # a single one goes round
        (1, 0, 9, 1, 1),
        (4, 4, 9, 0, 4),  # nobody waits
    ],
)
def test_what_a_process_may_have_while_others_wait(
    limit: int, noted: int, held_s: float, wishes: int, may: int
) -> None:
    share = BotShare(BotQueue(0), asyncio.Event(), PermitTiming())
    share.limit, share.noted, share.since = limit, noted, 100.0
    others = Others({"me", "b", "c"}, [(owner, Wish(1, 5.0)) for owner in "bc"[:wishes]])
    assert share.bound(limit, {}, others, 100.0 + held_s) == may
