"""What happens to deliveries that wait: acknowledged at `answer_within`, parked, told to come again, or waiting for another process."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway
from bothost.pipeline.context import stored_body
from bothost.pipeline.delivery import ACKNOWLEDGED, BUSY, FAILED, LATE, PARKED, UNANSWERABLE, UNAVAILABLE, UNRECORDED
from bothost.pipeline.event_table import Waiter
from bothost.pyrus.digest import without_token
from bothost.pyrus.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.bots.registry import Bot
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
        self.draining = False
        """The host stops: what is acknowledged now is left to a process that has no tokens."""
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
        elif self._comes_again(tracked, waiter.delivery.bot):
            self._dismiss(tracked, waiter, BUSY)
        elif tracked.commit is None:
            self._commit(tracked, parking=tracked.phase == "waiting")

    def _comes_again(self, tracked: TrackedEvent, bot: Bot) -> bool:
        """Return whether Pyrus is told to try again: its next attempt brings the token that a bot without a login lacks."""
        if tracked.last:
            return False
        leaves_memory = tracked.phase == "waiting" or self.draining
        return bot.config.late == "retry" or (leaves_memory and not bot.can_log_in)

    def _can_be_posted(self, bot: Bot | None) -> bool:
        """Return whether the reply to an event that is parked now can be posted: by a login, or with the token held here."""
        if bot is None or bot.can_log_in:
            return True
        return not (self.draining or self._context.journal.claims_first)

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
            self._say(tracked, PARKED if parking else LATE)

    def _say(self, tracked: TrackedEvent, outcome: Outcome) -> None:
        """Answer everybody who waits, once the entry is committed."""
        entry = tracked.entry
        if entry.state != "failed":
            self._context.responses.give_all(tracked, outcome)
            return
        self._context.responses.give_all(tracked, UNANSWERABLE)
        log.error("%s", entry.error, extra={"bot": entry.bot, "task": entry.task, "outcome": "failed"})
        self._context.failed(entry)

    async def _write(self, tracked: TrackedEvent, *, parking: bool) -> Entry | None:
        """The committed entry, or None where the journal cannot take it or says otherwise."""
        journal = self._context.journal
        entry = tracked.entry
        try:
            if tracked.phase == "foreign":
                return await journal.acknowledge(
                    entry.id, seen=entry.seen, seen_at=entry.seen_at, body=_brought(tracked.waiters)
                )
            ours = self._committed(entry, parking=parking)
            # a waiting event is not in the journal yet where claims come first: its first write checks nothing
            return ours if await journal.save(ours, stored_body(tracked)) else None
        except JournalAway as error:
            log.warning(
                "not acknowledged, the journal is away: %s", error, extra={"bot": entry.bot, "task": entry.task}
            )
            return None

    def _committed(self, entry: Entry, *, parking: bool) -> Entry:
        """Return the entry as it is committed: acknowledged, or failed where its reply could never be posted."""
        now = self._context.now()
        if parking and not self._can_be_posted(self._context.find_bot(entry.bot)):
            error = f"not run: nobody could post the reply later, because {entry.bot} has no login; set one, then retry"
            return msgspec.structs.replace(entry, state="failed", failed=True, status=500, error=error, updated=now)
        changes = {"state": "ready", "due": now} if parking else {}
        return msgspec.structs.replace(entry, door="api", status=200, updated=now, **changes)

    def _apply(self, tracked: TrackedEvent, entry: Entry, *, parking: bool) -> bool:
        """Make the committed door hold; False where it came too late to change anything."""
        if tracked.phase not in (("waiting",) if parking else ("running", "foreign")):
            return False
        if tracked.phase != "foreign" and entry.fence != tracked.entry.fence:
            return False
        if parking:
            self._leave_line(tracked, parked=entry.state == "ready")
        elif tracked.phase == "foreign":
            tracked.rest()
        tracked.unrecorded = False
        tracked.entry = (
            entry if tracked.phase == "idle" else msgspec.structs.replace(tracked.entry, door="api", status=200)
        )
        return True

    def _leave_line(self, tracked: TrackedEvent, *, parked: bool) -> None:
        entry = tracked.entry
        bot = self._context.find_bot(entry.bot)
        self._context.event_table.unweigh(tracked)
        if bot is not None and parked and not self._context.journal.claims_first:
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
            self._say(tracked, ACKNOWLEDGED)

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
