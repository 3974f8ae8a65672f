"""One run of a handler, from turn and permit to the recorded outcome, for deliveries and for stored events alike."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from bothost.background import watch
from bothost.bots.queue import Place
from bothost.errors import StoreAway
from bothost.journal.status import phase
from bothost.pipeline.claims import Claims, is_being_parked, is_suspect
from bothost.pipeline.completion import Moment, settle, with_unsent
from bothost.pipeline.context import save_surely, stored_body
from bothost.pipeline.delivery import ACKNOWLEDGED, NOTHING, UNAVAILABLE, UNRECORDED
from bothost.plugins.api import Tick
from bothost.plugins.attribution import BOT
from bothost.plugins.event import Context
from bothost.runners import eager

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bothost.bots.registry import Bot
    from bothost.journal.entry import Entry
    from bothost.pipeline.completion import Settled
    from bothost.pipeline.context import Means
    from bothost.pipeline.event_table import Live
    from bothost.pipeline.late_replies import Posts
    from bothost.runners import Ran

log = logging.getLogger("bothost.run")

NO_BOT_S = 10.0
"""How long a stored event waits whose bot has just left."""


class Runs:
    """Carries events through their runs."""

    def __init__(self, means: Means, posts: Posts) -> None:
        self._means = means
        self._posts = posts
        self._alone = asyncio.Lock()
        """Events that were in flight at a death run one by one, so that only the guilty one reaches three."""
        self.claims = Claims(means)
        self.running: dict[Live, None] = {}
        """In the order in which they began."""
        self._beginning: Live | None = None

    def begin(self, live: Live, bot: Bot) -> None:
        """Stand in the bot's line; the run begins at once where turn and permit are free."""
        live.phase = "waiting"
        live.place = Place(live.entry.turn, partial(self.go, live))
        self._beginning = live
        bot.lane.enter(live.place)
        self._beginning = None

    def go(self, live: Live) -> None:
        """Turn and permit are there: start the run, or wait for the parking that is under way."""
        if is_being_parked(live):
            return
        bot = self._means.find_bot(live.entry.bot)
        if bot is None or bot.runner is None:
            self._turn_back(live)
            return
        if live.phase == "waiting" and not (self._means.store.claims_first or is_suspect(live)):
            self.claims.in_memory(live, bot)
        self.running[live] = None
        task = self._start(live, bot)
        if task is not None:
            task.add_done_callback(watch)
            if live in self.running:
                live.task = task

    def _start(self, live: Live, bot: Bot) -> asyncio.Task[None] | None:
        """A delivery that finds turn and permit free is often answered before its `receive` returns; one that another run
        lets in begins in the loop's next turn, for a long line must not become a deep stack."""
        work = self._carry(live, bot)
        if live is not self._beginning:
            return asyncio.get_running_loop().create_task(work)
        self._beginning = None
        context = contextvars.copy_context()
        if self._means.store.claims_first or bot.config.run == "process":
            # they wait with time limits, which need a task
            return eager.begin(work, context)
        return eager.advance(work, context)

    def cut(self, live: Live, why: Literal["drain", "cancel", "lost"]) -> None:
        """End a run whose handler is at work: an async one is cancelled, a thread's result is dropped."""
        if live.task is not None and live.calling and not live.cut:
            live.cut = why
            live.task.cancel()

    def _turn_back(self, live: Live) -> None:
        """Its bot has left meanwhile: Pyrus comes again, and what is stored stays ready."""
        self._means.ledger.unweigh(live)
        self._means.answers.give_all(live, UNAVAILABLE)
        claimed = live.phase == "running"
        live.leave()
        if claimed:
            due = self._means.now() + NO_BOT_S
            live.entry = msgspec.structs.replace(live.entry, state="ready", due=due)
            self._behind(save_surely(self._means, live.entry))

    def _behind(self, work: Coroutine[object, object, object]) -> None:
        asyncio.get_running_loop().create_task(work).add_done_callback(watch)

    async def _carry(self, live: Live, bot: Bot) -> None:
        place = live.place
        assert place is not None
        try:
            if is_suspect(live):
                # the claim comes after the wait, for it does not last for ever
                async with self._alone:
                    await self._claim_and_run(live, bot, place)
            else:
                await self._claim_and_run(live, bot, place)
        except BaseException:
            place.leave()
            raise
        finally:
            self.running.pop(live, None)

    async def _claim_and_run(self, live: Live, bot: Bot, place: Place) -> None:
        if await self.claims.holds(live, bot, place):
            await self._run(live, bot, place)
            place.free_turn()

    async def _run(self, live: Live, bot: Bot, place: Place) -> None:
        ran: Ran | None = None
        live.calling = True
        try:
            ran = await self._call(live, bot, place)
        except asyncio.CancelledError:
            if not live.cut:
                raise
            if not live.hung:
                place.free_permit()
        finally:
            live.calling, live.settling = False, True
        if ran is not None:
            self._means.answers.count.run(bot.config.name, live.entry.ms / 1000, ran.failure is not None)
            if live.entry.kind == "timer":
                self._means.answers.count.tick(bot.config.name, "ran" if ran.failure is None else "failed")
        if live.commit is not None:
            # until it is known whether the event is acknowledged, nobody knows by which door the reply leaves
            await asyncio.wait([live.commit])
        if live.cut == "lost":
            await self._refused(live, bot, ran)
        else:
            await self._record(live, bot, ran)

    async def _call(self, live: Live, bot: Bot, place: Place) -> Ran:
        """Call the plugin. The permit comes back when the work has really ended."""
        runner = bot.runner
        assert runner is not None
        BOT.set(bot.config.name)
        bot.busy += 1
        live.hung = True

        def ended(returned: bytes = NOTHING) -> None:
            bot.busy -= 1
            live.hung = False
            place.free_permit()
            if returned != NOTHING and not live.cut:
                self._keep_unsent(live, returned)

        limit_s = bot.config.timeout_s
        entry = live.entry
        try:
            if entry.kind == "timer":
                _, _, name, epoch = entry.id.split(":")
                tick = Tick(due=datetime.fromtimestamp(int(epoch), UTC), rerun=entry.rerun)
                return await runner.tick(name, tick, limit_s, ended)
            assert live.envelope is not None
            return await runner.run(live.envelope, self._context(live, bot), limit_s, ended)
        finally:
            live.entry.ms = round((self._means.clock.monotonic() - live.start) * 1000, 1)

    def _keep_unsent(self, live: Live, returned: bytes) -> None:
        entry = with_unsent(live.entry, returned, self._means.now())
        if entry is not None:
            live.entry = entry
            asyncio.get_running_loop().create_task(self._save_unsent(entry)).add_done_callback(watch)

    async def _save_unsent(self, entry: Entry) -> None:
        await save_surely(self._means, entry)

    def _context(self, live: Live, bot: Bot) -> Context:
        means = self._means
        return Context(
            id=live.entry.id,
            bot=bot.config.name,
            attempt=live.attempt,
            rerun=live.entry.rerun,
            deadline=means.clock.now() + timedelta(seconds=bot.config.timeout_s),
            clock=means.clock,
            user_id=bot.user_id,
            pyrus=means.pyrus_for(bot, live),
            trace=live.entry.trace,
        )

    async def _record(self, live: Live, bot: Bot, ran: Ran | None) -> None:
        """Write how the run ended, then let everybody know: behind where memory is the truth, durably where it is not."""
        means = self._means
        settled = settle(live, bot.config, ran, Moment(means.now(), means.timing.quiet_s))
        entry = settled.entry
        if bot.plugged is not None:
            entry.version = bot.plugged.version
        body = stored_body(live) if entry.state == "ready" or bot.config.keep_s > 0 else None
        if live.unrecorded:
            # the journal is away and this was the last attempt: it gets its answer, and the record follows
            self._behind(save_surely(means, entry, body))
        elif entry.door == "response" and not means.store.claims_first:
            means.store.note(entry)
        elif live.cut == "drain" and live.entry.door == "response":
            if not await self._acknowledged_cut(live, settled, body):
                return
        elif not await save_surely(means, entry, body, live.entry.door if means.store.claims_first else None):
            await self._refused(live, bot, ran)
            return
        live.entry = entry
        if entry.answer not in (None, NOTHING):
            means.breaker.count(live, bot.user_id)
        await self._tell(live, bot, settled)

    async def _acknowledged_cut(self, live: Live, settled: Settled, body: bytes | None) -> bool:
        """Park what the end of a drain cut; a journal that cannot take it is no reason to stay, so Pyrus is told to come again."""
        means = self._means
        try:
            async with asyncio.timeout(means.timing.commit_s):
                if await means.store.save(settled.entry, body, door="response" if means.store.claims_first else None):
                    return True
        except (StoreAway, TimeoutError):
            log.warning("%s could not be parked at the end of the drain", live.entry.id, extra={"bot": live.entry.bot})
        means.answers.give_all(live, UNRECORDED)
        live.rest()
        return False

    async def _tell(self, live: Live, bot: Bot, settled: Settled) -> None:
        means = self._means
        entry = live.entry
        if live.waiters:
            written = means.answers.give_all(live, settled.outcome)
            if not written and entry.state == "answered" and entry.delivered:
                entry.delivered, entry.due = False, entry.seen_at + means.timing.quiet_s
                means.store.note(entry) if not means.store.claims_first else await save_surely(means, entry)
        if settled.failure:
            self._complain(live, settled.failure)
            if entry.state == "failed" or entry.failed:
                means.failed(entry)
        live.touched = means.clock.monotonic()
        if entry.state == "running" and entry.answer is not None:
            await self._posts.post(live, bot)
            return
        if entry.state == "ready" and entry.door == "api" and not means.store.claims_first:
            bot.lane.stand_ahead(entry.turn, entry.id)
        live.rest()

    def _complain(self, live: Live, failure: str) -> None:
        entry = live.entry
        what, _, trace = failure.partition("\n")
        extra = {"bot": entry.bot, "task": entry.task, "outcome": phase(entry), "attempt": live.attempt}
        log.error("%s", what, extra={**extra, "traceback": trace})

    async def _refused(self, live: Live, bot: Bot, ran: Ran | None) -> None:
        """The fence or another door refused the outcome: the row says what holds now."""
        means = self._means
        row = await self.claims.row_of(live.entry.id)
        ours = row is not None and row.owner == means.store.owner and row.fence == live.entry.fence
        if row is not None and ours and row.door == "api" and live.entry.door == "response":
            row.ms = live.entry.ms
            live.adopt(row)
            means.answers.give_all(live, ACKNOWLEDGED)
            await self._record(live, bot, ran)
            return
        log.warning(
            "the outcome of %s was dropped, another owner has the event: fence %d of %s here, %d of %s in the journal",
            live.entry.id, live.entry.fence, means.store.owner, row.fence if row else 0, row.owner if row else "nobody",
            extra={"bot": bot.config.name},
        )  # fmt: skip
        live.rest()
        if row is not None:
            live.adopt(row)
        self.claims.known(live)
