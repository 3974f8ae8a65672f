"""Look into the journal in rounds: run due events, post late replies, take over from dead owners, end quiet events."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks
from bothost.bots.queue import QueueTicket
from bothost.errors import BodyRefused, JournalAway
from bothost.journal.moving import MissingBots
from bothost.journal.transitions import cancelled
from bothost.pipeline.attempts import REPEAT_S
from bothost.pipeline.delivery import CANCELLED
from bothost.pipeline.event_log import fields_of, say_who
from bothost.pipeline.event_table import TrackedEvent, base_of
from bothost.pipeline.stored_content import read_content, until_next_sweep
from bothost.pipeline.write_rules import Held
from bothost.pipeline.writing import write_surely

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bothost.bots.registry import Bot, Registry
    from bothost.journal.entry import Entry
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.late_replies import LateReplies
    from bothost.pipeline.runs import Runs

log = logging.getLogger("bothost.late")

FORGET_S = 60.0
REMEMBER_S = 180.0
"""The seconds for which memory keeps an event after its last delivery or change. Pyrus's attempts are a minute apart. A later delivery is
answered from the journal, which is written before an event is forgotten."""
RETAIN_S = 600.0
POSTS_AT_ONCE = 100
LATER_S = 10.0
"""The seconds until a claimed event is due again that cannot run now, because its task is paused or its old run has not ended."""
FAULTS = 3
"""The number of faults of bothost after which one event is recorded as failed, so that all others go on."""
AGAIN_S = 1.0
"""The seconds until an event that was claimed too early is due again."""
NO_BODY = "its body is no longer stored"
AWAY = "the journal is away: %s; %s"
UNUSABLE = ("off", "config error")
"""States of bots without a usable section. Their replies wait."""


class JournalPoller:
    """Looks into the journal in rounds. Call `start` after the store is open, and `stop` before it closes."""

    def __init__(
        self, context: PipelineContext, runs: Runs, late_replies: LateReplies, registry: Callable[[], Registry]
    ) -> None:
        self._context = context
        self._runs = runs
        self._late_replies = late_replies
        self._registry = registry
        self._tasks = BackgroundTasks()
        self._spawn = self._tasks.spawn
        self._pumping: set[str] = set()
        self._faults: Counter[str] = Counter()
        """The number of times that each event could not be begun because of a fault of bothost, by entry id."""
        self._stopping = False
        self._missing = MissingBots(context.journal)

    async def start(self) -> None:
        """Take over the events of dead owners, load the keys of the last ten minutes, and begin the rounds."""
        await self._take_up()
        self._spawn(self._context.loops.keep("floors", self._learn_floors))
        self._spawn(self._context.loops.keep("poller", self._rounds))

    async def _take_up(self) -> None:
        context = self._context
        while True:
            try:
                await context.journal.reap()
                entries = await context.journal.recent(context.now() - REPEAT_S)
            except JournalAway as error:
                log.warning(AWAY, error, self._context.goes_on())
                await context.journal.wait_hint(context.timing.sweep_s)
            else:
                break
        context.event_table.load(entries, context.clock.monotonic())
        for entry in entries:
            self._stand_ahead(entry)

    def hold(self) -> None:
        """Claim nothing more. Runs and posts under way go on."""
        self._stopping = True

    async def stop(self) -> None:
        """Begin nothing more and end the rounds. A post that is cut off is checked by the next owner."""
        self._stopping = True
        await self._tasks.stop()

    async def _learn_floors(self) -> None:
        while True:
            try:
                self._context.event_table.learn_floors(await self._context.journal.highest())
            except JournalAway:
                await self._context.journal.wait_hint(self._context.timing.sweep_s)
            else:
                return

    async def _rounds(self) -> None:
        context = self._context
        forget_at = context.clock.monotonic() + FORGET_S
        retain_at = 0.0  # at the first round, because a host that stops early each time would never do it
        while not self._stopping:
            try:
                await self.look()
                await self._missing.look(self._registry().by_name)
                now = context.clock.monotonic()
                if now >= forget_at:
                    forget_at = now + FORGET_S
                    context.event_table.forget(now - REMEMBER_S, self._without_login())
                    await self._check_lines()
                if now >= retain_at:
                    retain_at = now + RETAIN_S
                    await context.journal.retain(
                        {bot.name: bot.config.keep_s for bot in self._registry().by_name.values()}
                    )
            except JournalAway as error:
                log.warning(AWAY, error, self._context.goes_on())
            await until_next_sweep(self._context, self._begin_due)

    def _without_login(self) -> frozenset[str]:
        return frozenset(bot.name for bot in self._registry().by_name.values() if not bot.can_log_in)

    async def look(self) -> None:
        """Look once now: cancel, give up lost claims, take over from dead owners, end quiet events, begin due events."""
        journal = self._context.journal
        await self._follow_clock()
        for key in journal.cancelled():
            self.cancel(key)
        for key in journal.lost():
            self._lose(key)
        # Orphans are claims of this process in the journal whose caller never got the result. Memory tells which of them this
        # process works at after all; those are not given back.
        orphans = {key: fence for key, fence in journal.orphans().items() if not self._context.event_table.is_at(key)}
        if orphans:
            await journal.give_back(orphans)
        for reaped in await journal.reap():
            self._learn(reaped.entry)
            level = logging.ERROR if reaped.entry.state == "failed" else logging.WARNING
            gone = "%s: its owner is gone; now %s"
            log.log(level, gone, reaped.entry.id, reaped.entry.state, extra=fields_of(reaped.entry))
            if reaped.entry.state == "failed":
                self._context.failed(reaped.entry)
        for entry in await journal.quiet():
            if self._learn(entry) and entry.state == "failed":
                what = entry.error.partition("\n")[0]
                log.error("%s: %s", entry.id, what, extra=fields_of(entry))
                self._context.failed(entry)
        await self._begin_due()

    async def _follow_clock(self) -> None:
        """Move all planned times by a step of the clock, before anything is found due, quiet or expired because of the step."""
        step_s = await self._context.journal.follow_clock()
        if step_s:
            self._context.event_table.shift(step_s)
            log.warning("the clock was set %+.1f s: what was planned moves with it, and nothing expires by it", step_s)

    def _learn(self, row: Entry) -> bool:
        """Take over a row that the store changed by itself. Returns False if memory was ahead and was written over it."""
        tracked = self._context.event_table.of(row)
        if tracked is not None:
            if self._is_ahead_of(tracked, row):
                self._write_over(tracked, row)
                return False
            if not tracked.open:
                tracked.entry = row
                tracked.touched = self._context.clock.monotonic()
        self._stand_ahead(row)
        return True

    def _is_ahead_of(self, tracked: TrackedEvent, row: Entry) -> bool:
        """Return whether claims are in memory and memory has changed since the store decided about this row."""
        if self._context.journal.claims_first:
            return False
        entry = tracked.entry
        came_again = entry.door == "response" and entry.seen_at > row.seen_at
        return tracked.phase != "idle" or came_again or entry.fence > row.fence

    def _write_over(self, tracked: TrackedEvent, row: Entry) -> None:
        tracked.entry.fence = max(tracked.entry.fence, row.fence + 1)
        tracked.entry.owner = self._context.journal.owner
        self._context.journal.note(tracked.entry)

    def _stand_ahead(self, entry: Entry) -> None:
        """Let a parked event go before later arrivals of its task, and end that for one that is no longer parked."""
        parked = entry.state == "ready" and entry.door == "api" and entry.answer is None
        bot = self._context.find_bot(entry.bot)
        if bot is None or self._context.journal.claims_first:
            return
        if parked:
            bot.queue.stand_ahead(entry.turn, entry.id)
        elif entry.state != "running":
            bot.queue.went(entry.turn, entry.id)

    async def _check_lines(self) -> None:
        """Let arrivals go whose stored predecessor was ended by another process, such as an operator's command line."""
        for bot in self._registry().by_name.values():
            for turn, key in bot.queue.blocked():
                row = await self._context.journal.find(key)
                if row is None or row.state not in ("ready", "running"):
                    bot.queue.went(turn, key)

    async def _begin_due(self) -> None:
        registry = self._registry()
        waiting = await self._context.journal.waiting()
        for name in waiting:
            bot = registry.by_name.get(name)
            if bot is not None and bot.state.serves and name not in self._pumping:
                self._pumping.add(name)
                self._spawn(self._pump(bot))
        if not waiting:
            return  # to look through ten thousand bots every two seconds costs as much as some deliveries
        served = {name: 0 for name, bot in registry.by_name.items() if bot.state.word not in UNUSABLE}
        while not self._stopping:
            rows = await self._context.journal.due(served, POSTS_AT_ONCE)
            for row in rows:
                self._spawn(self._post(registry.by_name[row.bot], row))
            if len(rows) < POSTS_AT_ONCE:
                return

    async def _pump(self, bot: Bot) -> None:
        """Claim one bot's due events one by one, each with a permit, until there are no more."""
        try:
            while not self._stopping and bot.state.serves:
                permit = asyncio.Event()
                ticket = QueueTicket(None, permit.set)
                bot.queue.enter(ticket)
                try:
                    await permit.wait()
                    rows = await self._context.journal.due({bot.name: 1}, 1)
                except (JournalAway, asyncio.CancelledError):
                    ticket.leave()
                    raise
                if not await self._take(bot, rows, ticket):
                    ticket.leave()
                    return
        except JournalAway as error:
            log.warning(AWAY, error, self._context.goes_on(), extra={"bot": bot.name})
        finally:
            self._pumping.discard(bot.name)

    async def _take(self, bot: Bot, rows: Sequence[Entry], ticket: QueueTicket) -> bool:
        """Begin the claimed rows. Returns False if none of them was to run."""
        for row in rows:
            if row.answer is not None:
                self._spawn(self._post(bot, row))
        run = next((row for row in rows if row.answer is None), None)
        if run is None:
            return False
        context = self._context
        tracked = context.event_table.claimed(run, context.clock.monotonic()) if self._is_free(run) else None
        if tracked is None or tracked.hung or self._stopping or context.loop_breaker.is_paused(bot.name, run.task):
            ticket.leave()
            if tracked is not None:
                await self._put_back(tracked, 0.0 if self._stopping else LATER_S)
        else:
            await self._begin(bot, tracked, ticket)
        return True

    def _is_free(self, row: Entry) -> bool:
        """Return whether this process does not work at the event yet. A claimed event can be at work here for three reasons: its
        newest write landed unheard; a parking that was given up landed after all; a claim lost by a cut-off was claimed anew."""
        tracked = self._context.event_table.of(row)
        if tracked is None or (tracked.phase == "idle" and not tracked.unrecorded):
            return True
        # the row could be claimed, so the parking that is being committed has landed and the event is acknowledged
        told = tracked.phase == "waiting" and tracked.commit is not None
        if not (tracked.completing or told or tracked.phase in ("idle", "posting")):
            if not self._context.journal.claims_first:
                self._write_over(tracked, row)
                return False
            self._runs.cut(tracked, "lost")
        self._spawn(self._put_aside(row))
        return False

    async def _put_aside(self, row: Entry) -> None:
        """Give back a row that was just claimed, due again in a moment. The tracked event stays as it is."""
        due = self._context.now() + AGAIN_S
        ready = Held(lambda held: msgspec.structs.replace(held, state="ready", due=due))
        await write_surely(self._context, TrackedEvent.of_row(row), ready)

    async def _put_back(self, tracked: TrackedEvent, seconds: float) -> None:
        """Give back a claimed event that cannot run now: its task is paused, its old run has not ended, or the host stops."""
        due = self._context.now() + seconds
        ready = Held(lambda held: msgspec.structs.replace(held, state="ready", due=due))
        written = await write_surely(self._context, tracked, ready)
        tracked.entry = written.entry or tracked.entry

    async def _begin(self, bot: Bot, tracked: TrackedEvent, ticket: QueueTicket) -> None:
        """Run a claimed event with its body from the journal. It takes its turn before later arrivals."""
        row = tracked.entry
        say_who(row)
        tracked.phase = "running"
        tracked.stored = True
        tracked.ticket = ticket
        tracked.start = self._context.clock.monotonic()
        tracked.attempt = max(row.seen, 1)
        error = ""
        try:
            await read_content(self._context, tracked)
        except BodyRefused:
            error = NO_BODY
        except (Exception, asyncio.CancelledError) as failure:
            # around one step of the loop: only this event is tried again, and it fails after FAULTS faults
            if not self._is_taken_aside(row, failure):
                tracked.rest()
                ticket.leave()
                self._spawn(self._put_back(tracked, LATER_S))
                if isinstance(failure, asyncio.CancelledError):
                    raise
                return
            error = f"bothost could not begin it: {failure!r}"
        its_turn = bot.queue.adopt(ticket, row.turn, lambda: self._runs.go(tracked))
        bot.queue.went(row.turn, row.id)
        if error:
            await self._fail(tracked, error)
            ticket.leave()
        elif its_turn:
            self._runs.go(tracked)

    def _is_taken_aside(self, row: Entry, failure: BaseException) -> bool:
        """Return whether an event has met FAULTS faults, so that it is not begun again. A journal that is away does not count."""
        if isinstance(failure, JournalAway | asyncio.CancelledError):
            log.warning("%s begins later: %s", row.id, failure or "the host stops", extra=fields_of(row))
            return False
        log.error("a fault of bothost at the beginning of %s", row.id, exc_info=failure, extra=fields_of(row))
        self._faults[row.id] += 1
        return self._faults[row.id] >= FAULTS and self._faults.pop(row.id) > 0

    async def _fail(self, tracked: TrackedEvent, error: str) -> None:
        """Record a claimed event that cannot run as failed."""
        now = self._context.now()
        fails = Held(lambda held: msgspec.structs.replace(held, state="failed", error=error, failed=True, updated=now))
        written = await write_surely(self._context, tracked, fails)
        tracked.rest()
        if written.entry is not None:
            tracked.entry = written.entry
            self._context.failed(written.entry)

    async def _post(self, bot: Bot, row: Entry) -> None:
        if not self._is_free(row):
            return
        say_who(row)
        known = self._context.event_table.of(row)
        if known is not None and self._is_ahead_of(known, row):
            self._write_over(known, row)
            return
        await self._late_replies.post(self._context.event_table.claimed(row, self._context.clock.monotonic()), bot)

    def waiting(self) -> list[Entry]:
        """Return copies of the entries that wait in this process and were never claimed. The journal does not have them."""
        if not self._context.event_table.waiting_bytes:
            return []
        all_tracked = (
            tracked for tracked in self._context.event_table if tracked.phase == "waiting" and not tracked.entry.fence
        )
        return [msgspec.structs.replace(tracked.entry) for tracked in all_tracked]

    def _lose(self, key: str) -> None:
        """Cut the run of an event that another host has now, because this host was cut off for longer than its lease."""
        tracked = self._live_of(key)
        if tracked is not None and tracked.phase == "running":
            self._runs.cut(tracked, "lost")

    def cancel(self, key: str) -> None:
        """Cancel an entry that this process holds, because an operator asked for it. Harmless for any other entry."""
        tracked = self._live_of(key)
        if tracked is None:
            return
        if tracked.phase == "running":
            self._runs.cut(tracked, "cancel")
        elif tracked.phase == "posting":
            tracked.cut = "cancel"
        elif tracked.phase == "waiting":
            self._context.responses.give_all(tracked, CANCELLED)
            self._context.event_table.unweigh(tracked)
            ticket = tracked.ticket
            tracked.entry = cancelled(tracked.entry, self._context.now())
            tracked.rest()
            if ticket is not None:
                ticket.leave()
            if not self._context.journal.claims_first:
                self._context.journal.note(tracked.entry)

    def _live_of(self, key: str) -> TrackedEvent | None:
        table = self._context.event_table
        found = (table.get(key), table.get(base_of(key)))
        return next((tracked for tracked in found if tracked and tracked.entry.id == key), None)
