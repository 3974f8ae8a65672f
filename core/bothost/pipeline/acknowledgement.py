"""What happens to deliveries that wait: acknowledged at `answer_within`, parked, told to come again, or waiting for another process."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway
from bothost.pipeline.context import stored_body
from bothost.pipeline.delivery import ACKNOWLEDGED, BUSY, FAILED, LATE, PARKED, UNAVAILABLE, UNRECORDED
from bothost.pipeline.event_table import Waiter
from bothost.pyrus.digest import without_token
from bothost.pyrus.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.journal.entry import Entry
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.delivery import Delivery, Outcome
    from bothost.pipeline.event_table import TrackedEvent

log = logging.getLogger("bothost.late")

FOLLOW_S = 0.25
"""How often an event that another process runs is looked at."""


class Acknowledger:
    """Ends the waiting of deliveries whose answer is not there in time; nothing is acknowledged before its commit."""

    def __init__(self, context: PipelineContext) -> None:
        self._context = context
        self._begin = BackgroundTasks().begin
        self.known: Callable[[TrackedEvent], None] = lambda _live: None
        """Told of a followed event that the other process has brought to an end."""
        self.take_over: Callable[[TrackedEvent], bool] = lambda _live: False
        """Told of a followed event that may be claimed now; False where its bot is gone."""

    def join(self, tracked: TrackedEvent, delivery: Delivery) -> None:
        """Let a delivery wait for the event until its `answer_within`."""
        self.limit(tracked, self.admit(tracked, delivery))

    def admit(self, tracked: TrackedEvent, delivery: Delivery) -> Waiter:
        """As `join`, with no end of its patience yet."""
        waiter = Waiter(delivery)
        tracked.waiters.append(waiter)
        return waiter

    def limit(self, tracked: TrackedEvent, waiter: Waiter) -> None:
        """From now on a delivery that waits is told when its `answer_within` is over."""
        delivery = waiter.delivery
        left_s = delivery.received + delivery.bot.config.answer_within_s - self._context.clock.monotonic()
        waiter.timer = asyncio.get_running_loop().call_later(max(left_s, 0.0), self._time_is_up, tracked, waiter)

    def park(self, tracked: TrackedEvent) -> None:
        """Journal a waiting event as ready and acknowledge it, as at `answer_within` but at once."""
        if tracked.commit is None:
            self._commit(tracked, parking=True)

    def _time_is_up(self, tracked: TrackedEvent, waiter: Waiter) -> None:
        """Nobody is acknowledged who is not there any more: Pyrus comes again, for it got no answer."""
        waiter.timer = None
        if waiter not in tracked.waiters:
            return
        if waiter.delivery.gone:
            self._dismiss(tracked, waiter, UNRECORDED)
        elif waiter.delivery.bot.config.late == "retry" and not tracked.last:
            self._dismiss(tracked, waiter, BUSY)
        elif tracked.commit is None:
            self._commit(tracked, parking=tracked.phase == "waiting")

    def _dismiss(self, tracked: TrackedEvent, waiter: Waiter, outcome: Outcome) -> None:
        tracked.waiters.remove(waiter)
        self._context.responses.give(waiter.delivery, outcome, tracked.entry.task, tracked.attempt)

    def _commit(self, tracked: TrackedEvent, *, parking: bool) -> None:
        work = self._acknowledge(tracked, parking=parking)
        tracked.commit = self._begin(work)

    async def _acknowledge(self, tracked: TrackedEvent, *, parking: bool) -> None:
        """Commit the door, then answer 200 `{}` to all; what is not committed in time is answered 503 and stays."""
        context = self._context
        due = list(tracked.waiters)
        writing = asyncio.ensure_future(self._write(tracked, parking=parking))
        done, _ = await asyncio.wait([writing], timeout=context.timing.commit_s)
        tracked.commit = None
        if not done:
            writing.add_done_callback(lambda late: self._landed_late(tracked, late, parking=parking))
            self._stays(tracked, due)
            return
        entry = writing.result()
        if entry is None:
            self._stays(tracked, due)
        elif self._apply(tracked, entry, parking=parking):
            context.responses.give_all(tracked, PARKED if parking else LATE)

    async def _write(self, tracked: TrackedEvent, *, parking: bool) -> Entry | None:
        """The committed entry, or None where the journal cannot take it or says otherwise."""
        journal = self._context.journal
        entry = tracked.entry
        try:
            if tracked.phase == "foreign":
                return await journal.acknowledge(
                    entry.id, seen=entry.seen, seen_at=entry.seen_at, body=_brought(tracked.waiters)
                )
            changes = {"door": "api", "status": 200, "updated": self._context.now()}
            if parking:
                changes |= {"state": "ready", "due": self._context.now()}
            ours = msgspec.structs.replace(entry, **changes)
            # a waiting event is not in the journal yet where claims come first: its first write checks nothing
            return ours if await journal.save(ours, stored_body(tracked)) else None
        except JournalAway as error:
            log.warning(
                "not acknowledged, the journal is away: %s", error, extra={"bot": entry.bot, "task": entry.task}
            )
            return None

    def _apply(self, tracked: TrackedEvent, entry: Entry, *, parking: bool) -> bool:
        """Make the committed door hold; False where it came too late to change anything."""
        if tracked.phase not in (("waiting",) if parking else ("running", "foreign")):
            return False
        if tracked.phase != "foreign" and entry.fence != tracked.entry.fence:
            return False
        if parking:
            self._leave_line(tracked)
        elif tracked.phase == "foreign":
            tracked.rest()
        tracked.unrecorded = False
        tracked.entry = (
            entry if tracked.phase == "idle" else msgspec.structs.replace(tracked.entry, door="api", status=200)
        )
        return True

    def _leave_line(self, tracked: TrackedEvent) -> None:
        entry = tracked.entry
        bot = self._context.find_bot(entry.bot)
        self._context.event_table.unweigh(tracked)
        if bot is not None and not self._context.journal.claims_first:
            bot.queue.stand_ahead(entry.turn, entry.id)
        tracked.leave()

    def _stays(self, tracked: TrackedEvent, due: list[Waiter]) -> None:
        """The journal did not take it: those whose time is up come again, the event goes on as it was."""
        for waiter in list(tracked.waiters):
            if waiter in due or waiter.timer is None:
                waiter.stop()
                self._dismiss(tracked, waiter, UNRECORDED)
        if tracked.ticket is None and tracked.phase == "waiting":
            self._context.event_table.unweigh(tracked)
            tracked.rest()
        elif tracked.deferred and tracked.ticket is not None:
            tracked.deferred = False
            tracked.ticket.ready()

    def _landed_late(self, tracked: TrackedEvent, writing: asyncio.Future[Entry | None], *, parking: bool) -> None:
        """A commit that lands after all makes the event late for the next attempt."""
        if writing.cancelled() or writing.exception() is not None:
            return
        entry = writing.result()
        if entry is not None and self._apply(tracked, entry, parking=parking):
            self._context.responses.give_all(tracked, ACKNOWLEDGED)

    def follow(self, tracked: TrackedEvent) -> None:
        """Wait with our deliveries for what another process does with the event."""
        tracked.phase = "foreign"
        tracked.task = self._begin(self._follow(tracked, tracked.entry.runs))

    async def _follow(self, tracked: TrackedEvent, runs: int) -> None:
        """`runs`: how many there were when our deliveries joined."""
        context = self._context
        while tracked.waiters:
            await context.journal.wait_hint(min(FOLLOW_S, context.timing.sweep_s))
            try:
                row = await context.journal.find(tracked.entry.id)
            except JournalAway:
                continue
            if row is not None and tracked.waiters and tracked.phase == "foreign":
                self._see(tracked, row, runs)
            if tracked.phase != "foreign":
                return
        if tracked.phase == "foreign":
            tracked.rest()

    def _see(self, tracked: TrackedEvent, row: Entry, runs: int) -> None:
        """What the row says of a followed event: acknowledged, free to be claimed, failed for all who waited, ended, or no news."""
        if row.state == "running" and row.door == "response":
            return
        tracked.adopt(row)
        if row.door == "api":
            self._context.responses.give_all(tracked, ACKNOWLEDGED)
            tracked.rest()
        elif row.state != "ready":
            tracked.rest()
            self.known(tracked)
        elif row.rerun == "error" and row.runs > runs and not tracked.last:
            self._context.responses.give_all(tracked, FAILED)
            tracked.rest()
        elif not self.take_over(tracked):
            self._context.responses.give_all(tracked, UNAVAILABLE)
            tracked.rest()


def _brought(waiters: list[Waiter]) -> bytes | None:
    """The body that one of these deliveries brought, without its token: with `keep = 0` the journal has none yet."""
    if not waiters:
        return None
    envelope = decode(waiters[-1].delivery.body)
    return without_token(envelope.body, envelope.token)
