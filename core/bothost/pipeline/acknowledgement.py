"""What happens to deliveries that wait: acknowledged at `answer_within`, parked, told to come again, or waiting for another process."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from bothost.background import watch
from bothost.errors import StoreAway
from bothost.pipeline.context import stored_body
from bothost.pipeline.delivery import ACKNOWLEDGED, BUSY, FAILED, LATE, PARKED, UNAVAILABLE, UNRECORDED
from bothost.pipeline.event_table import Waiter
from bothost.pyrus.digest import without_token
from bothost.pyrus.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.journal.entry import Entry
    from bothost.pipeline.context import Means
    from bothost.pipeline.delivery import Delivery, Outcome
    from bothost.pipeline.event_table import Live

log = logging.getLogger("bothost.late")

FOLLOW_S = 0.25
"""How often an event that another process runs is looked at."""


class Acks:
    """Ends the waiting of deliveries whose answer is not there in time; nothing is acknowledged before its commit."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.known: Callable[[Live], None] = lambda _live: None
        """Told of a followed event that the other process has brought to an end."""
        self.take_over: Callable[[Live], bool] = lambda _live: False
        """Told of a followed event that may be claimed now; False where its bot is gone."""

    def join(self, live: Live, delivery: Delivery) -> None:
        """Let a delivery wait for the event until its `answer_within`."""
        self.limit(live, self.admit(live, delivery))

    def admit(self, live: Live, delivery: Delivery) -> Waiter:
        """As `join`, with no end of its patience yet."""
        waiter = Waiter(delivery)
        live.waiters.append(waiter)
        return waiter

    def limit(self, live: Live, waiter: Waiter) -> None:
        """From now on a delivery that waits is told when its `answer_within` is over."""
        delivery = waiter.delivery
        left_s = delivery.received + delivery.bot.config.answer_within_s - self._means.clock.monotonic()
        waiter.timer = asyncio.get_running_loop().call_later(max(left_s, 0.0), self._time_is_up, live, waiter)

    def park(self, live: Live) -> None:
        """Journal a waiting event as ready and acknowledge it, as at `answer_within` but at once."""
        if live.commit is None:
            self._commit(live, parking=True)

    def _time_is_up(self, live: Live, waiter: Waiter) -> None:
        """Nobody is acknowledged who is not there any more: Pyrus comes again, for it got no answer."""
        waiter.timer = None
        if waiter not in live.waiters:
            return
        if waiter.delivery.gone:
            self._dismiss(live, waiter, UNRECORDED)
        elif waiter.delivery.bot.config.late == "retry" and not live.last:
            self._dismiss(live, waiter, BUSY)
        elif live.commit is None:
            self._commit(live, parking=live.phase == "waiting")

    def _dismiss(self, live: Live, waiter: Waiter, outcome: Outcome) -> None:
        live.waiters.remove(waiter)
        self._means.answers.give(waiter.delivery, outcome, live.entry.task, live.attempt)

    def _commit(self, live: Live, *, parking: bool) -> None:
        work = self._acknowledge(live, parking=parking)
        live.commit = asyncio.get_running_loop().create_task(work)
        live.commit.add_done_callback(watch)

    async def _acknowledge(self, live: Live, *, parking: bool) -> None:
        """Commit the door, then answer 200 `{}` to all; what is not committed in time is answered 503 and stays."""
        means = self._means
        due = list(live.waiters)
        writing = asyncio.ensure_future(self._write(live, parking=parking))
        done, _ = await asyncio.wait([writing], timeout=means.timing.commit_s)
        live.commit = None
        if not done:
            writing.add_done_callback(lambda late: self._landed_late(live, late, parking=parking))
            self._stays(live, due)
            return
        entry = writing.result()
        if entry is None:
            self._stays(live, due)
        elif self._apply(live, entry, parking=parking):
            means.answers.give_all(live, PARKED if parking else LATE)

    async def _write(self, live: Live, *, parking: bool) -> Entry | None:
        """The committed entry, or None where the journal cannot take it or says otherwise."""
        store = self._means.store
        entry = live.entry
        try:
            if live.phase == "foreign":
                return await store.acknowledge(
                    entry.id, seen=entry.seen, seen_at=entry.seen_at, body=_brought(live.waiters)
                )
            changes = {"door": "api", "status": 200, "updated": self._means.now()}
            if parking:
                changes |= {"state": "ready", "due": self._means.now()}
            ours = msgspec.structs.replace(entry, **changes)
            # a waiting event is not in the journal yet where claims come first: its first write checks nothing
            return ours if await store.save(ours, stored_body(live)) else None
        except StoreAway as error:
            log.warning(
                "not acknowledged, the journal is away: %s", error, extra={"bot": entry.bot, "task": entry.task}
            )
            return None

    def _apply(self, live: Live, entry: Entry, *, parking: bool) -> bool:
        """Make the committed door hold; False where it came too late to change anything."""
        if live.phase not in (("waiting",) if parking else ("running", "foreign")):
            return False
        if live.phase != "foreign" and entry.fence != live.entry.fence:
            return False
        if parking:
            self._leave_line(live)
        elif live.phase == "foreign":
            live.rest()
        live.unrecorded = False
        live.entry = entry if live.phase == "idle" else msgspec.structs.replace(live.entry, door="api", status=200)
        return True

    def _leave_line(self, live: Live) -> None:
        entry = live.entry
        bot = self._means.find_bot(entry.bot)
        self._means.ledger.unweigh(live)
        if bot is not None and not self._means.store.claims_first:
            bot.lane.stand_ahead(entry.turn, entry.id)
        live.leave()

    def _stays(self, live: Live, due: list[Waiter]) -> None:
        """The journal did not take it: those whose time is up come again, the event goes on as it was."""
        for waiter in list(live.waiters):
            if waiter in due or waiter.timer is None:
                waiter.stop()
                self._dismiss(live, waiter, UNRECORDED)
        if live.place is None and live.phase == "waiting":
            self._means.ledger.unweigh(live)
            live.rest()
        elif live.deferred and live.place is not None:
            live.deferred = False
            live.place.ready()

    def _landed_late(self, live: Live, writing: asyncio.Future[Entry | None], *, parking: bool) -> None:
        """A commit that lands after all makes the event late for the next attempt."""
        if writing.cancelled() or writing.exception() is not None:
            return
        entry = writing.result()
        if entry is not None and self._apply(live, entry, parking=parking):
            self._means.answers.give_all(live, ACKNOWLEDGED)

    def follow(self, live: Live) -> None:
        """Wait with our deliveries for what another process does with the event."""
        live.phase = "foreign"
        live.task = asyncio.get_running_loop().create_task(self._follow(live, live.entry.runs))
        live.task.add_done_callback(watch)

    async def _follow(self, live: Live, runs: int) -> None:
        """`runs`: how many there were when our deliveries joined."""
        means = self._means
        while live.waiters:
            await means.store.wait_hint(min(FOLLOW_S, means.timing.sweep_s))
            try:
                row = await means.store.find(live.entry.id)
            except StoreAway:
                continue
            if row is not None and live.waiters and live.phase == "foreign":
                self._see(live, row, runs)
            if live.phase != "foreign":
                return
        if live.phase == "foreign":
            live.rest()

    def _see(self, live: Live, row: Entry, runs: int) -> None:
        """What the row says of a followed event: acknowledged, free to be claimed, failed for all who waited, ended, or no news."""
        if row.state == "running" and row.door == "response":
            return
        live.adopt(row)
        if row.door == "api":
            self._means.answers.give_all(live, ACKNOWLEDGED)
            live.rest()
        elif row.state != "ready":
            live.rest()
            self.known(live)
        elif row.rerun == "error" and row.runs > runs and not live.last:
            self._means.answers.give_all(live, FAILED)
            live.rest()
        elif not self.take_over(live):
            self._means.answers.give_all(live, UNAVAILABLE)
            live.rest()


def _brought(waiters: list[Waiter]) -> bytes | None:
    """The body that one of these deliveries brought, without its token: with `keep = 0` the journal has none yet."""
    if not waiters:
        return None
    envelope = decode(waiters[-1].delivery.body)
    return without_token(envelope.body, envelope.token)
