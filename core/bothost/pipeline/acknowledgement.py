"""End the waiting of deliveries whose answer is not ready in time: acknowledge, park, answer 503, or follow the row."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

import msgspec

from bothost.background import BackgroundTasks, reserve
from bothost.errors import JournalAway
from bothost.pipeline.context import stored_body
from bothost.pipeline.delivery import ACKNOWLEDGED, BUSY, FAILED, LATE, PARKED, UNANSWERABLE, UNAVAILABLE, UNRECORDED
from bothost.pipeline.event_table import Waiter
from bothost.pipeline.write_rules import TimeIsUp
from bothost.pipeline.writing import WriteResult, write
from bothost.pyrus.envelope import decode
from bothost.pyrus.token_mask import without_token

if TYPE_CHECKING:
    from bothost.bots.registry import Bot
    from bothost.journal.entry import Entry
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.delivery import Delivery, Outcome
    from bothost.pipeline.event_table import TrackedEvent

log = logging.getLogger("bothost.late")

FOLLOW_S = 0.25
"""The seconds between two looks at an event that another process runs."""


class RowChanged(Protocol):
    """Decides about an event whose row differs from what this process believed. The dispatcher does so."""

    def answer_by_row(self, tracked: TrackedEvent) -> None:
        """Answer the waiting deliveries by the present row."""

    def look_again(self, tracked: TrackedEvent) -> None:
        """Look up an event that was taken for new and is known, and go on with the waiting deliveries as after a look."""

    def take_over(self, tracked: TrackedEvent) -> bool:
        """Claim a followed event whose owner is gone. Returns False if its bot was removed."""


def must_not_park(tracked: TrackedEvent, bot: Bot) -> bool:
    """Return whether a delivery that would be parked now is answered 503 instead, so that Pyrus comes again.

    `late = retry` forbids parking, even at the last attempt. A bot without a login needs the token that the next attempt brings,
    because the journal keeps none.
    """
    return bot.config.late == "retry" or not (tracked.last or bot.can_log_in)


class Acknowledger:
    """Ends the waiting of deliveries. Nothing is acknowledged before its commit is known to have landed."""

    def __init__(self, context: PipelineContext, changed: RowChanged) -> None:
        self._context = context
        self._changed = changed
        self._begin = BackgroundTasks().begin
        self.draining = False
        """True while the host stops. An event acknowledged now is left to a process that has no tokens."""

    def join(self, tracked: TrackedEvent, delivery: Delivery) -> None:
        """Let a delivery wait for the event until its `answer_within`."""
        waiter = Waiter(delivery)
        tracked.waiters.append(waiter)
        self.limit(tracked, waiter)

    def limit(self, tracked: TrackedEvent, waiter: Waiter) -> None:
        """End the wait of a delivery at its `answer_within`."""
        delivery = waiter.delivery
        left_s = delivery.received + delivery.bot.config.answer_within_s - self._context.clock.monotonic()
        waiter.timer = asyncio.get_running_loop().call_later(max(left_s, 0.0), self._time_is_up, tracked, waiter)

    def park(self, tracked: TrackedEvent) -> None:
        """Journal a waiting event as ready and acknowledge it, as at `answer_within` but at once."""
        if tracked.commit is None:
            self._commit(tracked)

    def _time_is_up(self, tracked: TrackedEvent, waiter: Waiter) -> None:
        """Acknowledge, unless the sender is gone (it got no answer, so Pyrus comes again) or may come again."""
        waiter.timer = None
        if waiter not in tracked.waiters:
            return
        if waiter.delivery.gone:
            self._dismiss(tracked, waiter, UNRECORDED)
        elif self._sends_away(tracked, waiter.delivery.bot):
            self._dismiss(tracked, waiter, BUSY)
        elif tracked.commit is None:
            self._commit(tracked)

    def _sends_away(self, tracked: TrackedEvent, bot: Bot) -> bool:
        """Return whether a delivery whose time is up gets 503. The last attempt is acknowledged, because no other follows it."""
        if tracked.last:
            return False
        # a run that goes on here keeps its token, so only `late = retry` forbids its acknowledgement
        parked = tracked.phase == "waiting" or self.draining
        return must_not_park(tracked, bot) if parked else bot.config.late == "retry"

    def _can_be_posted(self, bot: Bot | None) -> bool:
        """Return whether the reply to an event that is parked now can be posted, by a login or with the token held here."""
        if bot is None or bot.can_log_in:
            return True
        return not (self.draining or self._context.journal.claims_first)

    def _dismiss(self, tracked: TrackedEvent, waiter: Waiter, outcome: Outcome) -> None:
        tracked.waiters.remove(waiter)
        self._context.responses.give(waiter.delivery, outcome, tracked.entry.task, tracked.attempt, tracked.entry.id)

    def _commit(self, tracked: TrackedEvent) -> None:
        tracked.commit = self._begin(self._acknowledge(tracked))

    async def _acknowledge(self, tracked: TrackedEvent) -> None:
        """Commit the door, then answer 200 `{}` to all. Answer 503 if the commit is not known to have landed in time."""
        due = list(tracked.waiters)
        writing = reserve(asyncio.get_running_loop().create_task(self._write(tracked)))
        done, _ = await asyncio.wait([writing], timeout=self._context.timing.commit_s)
        tracked.commit = None
        if not done:
            # the next write of this event waits for the end of this one, so that this one cannot land over a later decision
            writing.add_done_callback(lambda late: self._landed_late(tracked, late))
            self._stays(tracked, due)
            return
        written = writing.result()
        if written is None or not self._apply(tracked, written):
            self._stays(tracked, due)

    def _say(self, tracked: TrackedEvent, entry: Entry) -> None:
        """Answer all deliveries that wait, once the entry is committed."""
        if entry.state != "failed" or entry.door == "api":
            self._context.responses.give_all(tracked, PARKED if entry.state == "ready" else LATE)
            return
        self._context.responses.give_all(tracked, UNANSWERABLE)
        log.error(
            "%s", entry.error, extra={"bot": entry.bot, "task": entry.task, "event": entry.id, "outcome": "failed"}
        )
        self._context.failed(entry)

    async def _write(self, tracked: TrackedEvent) -> WriteResult | None:
        """Write that the event is acknowledged. Returns None if it is unknown whether the write landed."""
        # with `keep = 0` the row of a followed event has no body yet, and one of our deliveries brings it
        body = _brought(tracked.waiters) if tracked.phase == "followed" else stored_body(tracked)
        try:
            return await write(self._context, tracked, self._time_up(tracked.entry), body)
        except JournalAway as error:
            extra = {"bot": tracked.entry.bot, "task": tracked.entry.task, "event": tracked.entry.id}
            log.warning("not acknowledged, the journal is away: %s", error, extra=extra)
            return None

    def _time_up(self, entry: Entry) -> TimeIsUp:
        if self._can_be_posted(self._context.find_bot(entry.bot)):
            return TimeIsUp(self._context.now())
        error = f"not run: nobody could post the reply later, because {entry.bot} has no login; set one, then retry"
        return TimeIsUp(self._context.now(), error)

    def _apply(self, tracked: TrackedEvent, written: WriteResult) -> bool:
        """Go on by the row that the journal shows. Returns True if that dealt with the waiting deliveries."""
        entry = written.entry
        if entry is None:
            return self._goes_by_row(tracked, written.row)
        if tracked.phase == "running":
            if entry.fence != tracked.entry.fence:
                return False
            tracked.entry = msgspec.structs.replace(tracked.entry, door="api", status=200)
            tracked.unrecorded = False
        elif tracked.phase in ("waiting", "followed"):
            self._let_go(tracked, entry)
        else:
            return False
        self._say(tracked, entry)
        return True

    def _let_go(self, tracked: TrackedEvent, entry: Entry) -> None:
        """Let go of an event that is parked or that another process goes on with."""
        if tracked.phase == "waiting":
            bot = self._context.find_bot(entry.bot)
            self._context.event_table.unweigh(tracked)
            if bot is not None and entry.state == "ready" and not self._context.journal.claims_first:
                bot.queue.stand_ahead(entry.turn, entry.id)
        tracked.leave()
        tracked.entry = entry

    def _goes_by_row(self, tracked: TrackedEvent, row: Entry) -> bool:
        """Answer by the row if another process has ended the event meanwhile. Return whether it has."""
        if tracked.phase not in ("waiting", "followed") or not self._context.journal.claims_first:
            return False
        self._context.event_table.unweigh(tracked)
        tracked.leave()
        tracked.adopt(row)
        tracked.unsure = False
        self._changed.answer_by_row(tracked)
        return True

    def _stays(self, tracked: TrackedEvent, due: list[Waiter]) -> None:
        """Answer 503 to the deliveries whose time is up, because the commit may not have landed. The event goes on as it was."""
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

    def _landed_late(self, tracked: TrackedEvent, writing: asyncio.Future[WriteResult | None]) -> None:
        """Go on by the row if the commit lands after all, so that the next attempt meets the committed door."""
        if writing.cancelled() or writing.exception() is not None:
            return
        written = writing.result()
        if written is not None:
            self._apply(tracked, written)

    def follow(self, tracked: TrackedEvent) -> None:
        """Wait with the deliveries of this process for the end of another process's run."""
        tracked.phase = "followed"
        tracked.task = self._begin(self._follow(tracked, tracked.entry.runs))

    async def _follow(self, tracked: TrackedEvent, runs: int) -> None:
        """Read the row until it shows how the event went on. `runs` is the number of runs when the deliveries joined."""
        context = self._context
        while tracked.waiters:
            await context.journal.wait_hint(min(FOLLOW_S, context.timing.sweep_s))
            try:
                row = await context.journal.find(tracked.entry.id)
            except JournalAway:
                continue
            if row is not None and tracked.waiters and tracked.phase == "followed":
                self._see(tracked, row, runs)
            if tracked.phase != "followed":
                return
        if tracked.phase == "followed":
            tracked.rest()

    def _see(self, tracked: TrackedEvent, row: Entry, runs: int) -> None:
        """Act on the row of a followed event: acknowledged, failed for all that wait, free to be claimed, ended, or unchanged."""
        if row.state == "running" and row.door == "response":
            return
        tracked.adopt(row)
        if row.door == "api":
            self._context.responses.give_all(tracked, ACKNOWLEDGED)
            tracked.rest()
        elif row.state != "ready":
            tracked.rest()
            self._changed.answer_by_row(tracked)
        elif row.rerun == "error" and row.runs > runs and not tracked.last:
            self._context.responses.give_all(tracked, FAILED)
            tracked.rest()
        elif not self._changed.take_over(tracked):
            self._context.responses.give_all(tracked, UNAVAILABLE)
            tracked.rest()


def _brought(waiters: list[Waiter]) -> bytes | None:
    """Return the body of one of these deliveries without its token, or None."""
    if not waiters:
        return None
    envelope = decode(waiters[-1].delivery.body)
    return without_token(envelope.body, envelope.token)
