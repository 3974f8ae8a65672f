"""Carry out one run of a handler, from turn and permit to the recorded outcome, for deliveries and stored events."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from bothost.background import BackgroundTasks, reserve, watch
from bothost.bots.queue import QueueTicket
from bothost.errors import JournalAway
from bothost.journal.status import phase
from bothost.pipeline.claims import Claims, OneByOne, is_being_parked, is_suspect
from bothost.pipeline.completion import RunEnd, complete, with_unsent
from bothost.pipeline.context import stored_body
from bothost.pipeline.delivery import NOTHING, UNAVAILABLE, UNRECORDED
from bothost.pipeline.event_log import fields_of
from bothost.pipeline.unread import not_delivered
from bothost.pipeline.write_rules import Amended, Held, RunFinished
from bothost.pipeline.writing import write, write_surely
from bothost.plugins.api import Tick
from bothost.plugins.attribution import BOT
from bothost.plugins.event import RunContext
from bothost.plugins.http import RawRequest
from bothost.plugins.timers import timer_of
from bothost.runners import HookRun, JobRun, RunResult, broken, eager

if TYPE_CHECKING:
    from bothost.bots.registry import Bot
    from bothost.journal.entry import Entry
    from bothost.pipeline.acknowledgement import RowChanged
    from bothost.pipeline.completion import Completion
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.event_table import TrackedEvent
    from bothost.pipeline.late_replies import LateReplies

log = logging.getLogger("bothost.run")

NO_BOT_S = 10.0
"""The seconds for which a stored event waits after its bot was removed."""
SUSPECT_S = 1.0
"""The seconds for which a stored event that must run alone waits while another such event runs."""


class Runs:
    """Carries events through their runs."""

    def __init__(self, context: PipelineContext, late_replies: LateReplies, changed: RowChanged) -> None:
        self._context = context
        self._late_replies = late_replies
        self._changed = changed
        self._suspects = OneByOne()
        self.claims = Claims(context, changed)
        self._behind = BackgroundTasks().spawn
        self.running: dict[TrackedEvent, None] = {}
        """The events that run, in the order in which they began."""
        self._beginning: TrackedEvent | None = None

    def begin(self, tracked: TrackedEvent, bot: Bot) -> None:
        """Enter the bot's queue. The run begins before this returns if turn and permit are free."""
        tracked.phase = "waiting"
        tracked.ticket = QueueTicket(tracked.entry.turn, partial(self.go, tracked))
        self._beginning = tracked
        bot.queue.enter(tracked.ticket)
        self._beginning = None

    def go(self, tracked: TrackedEvent) -> None:
        """Start the run, because turn and permit are there. An event that is being parked waits for the end of that commit."""
        ticket = tracked.ticket
        if ticket is None or (tracked.commit is not None and is_being_parked(tracked)):
            return
        bot = self._context.find_bot(tracked.entry.bot)
        if bot is None or bot.runner is None:
            self._turn_back(tracked)
            return
        if tracked.phase == "waiting" and not (self._context.journal.claims_first or is_suspect(tracked)):
            self.claims.in_memory(tracked, bot)
        self.running[tracked] = None
        task = self._start(tracked, bot, ticket)
        if task is not None:
            task.add_done_callback(watch)
            if tracked in self.running:
                tracked.task = task

    def _start(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> asyncio.Task[None] | None:
        """Begin the run, at once if `begin` found turn and permit free. A run that another run's end lets in begins in the
        loop's next iteration, because a long queue would become a deep stack. Returns None if the run has ended already."""
        work = self._carry(tracked, bot, ticket)
        if tracked is not self._beginning:
            return reserve(asyncio.get_running_loop().create_task(work))
        self._beginning = None
        variables = contextvars.copy_context()
        if self._context.journal.claims_first or bot.config.run == "process":
            # these runs wait with time limits, which need an asyncio task
            return reserve(eager.begin(work, variables))
        return eager.advance(work, variables)

    def cut(self, tracked: TrackedEvent, why: Literal["drain", "cancel", "lost"]) -> None:
        """End a run whose handler is being called: cancel an async handler, drop the result of one in a thread."""
        if tracked.task is not None and tracked.calling and not tracked.cut:
            tracked.cut = why
            tracked.task.cancel()

    def _turn_back(self, tracked: TrackedEvent) -> None:
        """Do not run an event whose bot was removed: answer its deliveries 503, and leave a stored event ready."""
        self._context.event_table.unweigh(tracked)
        self._context.responses.give_all(tracked, UNAVAILABLE)
        if tracked.phase == "running":
            self._stand_aside(tracked, NO_BOT_S)
        else:
            tracked.leave()

    def _stand_aside(self, tracked: TrackedEvent, seconds: float) -> None:
        """Give back a claim whose run has not begun. The event is due again after `seconds`."""
        tracked.leave()
        due = self._context.now() + seconds
        ready = Held(lambda held: msgspec.structs.replace(held, state="ready", due=due))
        self._behind(self._put_back(tracked, ready))

    async def _put_back(self, tracked: TrackedEvent, ready: Held) -> None:
        written = await write_surely(self._context, tracked, ready)
        tracked.entry = written.entry or tracked.entry

    async def _carry(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> None:
        try:
            if is_suspect(tracked):
                if tracked.phase == "running" and self._suspects.busy:
                    # It is claimed already. A claim that waited here would count a death although its run never began.
                    self._stand_aside(tracked, SUSPECT_S)
                    return
                await self._suspects.enter(tracked)
            await self._claim_and_run(tracked, bot, ticket)
        except BaseException:
            ticket.leave()
            raise
        finally:
            if self._suspects.holder is tracked:
                self._suspects.leave()
            self.running.pop(tracked, None)

    async def _claim_and_run(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> None:
        if not await self.claims.holds(tracked, bot, ticket):
            return
        try:
            await self._run(tracked, bot, ticket)
        except Exception as error:
            # around a plugin's run and its record: no row may stay `running` because bothost itself raised
            log.exception("a fault of bothost in the run of %s", tracked.entry.id, extra=fields_of(tracked.entry))
            if tracked.phase != "running":
                raise
            await self._record(tracked, bot, broken(bot.config.name, error))
        ticket.free_turn()

    async def _run(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> None:
        ran: RunResult | None = None
        tracked.calling, tracked.begun = True, tracked.entry.fence
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
            if tracked.entry.kind != "hook":
                self._count_own_work(tracked, bot, "failed" if ran.failure is not None else "ran")
        if tracked.commit is not None:
            # an acknowledgement is being committed: its result decides by which door the reply leaves
            await asyncio.wait([tracked.commit])
        if tracked.cut == "lost":
            await self._refused(tracked)
        else:
            await self._record(tracked, bot, ran)

    def _count_own_work(self, tracked: TrackedEvent, bot: Bot, result: str) -> None:
        count = self._context.responses.count
        if tracked.entry.kind == "timer":
            count.tick(bot.config.name, result)
            _, name, due = timer_of(tracked.entry.id)
            extra = {"bot": bot.config.name, "timer": name, "due": due.isoformat(), "outcome": result}
            log.info("timer %s", name, extra={**extra, "ms": tracked.entry.ms})
        elif tracked.entry.kind == "job":
            count.job(bot.config.name, result)

    async def _call(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> RunResult:
        """Call the plugin and return the result. `ended` gives the permit back when the work has really ended."""
        runner = bot.runner
        assert runner is not None
        BOT.set(bot.config.name)
        bot.busy += 1
        tracked.hung = True

        def ended(returned: bytes = NOTHING) -> None:
            if not tracked.hung:
                return
            bot.busy -= 1
            tracked.hung = False
            ticket.free_permit()
            if returned != NOTHING and not tracked.cut:
                self._keep_unsent(tracked, returned)

        limit_s = bot.config.timeout_s
        entry = tracked.entry
        try:
            if entry.kind == "timer":
                _, name, due = timer_of(entry.id)
                return await runner.tick(name, Tick(due=due, rerun=entry.rerun), limit_s, ended)
            if entry.kind == "job":
                work = JobRun(entry.task, tracked.content, entry.created)
                return await runner.work(work, self._run_context(tracked, bot), limit_s, ended)
            if entry.kind == "request":
                request = msgspec.msgpack.decode(tracked.content, type=RawRequest)
                return await runner.work(HookRun(request), self._run_context(tracked, bot), limit_s, ended)
            assert tracked.envelope is not None
            return await runner.run(tracked.envelope, self._run_context(tracked, bot), limit_s, ended)
        except Exception as error:
            # no thread, process or memory was available: the call of the plugin did not begin or did not end
            log.exception("the run of %s could not be carried out", entry.id, extra=fields_of(entry))
            ended()
            return broken(bot.config.name, error)
        finally:
            tracked.entry.ms = round((self._context.clock.monotonic() - tracked.start) * 1000, 1)

    def _keep_unsent(self, tracked: TrackedEvent, returned: bytes) -> None:
        now, fence = self._context.now(), tracked.entry.fence
        if with_unsent(tracked.entry, returned, now) is not None:
            unsent = Amended(
                lambda row: row.failed and row.fence == fence and row.state == tracked.entry.state,
                lambda row: with_unsent(row, returned, now) or row,
            )
            self._behind(self._save_unsent(tracked, unsent))

    async def _save_unsent(self, tracked: TrackedEvent, unsent: Amended) -> None:
        written = await write_surely(self._context, tracked, unsent)
        tracked.entry = written.entry or tracked.entry

    def _run_context(self, tracked: TrackedEvent, bot: Bot) -> RunContext:
        context, clock, limit_s = self._context, self._context.clock, bot.config.timeout_s
        ends_at = clock.monotonic() + limit_s
        return RunContext(
            id=tracked.entry.id,
            bot=bot.config.name,
            attempt=tracked.attempt,
            rerun=tracked.entry.rerun,
            deadline=clock.now() + timedelta(seconds=limit_s),
            ends_at=ends_at,
            clock=clock,
            user_id=bot.user_id if (sent := tracked.envelope) is None or sent.user_id is None else sent.user_id,
            pyrus=context.pyrus_for(bot, tracked, ends_at),
            trace=tracked.entry.trace,
            store=bot.plugged.store if bot.plugged is not None else None,
        )

    async def _record(self, tracked: TrackedEvent, bot: Bot, ran: RunResult | None) -> None:
        """Record how the run ended, then answer. Waits for the commit unless memory is the row and the door the response."""
        context = self._context
        moment = RunEnd(context.now(), context.timing.quiet_s, ran is not None or bot.can_log_in)
        ending = Ending(tracked, bot, ran, moment)
        completion = ending.by(tracked.entry)
        if completion.entry.door == "response" and not (context.journal.claims_first or tracked.unrecorded):
            context.journal.note(completion.entry)
        else:
            body = stored_body(tracked) if completion.entry.state == "ready" or bot.config.keep_s > 0 else None
            if tracked.unrecorded:
                # The journal is away and this is the last attempt: answer it now and write the record later.
                self._behind(self._record_behind(tracked, completion.entry, body))
            else:
                entry = await self._recorded(tracked, ending, body)
                if entry is None:
                    return
                assert ending.completion is not None
                completion = msgspec.structs.replace(ending.completion, entry=entry)
        tracked.entry = completion.entry
        if completion.entry.answer not in (None, NOTHING):
            context.loop_breaker.count(tracked, bot.user_id)
        if self._suspects.holder is tracked:
            self._suspects.leave()
        await self._tell(tracked, bot, completion)

    async def _recorded(self, tracked: TrackedEvent, ending: Ending, body: bytes | None) -> Entry | None:
        """Write the outcome until it lands and return the row. None if it was dropped and the deliveries are dealt with."""
        ended = RunFinished(lambda row: ending.by(row).entry)
        if tracked.cut == "drain" and tracked.entry.door == "response":
            return await self._acknowledged_cut(tracked, ended, body)
        written = await write_surely(self._context, tracked, ended, body)
        if written.entry is None:
            await self._refused(tracked)
        return written.entry

    async def _record_behind(self, tracked: TrackedEvent, told: Entry, body: bytes | None) -> None:
        """Write the outcome of a run that had a claim in memory only, as it was answered."""
        outcome = RunFinished(lambda row: msgspec.structs.replace(told, revision=row.revision, cancel=row.cancel))
        written = await write_surely(self._context, tracked, outcome, body)
        if written.entry is None:
            tracked.unsure = tracked.unrecorded = False
            self._say_dropped(tracked, written.row)

    async def _acknowledged_cut(
        self, tracked: TrackedEvent, happening: RunFinished, body: bytes | None
    ) -> Entry | None:
        """Park an event cut at the end of a drain. If the journal does not take it in time, answer 503: Pyrus tries again."""
        context = self._context
        try:
            async with asyncio.timeout(context.timing.commit_s):
                written = await write(context, tracked, happening, body)
                if written.entry is not None:
                    return written.entry
        except (JournalAway, TimeoutError):
            entry = tracked.entry
            log.warning("%s could not be parked at the end of the drain", entry.id, extra=fields_of(entry))
        context.responses.give_all(tracked, UNRECORDED)
        tracked.rest()
        return None

    async def _tell(self, tracked: TrackedEvent, bot: Bot, completion: Completion) -> None:
        context = self._context
        entry = tracked.entry
        if tracked.waiters:
            written = context.responses.give_all(tracked, completion.outcome)
            if not written and entry.state == "answered" and entry.delivered:
                await not_delivered(context, tracked)
                entry = tracked.entry
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
        extra = fields_of(entry, outcome=phase(entry), attempt=tracked.attempt, traceback=trace)
        log.error("%s", what, extra=extra)

    async def _refused(self, tracked: TrackedEvent) -> None:
        """Drop an outcome because another claim holds the row or the row has ended. Deliveries are answered by the row."""
        row = await self.claims.row_of(tracked.entry.id)
        self._say_dropped(tracked, row)
        tracked.rest()
        if row is not None:
            tracked.adopt(row)
        tracked.unsure = False
        self._changed.answer_by_row(tracked)

    def _say_dropped(self, tracked: TrackedEvent, row: Entry | None) -> None:
        log.warning(
            "the outcome of %s was dropped, another owner has the event: fence %d of %s here, %d of %s in the journal",
            tracked.entry.id, tracked.entry.fence, self._context.journal.owner, row.fence if row else 0, row.owner if row else "nobody",
            extra=fields_of(tracked.entry),
        )  # fmt: skip


class Ending(msgspec.Struct):
    """Makes the completion of one run from the present row, because its door may become the API during the run."""

    tracked: TrackedEvent
    bot: Bot
    ran: RunResult | None
    moment: RunEnd
    completion: Completion | None = None

    def by(self, entry: Entry) -> Completion:
        """Return the completion of a running entry, and keep it as the newest."""
        completion = complete(entry, self.tracked, self.bot.config, self.ran, self.moment)
        if self.bot.plugged is not None:
            completion.entry.version = self.bot.plugged.version
        self.completion = completion
        return completion
