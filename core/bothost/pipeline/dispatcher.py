"""Turn a verified delivery into an outcome. `receive` decodes it, and `_find_event` looks for its event.

A new event goes to `_take_new` (filters) and `_admit` (run, park or turn away). A known one goes to `_take_known` and
`_answer_known` (join, or answer by state and door). `answer_by_row` and `take_over` hear of what happened to it elsewhere.

`_begin` hands an event to `Runs`, which waits in the bot's queue, claims, calls the handler and answers; a late reply goes to
`LateReplies`. The `Acknowledger` ends the waiting at `answer_within`. Parked events come back by `JournalPoller`, and not here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks
from bothost.errors import BodyRefused, JournalAway
from bothost.journal.entry import Entry
from bothost.pipeline.acknowledgement import Acknowledger, RowChanged, must_not_park
from bothost.pipeline.attempts import DEATHS, REPEAT_S, read_attempt
from bothost.pipeline.context import limit_of
from bothost.pipeline.counting import count_delivery
from bothost.pipeline.decoding import LARGE_BYTES, LargeBodies, decode_event
from bothost.pipeline.delivery import ACKNOWLEDGED, BUSY, CANCELLED, NOTHING, REPEAT, UNAVAILABLE, Outcome
from bothost.pipeline.event_table import TrackedEvent, Waiter, split
from bothost.pipeline.looks import follow_row, must_ask, newest_row
from bothost.pipeline.repeats import RepeatRecords
from bothost.pipeline.runs import Runs
from bothost.pyrus.envelope import decode, is_own, waiting_step

if TYPE_CHECKING:
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.filters import EventFilter
    from bothost.pipeline.late_replies import LateReplies
    from bothost.pyrus.envelope import Envelope

log = logging.getLogger("bothost.delivery")


@dataclass(frozen=True, slots=True)
class WaitingLimits:
    """The bytes of bodies that may wait. Beyond that events are parked at once."""

    bot_bytes: int = 64 << 20
    host_bytes: int = 256 << 20


class Dispatcher(RowChanged):
    """Takes deliveries. Each is answered once, now or later."""

    def __init__(
        self,
        context: PipelineContext,
        late_replies: LateReplies,
        event_filter: EventFilter,
        bounds: WaitingLimits | None = None,
    ) -> None:
        self._context = context
        self._claims_first = context.journal.claims_first
        """True with several processes or PostgreSQL: a claim is committed before its run, and others may own the event. False:
        the memory of this process is the truth."""
        self.runs = Runs(context, late_replies, self)
        self._acknowledger = Acknowledger(context, self)
        self._records = RepeatRecords(context, self)
        self._event_filter = event_filter
        self._bounds = bounds or WaitingLimits()
        self._spawn = BackgroundTasks().spawn
        self._leaving = False
        self._large_bodies = LargeBodies(context.clock)

    def receive(self, delivery: Delivery) -> None:
        """Decode, find the event, filter it, then claim it, join it, or answer by its door."""
        if len(delivery.body) > LARGE_BYTES:
            self._spawn(self._receive_large(delivery))
            return
        try:
            envelope, key = decode_event(delivery)
        except BodyRefused as error:
            self._refuse(delivery, error)
            return
        self._find_event(delivery, envelope, key)

    async def _receive_large(self, delivery: Delivery) -> None:
        try:
            envelope, key = await self._large_bodies.decode_event(delivery)
        except BodyRefused as error:
            self._refuse(delivery, error)
            return
        self._find_event(delivery, envelope, key)

    def _refuse(self, delivery: Delivery, error: BodyRefused) -> None:
        self._context.responses.give(delivery, Outcome(400, NOTHING, "malformed"), 0, 1, why=str(error))

    def _find_event(self, delivery: Delivery, envelope: Envelope, key: str) -> None:
        """Find the event in memory and, if the journal may know more, there. Then go on with it as new or known."""
        self._event_filter.learn(delivery.bot, envelope)
        if delivery.secret_index:
            self._event_filter.old_secret(delivery.bot)
        tracked = self._context.event_table.get(key)
        if tracked is None and self._claims_first and self._may_claim_unseen(delivery, envelope):
            self._take_new(key, delivery, envelope, not_looked_up=True)
        elif must_ask(self._context, tracked, delivery, envelope):
            self._spawn(self._ask_journal(key, delivery, envelope))
        elif tracked is not None:
            self._take_known(tracked, delivery, envelope)
        else:
            self._take_new(key, delivery, envelope)

    def _may_claim_unseen(self, delivery: Delivery, envelope: Envelope) -> bool:
        """Return whether a durable claim of a first attempt may be made without a look before it, because its run can begin now.

        The claim finds a known event as well as a look does; `look_again` then goes on as after a look.
        """
        bot = delivery.bot
        return (
            bool(envelope.comment_id)
            and not is_own(envelope, bot.user_id)  # whether such an event is for the bot depends on what is known of it
            and read_attempt(delivery.attempt).marked <= 1
            and bot.state.serves
            and not self._acknowledger.draining
            and bot.queue.is_free(str(envelope.task_id) if bot.config.order == "task" else None)
        )

    async def _ask_journal(self, key: str, delivery: Delivery, envelope: Envelope) -> None:
        row, number = await newest_row(self._context.journal, key)
        event_table = self._context.event_table
        tracked = event_table.get(key)
        if tracked is None and row is None:
            self._take_new(key, delivery, envelope)
            return
        if tracked is None:
            assert row is not None
            tracked = TrackedEvent(key, row, split(row.id)[1])
            event_table.add(tracked)
        elif row is not None:
            follow_row(tracked, row, claims_first=self._context.journal.claims_first)
        tracked.number = max(tracked.number, number)
        self._take_known(tracked, delivery, envelope)

    def _take_new(
        self, key: str, delivery: Delivery, envelope: Envelope, number: int = 1, *, not_looked_up: bool = False
    ) -> None:
        """Take an event that is new. `number` > 1: a later event of a key that is a digest. `not_looked_up`: its
        claim finds out whether the journal knows it."""
        context = self._context
        attempt = read_attempt(delivery.attempt)
        config = delivery.bot.config
        step = waiting_step(envelope, delivery.bot.user_id)
        if number == 1:
            word = self._event_filter.skips(delivery.bot, envelope, step)
            if word == "ask":
                # it comes back here with the answer remembered, so the journal is asked once
                self._spawn(self._ask_own(key, delivery, envelope))
                return
            if word:
                context.responses.give(delivery, Outcome(200, NOTHING, word), envelope.task_id, attempt.number(0), key)
                return
        now = context.now()
        entry = Entry(
            id=key if number == 1 else f"{key}~{number}",
            bot=config.name,
            task=envelope.task_id,
            turn=str(envelope.task_id) if config.order == "task" else None,
            comment=envelope.comment_id or 0,
            step=step,
            rerun="maybe" if attempt.marked > 1 and number == 1 else "",
            trace=delivery.trace,
            created=now,
            updated=now,
            limit_s=limit_of(config) if context.journal.claims_first else 0.0,
        )
        tracked = TrackedEvent(key, entry, number, not_looked_up=not_looked_up)
        context.event_table.add(tracked)
        count_delivery(self._context, tracked, delivery, envelope, now)
        self._admit(tracked, delivery, envelope)

    async def _ask_own(self, key: str, delivery: Delivery, envelope: Envelope) -> None:
        """Ask the journal for the bot's last step, because only that tells whether it waits at a new step after its own comment."""
        bot = delivery.bot
        try:
            last = await self._context.journal.last_step(bot.config.name, envelope.task_id)
        except JournalAway:
            last = None
        self._event_filter.remember(bot, envelope.task_id, last or 0)
        tracked = self._context.event_table.get(key)
        if tracked is not None:
            self._take_known(tracked, delivery, envelope)
        else:
            self._take_new(key, delivery, envelope)

    def _admit(self, tracked: TrackedEvent, delivery: Delivery, envelope: Envelope) -> None:
        """Run a new or held event or let it wait; if that may not be, park it, or answer 503 so that Pyrus comes again."""
        context = self._context
        bot = delivery.bot
        tracked.envelope, tracked.body = envelope, None
        size = len(envelope.body)
        full = (
            bot.queue.waiting_bytes + size > self._bounds.bot_bytes
            or context.event_table.waiting_bytes + size > self._bounds.host_bytes
        )
        paused = context.loop_breaker.is_paused(bot.name, envelope.task_id)
        # while the host stops nothing begins but the last attempt for a bot without a login, whose reply no later process could post
        halted = self._acknowledger.draining and (bot.can_log_in or self._leaving or not tracked.last)
        if not (full or paused or halted or bot.state.broken):
            self._event_filter.remember(bot, envelope.task_id, tracked.entry.step)
            self._begin(tracked, delivery)
        elif must_not_park(tracked, bot) or (bot.state.broken and not tracked.last):
            self._turn_away(tracked, delivery)
        else:
            self._event_filter.remember(bot, envelope.task_id, tracked.entry.step)
            tracked.phase = "waiting"
            self._acknowledger.join(tracked, delivery)
            self._acknowledger.park(tracked)

    def _begin(self, tracked: TrackedEvent, delivery: Delivery) -> None:
        """Begin the run, or let the event wait for turn and permit. If both are free, a quick handler has answered when `begin`
        returns. Only a delivery that still waits then gets a time limit, and only its body counts as waiting."""
        waiter = Waiter(delivery)
        tracked.waiters.append(waiter)
        self.runs.begin(tracked, delivery.bot)
        if tracked.phase == "waiting":
            self._context.event_table.weigh(tracked, delivery.bot.queue, len(delivery.body))
        if waiter in tracked.waiters:
            self._acknowledger.limit(tracked, waiter)

    def _turn_away(self, tracked: TrackedEvent, delivery: Delivery) -> None:
        """Answer 503. Pyrus comes again, unless this was its last attempt."""
        tracked.rest()
        self._note_unavailable(tracked)
        outcome = UNAVAILABLE if delivery.bot.state.broken else BUSY
        self._context.responses.give(delivery, outcome, tracked.entry.task, tracked.attempt, tracked.entry.id)

    def _note_unavailable(self, tracked: TrackedEvent) -> None:
        """Note the 503. A new event (fence 0, never claimed) keeps only its count. For a held one (claimed before) the time moves
        at which no further attempt is expected."""
        entry = tracked.entry
        entry.status = 503
        if entry.fence:
            entry.due = entry.seen_at + self._context.timing.quiet_s
            self._records.note(tracked)

    def _take_known(self, tracked: TrackedEvent, delivery: Delivery, envelope: Envelope) -> None:
        """Count a delivery of a known event and answer it.

        A later first attempt gets 200 {} and is neither counted nor run, if its key has a comment id. With a digest for a key it
        begins a new event once the old one has ended; until then it counts as a repeat.
        """
        entry = tracked.entry
        if self._is_later_first_attempt(tracked, read_attempt(delivery.attempt).marked):
            if entry.comment:
                self._answer(tracked, delivery, REPEAT)
                return
            if tracked.phase == "idle" and entry.state not in ("ready", "running"):
                self._take_new(tracked.base, delivery, envelope, tracked.number + 1)
                return
        count_delivery(self._context, tracked, delivery, envelope, self._context.now())
        self._answer_known(tracked, delivery, envelope)

    def _answer_known(self, tracked: TrackedEvent, delivery: Delivery, envelope: Envelope) -> None:
        """Answer a counted delivery of a known event, or let it wait. `phase` is what this process does for the event,
        `entry.state` what the journal says of it."""
        entry = tracked.entry
        if tracked.phase in ("waiting", "running", "followed") and entry.door == "response":
            self._acknowledger.join(tracked, delivery)
        elif tracked.phase != "idle" or entry.door == "api":
            self._answer(tracked, delivery, ACKNOWLEDGED)
        elif entry.state == "ready":
            self._retry_held(tracked, delivery, envelope)
        elif entry.state == "running":
            # another process runs it, so the acknowledger watches its row, and calls `answer_by_row` or `take_over`
            self._acknowledger.join(tracked, delivery)
            self._acknowledger.follow(tracked)
        elif entry.state == "answered":
            self._records.give_stored(tracked, delivery)
        elif entry.state == "failed":
            body = entry.answer if entry.status == 200 and entry.answer else NOTHING
            self._answer(tracked, delivery, Outcome(entry.status or 500, body, "failed", repeat=True))
            # the journal must know that Pyrus has no attempts left, because an operator may retry the event by now
            self._records.note(tracked)
        else:
            self._answer(tracked, delivery, CANCELLED)

    def _retry_held(self, tracked: TrackedEvent, delivery: Delivery, envelope: Envelope) -> None:
        """Admit a held event again for this attempt. The last attempt fails instead if its host died twice while it ran."""
        entry = tracked.entry
        if entry.deaths < DEATHS - 1 or not tracked.last:
            self._admit(tracked, delivery, envelope)
            return
        error = f"not run again: the host died {entry.deaths} times while it ran"
        tracked.entry = msgspec.structs.replace(entry, state="failed", status=500, failed=True, error=error)
        log.error("%s", error, extra={"bot": entry.bot, "task": entry.task, "event": entry.id})
        self._records.note(tracked)
        self._context.failed(tracked.entry)
        self._answer(tracked, delivery, Outcome(500, NOTHING, "failed"))

    def _answer(self, tracked: TrackedEvent, delivery: Delivery, outcome: Outcome) -> None:
        self._context.responses.give(delivery, outcome, tracked.entry.task, tracked.attempt, tracked.entry.id)

    def _is_later_first_attempt(self, tracked: TrackedEvent, marked: int) -> bool:
        """Return whether this is a first attempt and no repeat: it came after ten minutes, or is marked 1 when a digest's event has
        its answer."""
        if marked > 1:
            return False
        entry = tracked.entry
        if entry.seen_at and self._context.now() - entry.seen_at > REPEAT_S:
            return True
        return marked == 1 and not entry.comment and tracked.phase == "idle" and entry.state == "answered"

    def answer_by_row(self, tracked: TrackedEvent) -> None:
        """Answer each waiting delivery as a repeat of the row would be, because the row differs from what memory believed."""
        waiters, tracked.waiters = tracked.waiters, []
        for waiter in waiters:
            waiter.stop()
            if waiter.delivery.gone:
                self._answer(tracked, waiter.delivery, UNAVAILABLE)
            else:
                self._answer_known(tracked, waiter.delivery, decode(waiter.delivery.body))

    def look_again(self, tracked: TrackedEvent) -> None:
        """Look up an event that was taken for new and is known, and go on with the waiting deliveries as after a look."""
        self._event_filter.forget(tracked.entry.bot, tracked.entry.task)
        waiters, tracked.waiters = tracked.waiters, []
        for waiter in waiters:
            waiter.stop()
            self._spawn(self._ask_journal(tracked.base, waiter.delivery, decode(waiter.delivery.body)))

    def take_over(self, tracked: TrackedEvent) -> bool:
        """Claim an event whose owner is gone, with the deliveries that wait here. Returns False if its bot was removed."""
        bot = self._context.find_bot(tracked.entry.bot)
        if bot is None:
            return False
        delivery = tracked.waiters[-1].delivery
        tracked.envelope = decode(delivery.body)
        tracked.body = None
        self.runs.begin(tracked, bot)
        if tracked.phase == "waiting":
            self._context.event_table.weigh(tracked, bot.queue, len(delivery.body))
        return True

    def park_all(self, *, end: bool = False) -> None:
        """Park the waiting events. Answer 503 instead with `late = retry` and for a bot without a login.

        The last attempt of a bot without a login goes on waiting for its turn until the `end` of the drain, because no later
        process could post its reply. A drain calls this repeatedly, because an event that is followed on another process
        may come to wait here later.
        """
        self._acknowledger.draining = True
        self._leaving = self._leaving or end
        for tracked in self._context.event_table:
            if tracked.phase == "waiting" and tracked not in self.runs.running:
                bot = self._context.find_bot(tracked.entry.bot)
                if bot is not None and must_not_park(tracked, bot):
                    self._send_away(tracked)
                elif self._leaving or bot is None or bot.can_log_in:
                    self._acknowledger.park(tracked)

    def _send_away(self, tracked: TrackedEvent) -> None:
        self._context.responses.give_all(tracked, BUSY)
        self._context.event_table.unweigh(tracked)
        tracked.leave()
        self._note_unavailable(tracked)
