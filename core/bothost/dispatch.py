"""THE pipeline: a verified delivery becomes an outcome. The stages stand in `receive`, in the order they happen."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from bothost.answers import ACKNOWLEDGED, BUSY, CANCELLED, REPEAT, UNAVAILABLE
from bothost.delivery import NOTHING, Outcome
from bothost.errors import BodyRefused, StoreAway
from bothost.ledger import Live
from bothost.means import watch
from bothost.pyrus.events import decode, event_key, waiting_step
from bothost.rules import APART_S, DEATHS, LEASE_BEYOND_S, REPEAT_S, read_attempt
from bothost.store import Entry

if TYPE_CHECKING:
    from bothost.acks import Acks
    from bothost.delivery import Delivery
    from bothost.means import Means
    from bothost.pyrus.events import Envelope
    from bothost.runs import Runs
    from bothost.sieve import Sieve

log = logging.getLogger("bothost.delivery")

BOT_BYTES = 64 << 20
"""Waiting bodies of one bot; beyond that events are parked at once."""
HOST_BYTES = 256 << 20


class Dispatch:
    """Takes deliveries; each is answered once, at once or later."""

    def __init__(self, means: Means, runs: Runs, acks: Acks, sieve: Sieve) -> None:
        self._means = means
        self._runs = runs
        self._acks = acks
        self._sieve = sieve
        self.draining = False
        runs.known = acks.known = self._meet_again
        acks.take_over = self._take_over

    def receive(self, delivery: Delivery) -> None:
        """Decode, find what is known of the event, sift, then claim, join, or answer by its door."""
        try:
            envelope = decode(delivery.body)
        except BodyRefused as error:
            log.info("%s", error, extra={"bot": delivery.bot.config.name})
            self._means.answers.give(delivery, Outcome(400, NOTHING, "malformed"), 0, 1)
            return
        key = event_key(delivery.bot.config.name, envelope)
        self._sieve.learn(delivery.bot, envelope)
        if delivery.signature_ok:
            self._sieve.old_secret(delivery.bot)
        live = self._means.ledger.get(key)
        if live is not None and not (self._means.store.claims_first and live.phase == "idle"):
            self._again(live, delivery, envelope)
        elif self._must_look(delivery, envelope):
            task = asyncio.get_running_loop().create_task(self._look_up(key, delivery, envelope))
            task.add_done_callback(watch)
        else:
            self._new(key, delivery, envelope)

    def _must_look(self, delivery: Delivery, envelope: Envelope) -> bool:
        """Whether the journal may know the event: then it is asked before anything is decided."""
        return self._means.store.claims_first or self._means.ledger.may_be_stored(
            delivery.bot.config.name, envelope.comment_id or 0
        )

    async def _look_up(self, key: str, delivery: Delivery, envelope: Envelope) -> None:
        means = self._means
        try:
            row = await means.store.latest(key)
        except StoreAway:
            row = None
        live = means.ledger.get(key)
        if live is not None and (live.phase != "idle" or row is None):
            self._again(live, delivery, envelope)
            return
        if row is None:
            self._new(key, delivery, envelope)
            return
        if live is None:
            live = Live(key, row)
            means.ledger.add(live)
        live.entry = row
        self._again(live, delivery, envelope)

    def _new(self, key: str, delivery: Delivery, envelope: Envelope, number: int = 1) -> None:
        """An event that nobody has seen before; `number` > 1: a later one of a key by digest."""
        means = self._means
        attempt = read_attempt(delivery.attempt)
        step = waiting_step(envelope, delivery.bot.user_id)
        if number == 1:
            word = self._sieve.skips(delivery.bot, envelope, step)
            if word == "ask":
                task = asyncio.get_running_loop().create_task(self._ask_own(key, delivery, envelope))
                task.add_done_callback(watch)
                return
            if word:
                means.answers.give(delivery, Outcome(200, NOTHING, word), envelope.task_id, attempt.number(0))
                return
        now = means.now()
        entry = Entry(
            id=key if number == 1 else f"{key}~{number}",
            bot=delivery.bot.config.name,
            task=envelope.task_id,
            turn=str(envelope.task_id) if delivery.bot.config.order == "task" else None,
            comment=envelope.comment_id or 0,
            step=step,
            rerun="maybe" if attempt.marked > 1 and number == 1 else "",
            trace=delivery.trace,
            created=now,
            updated=now,
            limit_s=delivery.bot.config.timeout_s + LEASE_BEYOND_S,
        )
        live = Live(key, entry)
        means.ledger.add(live)
        self._sieve.ran(delivery.bot, envelope.task_id, step)
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
        self._count(live, delivery, envelope)
        live.envelope, live.token, live.body = envelope, envelope.token, None
        config = bot.config
        size = len(envelope.body)
        full = bot.lane.waiting_bytes + size > BOT_BYTES or means.ledger.waiting_bytes + size > HOST_BYTES
        looping = means.breaker.holds(bot.name, envelope.task_id)
        if not (full or looping or self.draining or bot.state.broken):
            means.ledger.weigh(live, bot.lane, size)
            self._acks.join(live, delivery)
            self._runs.begin(live, bot)
        elif config.late == "retry" or (bot.state.broken and not live.last):
            self._turn_away(live, delivery)
        else:
            self._park_at_once(live, delivery)

    def _turn_away(self, live: Live, delivery: Delivery) -> None:
        """503: Pyrus comes again. Nothing is kept of a new event but the count of its deliveries."""
        live.rest()
        live.entry.status = 503
        outcome = UNAVAILABLE if delivery.bot.state.broken else BUSY
        self._means.answers.give(delivery, outcome, live.entry.task, live.attempt)

    def _park_at_once(self, live: Live, delivery: Delivery) -> None:
        live.phase = "waiting"
        self._acks.join(live, delivery)
        self._acks.park(live)

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

    def _again(self, live: Live, delivery: Delivery, envelope: Envelope) -> None:
        """A delivery of an event that is known: by its state and door."""
        entry = live.entry
        marked = read_attempt(delivery.attempt).marked
        if self._is_later_first(live, marked):
            if entry.comment:
                self._repeat(live, delivery, REPEAT)
                return
            if live.phase == "idle" and entry.state != "ready":
                number = entry.id[len(live.base) + 1 :] or "1"
                self._new(live.base, delivery, envelope, int(number) + 1)
                return
        if live.phase in ("waiting", "running", "foreign") and entry.door == "response":
            self._count(live, delivery, envelope)
            self._acks.join(live, delivery)
        elif live.phase != "idle" or entry.door == "api":
            self._count(live, delivery, envelope)
            self._repeat(live, delivery, ACKNOWLEDGED)
        else:
            self._again_idle(live, delivery, envelope)

    def _again_idle(self, live: Live, delivery: Delivery, envelope: Envelope) -> None:
        """Known, its door is the response, and this process is not at it."""
        entry = live.entry
        if entry.state == "ready":
            if entry.deaths >= DEATHS - 1 and self._would_be_last(live, delivery):
                self._fail_poison(live, delivery, envelope)
            else:
                self._admit(live, delivery, envelope)
            return
        self._count(live, delivery, envelope)
        if entry.state == "running":
            self._acks.join(live, delivery)
            self._acks.follow(live)
        elif entry.state == "answered":
            self._give_stored(live, delivery)
        elif entry.state == "failed":
            body = entry.answer if entry.status == 200 and entry.answer else NOTHING
            self._repeat(live, delivery, Outcome(entry.status or 500, body, "failed", repeat=True))
        else:
            self._repeat(live, delivery, CANCELLED)

    def _give_stored(self, live: Live, delivery: Delivery) -> None:
        """The stored bytes, once more; the first connection that takes them makes the answer delivered."""
        entry = live.entry
        written = self._means.answers.give(
            delivery, Outcome(200, entry.answer or NOTHING, "repeat", repeat=True), entry.task, live.attempt
        )
        changed = msgspec.structs.replace(entry, delivered=entry.delivered or written, status=200)
        live.entry = changed
        self._note(live)

    def _repeat(self, live: Live, delivery: Delivery, outcome: Outcome) -> None:
        self._means.answers.give(delivery, outcome, live.entry.task, live.attempt)

    def _note(self, live: Live) -> None:
        """Write what a repeat changed; where claims come first it only matters to an answer that was undelivered."""
        store = self._means.store
        if not store.claims_first:
            store.note(live.entry)
        elif live.entry.delivered:
            task = asyncio.get_running_loop().create_task(self._save_quietly(live.entry))
            task.add_done_callback(watch)

    async def _save_quietly(self, entry: Entry) -> None:
        try:
            await self._means.store.save(entry, door="response")
        except StoreAway:
            log.warning("that %s is delivered could not be written", entry.id, extra={"bot": entry.bot})

    def _is_later_first(self, live: Live, marked: int) -> bool:
        """A first attempt that is no repeat: later than ten minutes, or marked 1 when a digest's event has its answer."""
        if marked > 1:
            return False
        entry = live.entry
        if entry.seen_at and self._means.now() - entry.seen_at > REPEAT_S:
            return True
        return marked == 1 and not entry.comment and live.phase == "idle" and entry.state == "answered"

    def _would_be_last(self, live: Live, delivery: Delivery) -> bool:
        return read_attempt(delivery.attempt).is_last(live.entry.seen)

    def _fail_poison(self, live: Live, delivery: Delivery, envelope: Envelope) -> None:
        """Its host died twice over it: not a third time."""
        self._count(live, delivery, envelope)
        entry = live.entry
        error = f"not run again: the host died {entry.deaths} times while it ran"
        live.entry = msgspec.structs.replace(entry, state="failed", status=500, failed=True, error=error)
        log.error("%s", error, extra={"bot": entry.bot, "task": entry.task})
        self._note(live)
        self._means.failed(live.entry)
        self._repeat(live, delivery, Outcome(500, NOTHING, "failed"))

    def _meet_again(self, live: Live) -> None:
        """An event turned out to be in the journal, or another process ended it: answer those who wait by what it says."""
        waiters, live.waiters = live.waiters, []
        live.phase = "idle"
        for waiter in waiters:
            waiter.stop()
            self._again(live, waiter.delivery, decode(waiter.delivery.body))

    def _take_over(self, live: Live) -> None:
        """The owner of an event we wait for is gone: claim it with the deliveries that wait here."""
        bot = self._means.find_bot(live.entry.bot)
        if bot is None or not live.waiters:
            live.phase = "idle"
            return
        delivery = live.waiters[-1].delivery
        live.envelope = decode(delivery.body)
        self._means.ledger.weigh(live, bot.lane, len(delivery.body))
        self._runs.begin(live, bot)

    def park_all(self) -> None:
        """Nothing new is begun, what waits is parked (or comes again, with `late = retry`); what is being claimed runs.

        Called again and again during a drain: what stood in line behind another process's run is waiting only now and then.
        """
        self.draining = True
        for live in self._means.ledger:
            if live.phase == "waiting" and live not in self._runs.running:
                bot = self._means.find_bot(live.entry.bot)
                if bot is not None and bot.config.late == "retry":
                    self._means.answers.give_all(live, BUSY)
                    self._means.ledger.unweigh(live)
                    if live.place is not None:
                        live.place.leave()
                    live.rest()
                else:
                    self._acks.park(live)
