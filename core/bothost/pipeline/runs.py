"""One run of a handler, from turn and permit to the recorded outcome, for deliveries and for stored events alike."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from bothost.background import BackgroundTasks, watch
from bothost.bots.queue import QueueTicket
from bothost.errors import JournalAway
from bothost.journal.status import phase
from bothost.pipeline.claims import Claims, is_being_parked, is_suspect
from bothost.pipeline.completion import RunEnd, complete, with_unsent
from bothost.pipeline.context import save_surely, stored_body
from bothost.pipeline.delivery import ACKNOWLEDGED, NOTHING, UNAVAILABLE, UNRECORDED
from bothost.plugins.api import Tick
from bothost.plugins.attribution import BOT
from bothost.plugins.event import RunContext
from bothost.runners import eager

if TYPE_CHECKING:
    from bothost.bots.registry import Bot
    from bothost.pipeline.completion import Completion
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.event_table import TrackedEvent
    from bothost.pipeline.late_replies import LateReplies
    from bothost.runners import RunResult

log = logging.getLogger("bothost.run")

NO_BOT_S = 10.0
"""How long a stored event waits whose bot has just left."""


class Runs:
    """Carries events through their runs."""

    def __init__(self, context: PipelineContext, late_replies: LateReplies) -> None:
        self._context = context
        self._late_replies = late_replies
        self._alone = asyncio.Lock()
        """Events that were in flight at a death run one by one, so that only the guilty one reaches three."""
        self.claims = Claims(context)
        self._behind = BackgroundTasks().spawn
        self.running: dict[TrackedEvent, None] = {}
        """In the order in which they began."""
        self._beginning: TrackedEvent | None = None

    def begin(self, tracked: TrackedEvent, bot: Bot) -> None:
        """Stand in the bot's line; the run begins at once where turn and permit are free."""
        tracked.phase = "waiting"
        tracked.ticket = QueueTicket(tracked.entry.turn, partial(self.go, tracked))
        self._beginning = tracked
        bot.queue.enter(tracked.ticket)
        self._beginning = None

    def go(self, tracked: TrackedEvent) -> None:
        """Turn and permit are there: start the run, or wait for the parking that is under way."""
        if is_being_parked(tracked):
            return
        bot = self._context.find_bot(tracked.entry.bot)
        if bot is None or bot.runner is None:
            self._turn_back(tracked)
            return
        if tracked.phase == "waiting" and not (self._context.journal.claims_first or is_suspect(tracked)):
            self.claims.in_memory(tracked, bot)
        self.running[tracked] = None
        task = self._start(tracked, bot)
        if task is not None:
            task.add_done_callback(watch)
            if tracked in self.running:
                tracked.task = task

    def _start(self, tracked: TrackedEvent, bot: Bot) -> asyncio.Task[None] | None:
        """A delivery that finds turn and permit free is often answered before its `receive` returns; one that another run
        lets in begins in the loop's next turn, for a long line must not become a deep stack."""
        work = self._carry(tracked, bot)
        if tracked is not self._beginning:
            return asyncio.get_running_loop().create_task(work)
        self._beginning = None
        variables = contextvars.copy_context()
        if self._context.journal.claims_first or bot.config.run == "process":
            # they wait with time limits, which need a task
            return eager.begin(work, variables)
        return eager.advance(work, variables)

    def cut(self, tracked: TrackedEvent, why: Literal["drain", "cancel", "lost"]) -> None:
        """End a run whose handler is at work: an async one is cancelled, a thread's result is dropped."""
        if tracked.task is not None and tracked.calling and not tracked.cut:
            tracked.cut = why
            tracked.task.cancel()

    def _turn_back(self, tracked: TrackedEvent) -> None:
        """Its bot has left meanwhile: Pyrus comes again, and what is stored stays ready."""
        self._context.event_table.unweigh(tracked)
        self._context.responses.give_all(tracked, UNAVAILABLE)
        claimed = tracked.phase == "running"
        tracked.leave()
        if claimed:
            due = self._context.now() + NO_BOT_S
            tracked.entry = msgspec.structs.replace(tracked.entry, state="ready", due=due)
            self._behind(save_surely(self._context, tracked.entry))

    async def _carry(self, tracked: TrackedEvent, bot: Bot) -> None:
        ticket = tracked.ticket
        assert ticket is not None
        try:
            if is_suspect(tracked):
                # the claim comes after the wait, for it does not last for ever
                async with self._alone:
                    await self._claim_and_run(tracked, bot, ticket)
            else:
                await self._claim_and_run(tracked, bot, ticket)
        except BaseException:
            ticket.leave()
            raise
        finally:
            self.running.pop(tracked, None)

    async def _claim_and_run(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> None:
        if await self.claims.holds(tracked, bot, ticket):
            await self._run(tracked, bot, ticket)
            ticket.free_turn()

    async def _run(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> None:
        ran: RunResult | None = None
        tracked.calling = True
        try:
            ran = await self._call(tracked, bot, ticket)
        except asyncio.CancelledError:
            if not tracked.cut:
                raise
            if not tracked.hung:
                ticket.free_permit()
        finally:
            tracked.calling, tracked.completing = False, True
        if ran is not None:
            self._context.responses.count.run(bot.config.name, tracked.entry.ms / 1000, ran.failure is not None)
            if tracked.entry.kind == "timer":
                self._context.responses.count.tick(bot.config.name, "ran" if ran.failure is None else "failed")
        if tracked.commit is not None:
            # until it is known whether the event is acknowledged, nobody knows by which door the reply leaves
            await asyncio.wait([tracked.commit])
        if tracked.cut == "lost":
            await self._refused(tracked, bot, ran)
        else:
            await self._record(tracked, bot, ran)

    async def _call(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> RunResult:
        """Call the plugin. The permit comes back when the work has really ended."""
        runner = bot.runner
        assert runner is not None
        BOT.set(bot.config.name)
        bot.busy += 1
        tracked.hung = True

        def ended(returned: bytes = NOTHING) -> None:
            bot.busy -= 1
            tracked.hung = False
            ticket.free_permit()
            if returned != NOTHING and not tracked.cut:
                self._keep_unsent(tracked, returned)

        limit_s = bot.config.timeout_s
        entry = tracked.entry
        try:
            if entry.kind == "timer":
                _, _, name, epoch = entry.id.split(":")
                tick = Tick(due=datetime.fromtimestamp(int(epoch), UTC), rerun=entry.rerun)
                return await runner.tick(name, tick, limit_s, ended)
            assert tracked.envelope is not None
            return await runner.run(tracked.envelope, self._run_context(tracked, bot), limit_s, ended)
        finally:
            tracked.entry.ms = round((self._context.clock.monotonic() - tracked.start) * 1000, 1)

    def _keep_unsent(self, tracked: TrackedEvent, returned: bytes) -> None:
        entry = with_unsent(tracked.entry, returned, self._context.now())
        if entry is not None:
            tracked.entry = entry
            self._behind(save_surely(self._context, entry))

    def _run_context(self, tracked: TrackedEvent, bot: Bot) -> RunContext:
        context = self._context
        return RunContext(
            id=tracked.entry.id,
            bot=bot.config.name,
            attempt=tracked.attempt,
            rerun=tracked.entry.rerun,
            deadline=context.clock.now() + timedelta(seconds=bot.config.timeout_s),
            clock=context.clock,
            user_id=bot.user_id,
            pyrus=context.pyrus_for(bot, tracked),
            trace=tracked.entry.trace,
        )

    async def _record(self, tracked: TrackedEvent, bot: Bot, ran: RunResult | None) -> None:
        """Write how the run ended, then let everybody know: behind where memory is the truth, durably where it is not."""
        context = self._context
        completion = complete(tracked, bot.config, ran, RunEnd(context.now(), context.timing.quiet_s, bot.can_log_in))
        entry = completion.entry
        if bot.plugged is not None:
            entry.version = bot.plugged.version
        body = stored_body(tracked) if entry.state == "ready" or bot.config.keep_s > 0 else None
        if tracked.unrecorded:
            # the journal is away and this was the last attempt: it gets its answer, and the record follows
            self._behind(save_surely(context, entry, body))
        elif entry.door == "response" and not context.journal.claims_first:
            context.journal.note(entry)
        elif tracked.cut == "drain" and tracked.entry.door == "response":
            if not await self._acknowledged_cut(tracked, completion, body):
                return
        elif not await save_surely(context, entry, body, tracked.entry.door if context.journal.claims_first else None):
            await self._refused(tracked, bot, ran)
            return
        tracked.entry = entry
        if entry.answer not in (None, NOTHING):
            context.loop_breaker.count(tracked, bot.user_id)
        await self._tell(tracked, bot, completion)

    async def _acknowledged_cut(self, tracked: TrackedEvent, completion: Completion, body: bytes | None) -> bool:
        """Park what the end of a drain cut; a journal that cannot take it is no reason to stay, so Pyrus is told to come again."""
        context = self._context
        try:
            async with asyncio.timeout(context.timing.commit_s):
                if await context.journal.save(
                    completion.entry, body, door="response" if context.journal.claims_first else None
                ):
                    return True
        except (JournalAway, TimeoutError):
            log.warning(
                "%s could not be parked at the end of the drain", tracked.entry.id, extra={"bot": tracked.entry.bot}
            )
        context.responses.give_all(tracked, UNRECORDED)
        tracked.rest()
        return False

    async def _tell(self, tracked: TrackedEvent, bot: Bot, completion: Completion) -> None:
        context = self._context
        entry = tracked.entry
        if tracked.waiters:
            written = context.responses.give_all(tracked, completion.outcome)
            if not written and entry.state == "answered" and entry.delivered:
                entry.delivered, entry.due = False, entry.seen_at + context.timing.quiet_s
                context.journal.note(entry) if not context.journal.claims_first else await save_surely(context, entry)
        if completion.failure:
            self._complain(tracked, completion.failure)
            if entry.state == "failed" or entry.failed:
                context.failed(entry)
        tracked.touched = context.clock.monotonic()
        if entry.state == "running" and entry.answer is not None:
            await self._late_replies.post(tracked, bot)
            return
        if entry.state == "ready" and entry.door == "api" and not context.journal.claims_first:
            bot.queue.stand_ahead(entry.turn, entry.id)
        tracked.rest()

    def _complain(self, tracked: TrackedEvent, failure: str) -> None:
        entry = tracked.entry
        what, _, trace = failure.partition("\n")
        extra = {"bot": entry.bot, "task": entry.task, "outcome": phase(entry), "attempt": tracked.attempt}
        log.error("%s", what, extra={**extra, "traceback": trace})

    async def _refused(self, tracked: TrackedEvent, bot: Bot, ran: RunResult | None) -> None:
        """The fence or another door refused the outcome: the row says what holds now."""
        context = self._context
        row = await self.claims.row_of(tracked.entry.id)
        ours = row is not None and row.owner == context.journal.owner and row.fence == tracked.entry.fence
        if row is not None and ours and row.door == "api" and tracked.entry.door == "response":
            row.ms = tracked.entry.ms
            tracked.adopt(row)
            context.responses.give_all(tracked, ACKNOWLEDGED)
            await self._record(tracked, bot, ran)
            return
        log.warning(
            "the outcome of %s was dropped, another owner has the event: fence %d of %s here, %d of %s in the journal",
            tracked.entry.id, tracked.entry.fence, context.journal.owner, row.fence if row else 0, row.owner if row else "nobody",
            extra={"bot": bot.config.name},
        )  # fmt: skip
        tracked.rest()
        if row is not None:
            tracked.adopt(row)
        self.claims.known(tracked)
