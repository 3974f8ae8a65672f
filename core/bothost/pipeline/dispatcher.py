"""THE pipeline: a verified delivery becomes an outcome. The stages stand in `receive`, in the order they happen."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bothost.background import watch
from bothost.errors import BodyRefused, StoreAway
from bothost.journal.entry import Entry
from bothost.pipeline.attempts import APART_S, DEATHS, REPEAT_S, read_attempt
from bothost.pipeline.context import limit_of
from bothost.pipeline.delivery import ACKNOWLEDGED, BUSY, CANCELLED, NOTHING, REPEAT, UNAVAILABLE, Outcome
from bothost.pipeline.event_table import Live, split
from bothost.pyrus.envelope import decode, event_key, waiting_step

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bothost.pipeline.acknowledgement import Acks
    from bothost.pipeline.context import Means
    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.filters import Sieve
    from bothost.pipeline.runs import Runs
    from bothost.pyrus.envelope import Envelope

log = logging.getLogger("bothost.delivery")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many bytes of bodies may wait; beyond that events are parked at once."""

    bot_bytes: int = 64 << 20
    host_bytes: int = 256 << 20


class Dispatch:
    """Takes deliveries; each is answered once, at once or later."""

    def __init__(self, means: Means, runs: Runs, acks: Acks, sieve: Sieve, bounds: Bounds | None = None) -> None:
        self._means = means
        self._runs = runs
        self._acks = acks
        self._sieve = sieve
        self._bounds = bounds or Bounds()
        self.draining = False
        runs.claims.known = acks.known = self._meet_again
        acks.take_over = self._take_over

    def receive(self, delivery: Delivery) -> None:
        """Decode, find what is known of the event, sift, then claim, join, or answer by its door."""
        try:
            envelope = decode(delivery.body)
        except BodyRefused as error:
            self._means.answers.give(delivery, Outcome(400, NOTHING, "malformed"), 0, 1, str(error))
            return
        key = event_key(delivery.bot.config.name, envelope)
        self._sieve.learn(delivery.bot, envelope)
        if delivery.signature_ok:
            self._sieve.old_secret(delivery.bot)
        live = self._means.ledger.get(key)
        if self._must_look(live, delivery, envelope):
            self._spawn(self._look_up(key, delivery, envelope))
        elif live is not None:
            self._again(live, delivery, envelope)
        else:
            self._new(key, delivery, envelope)

    def _must_look(self, live: Live | None, delivery: Delivery, envelope: Envelope) -> bool:
        """Whether the journal may know more of the event than we do: then it is asked before anything is decided."""
        if self._means.store.claims_first:
            return live is None or live.phase != "waiting"
        if live is None:
            return self._means.ledger.may_be_stored(delivery.bot.config.name, envelope.comment_id or 0)
        # what is held or has failed may be in an operator's hand
        entry = live.entry
        return (
            live.phase == "idle" and entry.door == "response" and entry.state in ("ready", "failed") and entry.fence > 0
        )

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        asyncio.get_running_loop().create_task(work).add_done_callback(watch)

    async def _look_up(self, key: str, delivery: Delivery, envelope: Envelope) -> None:
        row, number = await self._row_of(key)
        ledger = self._means.ledger
        live = ledger.get(key)
        if live is None and row is None:
            self._new(key, delivery, envelope)
            return
        if live is None:
            assert row is not None
            live = Live(key, row)
            ledger.add(live)
        elif row is not None:
            self._compare(live, row)
        live.number = max(live.number, number)
        self._again(live, delivery, envelope)

    async def _row_of(self, key: str) -> tuple[Entry | None, int]:
        """The event's newest row, and the highest number taken of its key: that may be an operator's `--again`."""
        store = self._means.store
        try:
            row = await store.latest(key)
            number = split(row.id)[1] if row is not None else 1
            below = number
            while row is not None and row.kind == "manual":
                below -= 1
                row = await store.find(key if below <= 1 else f"{key}~{below}")
        except StoreAway:
            return None, 1
        return row, number

    def _compare(self, live: Live, row: Entry) -> None:
        """Where claims come first the journal is ahead of an event we are not at; of one that we run it knows the door. Where
        memory is the truth it knows only what an operator cancelled or lets run again."""
        if not self._means.store.claims_first:
            by_hand = row.state == "cancelled" or (row.door == "api" and live.entry.door == "response")
            if live.phase == "idle" and by_hand and row.id == live.entry.id and row.fence >= live.entry.fence:
                live.adopt(row)
        elif live.phase == "idle":
            if row.fence >= live.entry.fence:
                live.adopt(row)
        elif row.id == live.entry.id and row.fence == live.entry.fence and row.door == "api":
            live.entry.door = "api"

    def _new(self, key: str, delivery: Delivery, envelope: Envelope, number: int = 1) -> None:
        """An event that nobody has seen before; `number` > 1: a later one of a key by digest."""
        means = self._means
        attempt = read_attempt(delivery.attempt)
        config = delivery.bot.config
        step = waiting_step(envelope, delivery.bot.user_id)
        if number == 1:
            word = self._sieve.skips(delivery.bot, envelope, step)
            if word == "ask":
                self._spawn(self._ask_own(key, delivery, envelope))
                return
            if word:
                means.answers.give(delivery, Outcome(200, NOTHING, word), envelope.task_id, attempt.number(0))
                return
        now = means.now()
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
            limit_s=limit_of(config) if means.store.claims_first else 0.0,
        )
        live = Live(key, entry)
        means.ledger.add(live)
        self._count(live, delivery, envelope)
        self._admit(live, delivery, envelope)

    async def _ask_own(self, key: str, delivery: Delivery, envelope: Envelope) -> None:
        """The bot waits after a comment of its own: whether that is a new step only the journal may know."""
        bot = delivery.bot
        try:
            last = await self._means.store.last_step(bot.config.name, envelope.task_id)
        except StoreAway:
            last = None
        self._sieve.remember(bot, envelope.task_id, last or 0)
        live = self._means.ledger.get(key)
        if live is not None:
            self._again(live, delivery, envelope)
        else:
            self._new(key, delivery, envelope)

    def _admit(self, live: Live, delivery: Delivery, envelope: Envelope) -> None:
        """A new or held event: run it, let it wait, park it, or have Pyrus come again."""
        means = self._means
        bot = delivery.bot
        live.envelope, live.body = envelope, None
        size = len(envelope.body)
        full = (
            bot.lane.waiting_bytes + size > self._bounds.bot_bytes
            or means.ledger.waiting_bytes + size > self._bounds.host_bytes
        )
        looping = means.breaker.holds(bot.name, envelope.task_id)
        runs = not (full or looping or self.draining or bot.state.broken)
        if not runs and (bot.config.late == "retry" or (bot.state.broken and not live.last)):
            self._turn_away(live, delivery)
            return
        self._sieve.ran(bot, envelope.task_id, live.entry.step)
        if runs:
            means.ledger.weigh(live, bot.lane, size)
            waiter = self._acks.admit(live, delivery)
            self._runs.begin(live, bot)
            if waiter in live.waiters:  # it is not answered yet
                self._acks.limit(live, waiter)
        else:
            live.phase = "waiting"
            self._acks.join(live, delivery)
            self._acks.park(live)

    def _turn_away(self, live: Live, delivery: Delivery) -> None:
        """503: Pyrus comes again."""
        live.rest()
        self._held_on(live)
        outcome = UNAVAILABLE if delivery.bot.state.broken else BUSY
        self._means.answers.give(delivery, outcome, live.entry.task, live.attempt)

    def _held_on(self, live: Live) -> None:
        """Nothing is kept of a new event that is turned away but the count of its deliveries; a held one is quiet later."""
        entry = live.entry
        entry.status = 503
        if entry.fence:
            entry.due = entry.seen_at + self._means.timing.quiet_s
            self._note(live)

    def _count(self, live: Live, delivery: Delivery, envelope: Envelope) -> None:
        """Which attempt this is; deliveries within a second of each other count as one."""
        now = self._means.now()
        entry = live.entry
        attempt = read_attempt(delivery.attempt)
        seen = entry.seen
        if seen and now - entry.seen_at < APART_S:
            seen -= 1
        live.attempt = attempt.number(seen)
        live.last = attempt.is_last(seen)
        entry.seen, entry.seen_at = seen + 1, now
        live.touched = self._means.clock.monotonic()
        if envelope.token:
            live.token = envelope.token
            self._means.hide(envelope.token)

    def _again(self, live: Live, delivery: Delivery, envelope: Envelope) -> None:
        """A delivery of an event that is known: count it, then go by state and door."""
        entry = live.entry
        if self._is_later_first(live, read_attempt(delivery.attempt).marked):
            if entry.comment:
                self._repeat(live, delivery, REPEAT)
                return
            if live.phase == "idle" and entry.state not in ("ready", "running"):
                self._new(live.base, delivery, envelope, live.number + 1)
                return
        self._count(live, delivery, envelope)
        self._meet(live, delivery, envelope)

    def _meet(self, live: Live, delivery: Delivery, envelope: Envelope) -> None:
        """What a counted delivery of a known event gets."""
        entry = live.entry
        if live.phase in ("waiting", "running", "foreign") and entry.door == "response":
            self._acks.join(live, delivery)
        elif live.phase != "idle" or entry.door == "api":
            self._repeat(live, delivery, ACKNOWLEDGED)
        elif entry.state == "ready":
            self._meet_held(live, delivery, envelope)
        elif entry.state == "running":
            self._acks.join(live, delivery)
            self._acks.follow(live)
        elif entry.state == "answered":
            self._give_stored(live, delivery)
        elif entry.state == "failed":
            body = entry.answer if entry.status == 200 and entry.answer else NOTHING
            self._repeat(live, delivery, Outcome(entry.status or 500, body, "failed", repeat=True))
            # the journal must know that Pyrus has no attempts left; it may be in an operator's hand by now
            self._spawn(self._save_quietly(entry))
        else:
            self._repeat(live, delivery, CANCELLED)

    def _meet_held(self, live: Live, delivery: Delivery, envelope: Envelope) -> None:
        """An attempt at a held event claims it; but not the last one where its host died twice over it."""
        entry = live.entry
        if entry.deaths < DEATHS - 1 or not live.last:
            self._admit(live, delivery, envelope)
            return
        error = f"not run again: the host died {entry.deaths} times while it ran"
        live.entry = msgspec.structs.replace(entry, state="failed", status=500, failed=True, error=error)
        log.error("%s", error, extra={"bot": entry.bot, "task": entry.task})
        self._note(live)
        self._means.failed(live.entry)
        self._repeat(live, delivery, Outcome(500, NOTHING, "failed"))

    def _give_stored(self, live: Live, delivery: Delivery) -> None:
        """The stored bytes, once more; the first connection that takes them makes the answer delivered."""
        entry = live.entry
        outcome = Outcome(200, entry.answer or NOTHING, "repeat", repeat=True)
        written = self._means.answers.give(delivery, outcome, entry.task, live.attempt)
        due = entry.seen_at + self._means.timing.quiet_s
        live.entry = msgspec.structs.replace(entry, delivered=entry.delivered or written, due=due)
        if not (self._means.store.claims_first and entry.delivered):
            self._note(live)

    def _repeat(self, live: Live, delivery: Delivery, outcome: Outcome) -> None:
        self._means.answers.give(delivery, outcome, live.entry.task, live.attempt)

    def _note(self, live: Live) -> None:
        """Write what a delivery changed, behind."""
        store = self._means.store
        if not store.claims_first:
            store.note(live.entry)
        else:
            self._spawn(self._save_quietly(live.entry))

    async def _save_quietly(self, entry: Entry) -> None:
        try:
            await self._means.store.save(entry, door="response")
        except StoreAway:
            log.warning("what a delivery changed in %s could not be written", entry.id, extra={"bot": entry.bot})

    def _is_later_first(self, live: Live, marked: int) -> bool:
        """A first attempt that is no repeat: later than ten minutes, or marked 1 when a digest's event has its answer."""
        if marked > 1:
            return False
        entry = live.entry
        if entry.seen_at and self._means.now() - entry.seen_at > REPEAT_S:
            return True
        return marked == 1 and not entry.comment and live.phase == "idle" and entry.state == "answered"

    def _meet_again(self, live: Live) -> None:
        """An event turned out to be in the journal, or another process ended it: answer those who wait by what it says."""
        waiters, live.waiters = live.waiters, []
        for waiter in waiters:
            waiter.stop()
            if waiter.delivery.gone:
                self._repeat(live, waiter.delivery, UNAVAILABLE)
            else:
                self._meet(live, waiter.delivery, decode(waiter.delivery.body))

    def _take_over(self, live: Live) -> bool:
        """The owner of an event we wait for is gone: claim it with the deliveries that wait here."""
        bot = self._means.find_bot(live.entry.bot)
        if bot is None:
            return False
        delivery = live.waiters[-1].delivery
        live.envelope = decode(delivery.body)
        live.body = None
        self._means.ledger.weigh(live, bot.lane, len(delivery.body))
        self._runs.begin(live, bot)
        return True

    def park_all(self) -> None:
        """Nothing new is begun, what waits is parked (or comes again, with `late = retry`); what is being claimed runs.

        Called again and again during a drain: what stood in line behind another process's run is waiting only now and then.
        """
        self.draining = True
        for live in self._means.ledger:
            if live.phase == "waiting" and live not in self._runs.running:
                bot = self._means.find_bot(live.entry.bot)
                if bot is not None and bot.config.late == "retry":
                    self._send_away(live)
                else:
                    self._acks.park(live)

    def _send_away(self, live: Live) -> None:
        self._means.answers.give_all(live, BUSY)
        self._means.ledger.unweigh(live)
        live.leave()
        self._held_on(live)
