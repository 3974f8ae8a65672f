"""Run a bot's plugin in this process: async handlers as tasks of the loop, plain ones in the bot's own threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bothost.errors import CallError, PluginError, ReplyError
from bothost.plugins.attribution import BOT, RUN, SubjectIds
from bothost.plugins.event import Event
from bothost.plugins.run_hooks import hooked
from bothost.plugins.timers import tick_id
from bothost.pyrus.reply import reply as replies
from bothost.pyrus.rest.definitions import DefinitionNeeded
from bothost.runners import JobRun, RunFailure, RunResult
from bothost.runners.calls import CallTimeout, Outcome, OverdueCall, PluginCall, in_thread, on_loop
from bothost.runners.disclosure import refuse_disclosure
from bothost.runners.failures import reported, unusable
from bothost.runners.own_calls import call_of
from bothost.runners.thread_pool import ThreadPool

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.plugins.api import Tick
    from bothost.plugins.attribution import RunSubject
    from bothost.plugins.event import RunContext
    from bothost.plugins.handlers import Handler
    from bothost.plugins.loading import LoadedPlugin
    from bothost.pyrus.envelope import Envelope
    from bothost.pyrus.rest.definitions import Definitions
    from bothost.runners import HookRun, RunEnded

log = logging.getLogger("bothost.run")

OPEN_S = 60.0
CLOSE_S = 10.0
NOTHING = b"{}"
SHORTEST_TOKEN = 8
LONGEST_TEXT = 1 << 17
LIVES = "; it cannot be stopped and runs on"

Submit = Callable[[Callable[[], None]], None]


def _nothing(_outcome: Outcome | None) -> None:
    """Do nothing, because nobody waits for the end."""


class HandlerCall:
    """One call for an event: what its work is told, and what is made of its outcome."""

    __slots__ = ("_context", "_ended", "_envelope", "_runner", "event", "handler")

    def __init__(self, runner: LocalRunner, envelope: Envelope, context: RunContext, ended: RunEnded) -> None:
        self._runner = runner
        self._envelope = envelope
        self._context = context
        self._ended = ended
        self.event = Event(envelope, context)
        self.handler = runner.plugged.handler_for(self.event)

    @property
    def what(self) -> str:
        """Return bot and handler as people read them."""
        return f"[bot:{self._context.bot}] {self.handler.name}"

    def begin(self) -> Any:
        """Call the handler, with the hooks of `on_run` around it."""
        return hooked(partial(self.handler.call, self.event), self.event)()

    def ended(self, outcome: Outcome | None) -> None:
        """See `PluginCall.ended`: what a call past its time has returned goes on, encoded as a reply would be."""
        reply = NOTHING
        if outcome is not None and outcome[1] is None:
            reply = self.encoded(outcome[0]).reply
        if reply == NOTHING:
            self._ended()
        else:
            self._ended(reply)

    def time_up(self) -> None:
        """See `PluginCall.time_up`: no call to Pyrus may be made any more."""
        if self._context.pyrus is not None:
            self._context.pyrus.give_up("the time of this run is over")

    def failed(self, error: BaseException) -> RunResult:
        """Return the result that an exception of the handler means."""
        return RunResult(failure=reported(error, self.what, self._scrub))

    async def with_definitions(self, answer: Any, result: RunResult) -> RunResult:
        """Return the handler's answer as a reply, after names that the task does not show were looked up with the run's token;
        `result` is what came of it without, which stays if none were missing.
        """
        pyrus = self._context.pyrus
        if pyrus is None or result.failure is None or not isinstance(result.failure.error, DefinitionNeeded):
            return result
        try:
            task = self._envelope.task
            # in a task of its own because a run begins outside any task, where a timeout cannot be set
            looking = pyrus.with_definitions(lambda known: replies.encode(answer, task, known))
            _, known = await asyncio.get_running_loop().create_task(looking)
        except ReplyError as error:
            return self._unusable(error)
        except CallError as error:
            return self.failed(error)
        return self.encoded(answer, known)

    def encoded(self, answer: Any, known: Definitions | None = None) -> RunResult:
        """Return the handler's answer as a reply, as far as the task and `known` tell its names."""
        try:
            reply = replies.encode(answer, self._envelope.task, known)
            warnings = replies.warnings(answer)
            token, secrets = self._envelope.written_token, self._runner.plugged.secrets
            if secrets or token in reply:
                refuse_disclosure(reply, secrets, token)
        except ReplyError as error:
            return self._unusable(error)
        except BaseException as error:  # noqa: BLE001 - a mapping of the plugin's own may raise anything when it is read
            text = f"{self.what} returned a reply that cannot be read: {type(error).__name__}"
            return RunResult(failure=RunFailure("unusable", text, may_rerun=False, error=error))
        if warnings:
            self._runner.warn(self.what, warnings, self._envelope.task_id)
        return RunResult(reply)

    def _unusable(self, error: ReplyError) -> RunResult:
        return RunResult(failure=unusable(error, self.what, self.handler.call, self._scrub))

    def _scrub(self, text: str) -> str:
        token = self._envelope.token
        # a shorter one would mask every such letter, and guards nothing
        return self._runner.scrub(text.replace(token, "***") if len(token) >= SHORTEST_TOKEN else text)


class LocalRunner:
    """See `Runner`. Used on the loop only; made on it."""

    def __init__(
        self, plugged: LoadedPlugin, config: BotConfig, clock: Clock, scrub: Callable[[str], str] = lambda text: text
    ) -> None:
        self.plugged = plugged
        self._bot = config.name
        self._on_loop_only = config.run == "loop"
        self._clock = clock
        self.scrub = scrub
        self._pool = ThreadPool(config.name, config.permits)
        self._overdue: set[OverdueCall] = set()
        self._warned: set[str] = set()
        self._opened = False

    async def open(self) -> None:
        """See `Runner.open`; a plugin has a minute for it."""
        if self.plugged.opening is not None:
            failure = await self._beside(self.plugged.opening, OPEN_S, self._pool.submit)
            if failure is not None:
                error = PluginError(failure.text)
                error.add_note(failure.trace)
                raise error
        self._opened = True

    async def close(self) -> None:
        """See `Runner.close`; what it raises is logged."""
        if not self._opened or self.plugged.closing is None:
            self._pool.close()
            return
        self._opened = False
        failure = await self._beside(self.plugged.closing, CLOSE_S, self._pool.close)
        self._pool.close()
        if failure is not None:
            log.error("%s", failure.text, extra={"bot": self._bot})

    async def run(self, envelope: Envelope, context: RunContext, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.run`."""
        call = HandlerCall(self, envelope, context, ended)
        try:
            work = self._work(call.begin, limit_s, call.ended, call.time_up, call.event)
            answer, error = await self._carry(work, call.handler)
        except CallTimeout as late:
            return RunResult(failure=_late(late, call.what, limit_s))
        if error is not None:
            return call.failed(error)
        result = call.encoded(answer)
        return result if result.failure is None else await call.with_definitions(answer, result)

    async def tick(self, timer: str, tick: Tick, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.tick`. What a timer returns is dropped."""
        spec = self.plugged.timer(timer)
        what = f"[bot:{self._bot}] timer {timer}"
        if spec is None:
            ended()
            return RunResult(
                failure=RunFailure("raised", f"{what}: the plugin has no such timer any more", may_rerun=False)
            )
        call = partial(spec.handler.call, tick) if spec.takes_tick else spec.handler.call
        about = SubjectIds(tick_id(self._bot, timer, tick.due))
        work = self._work(hooked(call, tick), limit_s, lambda _outcome: ended(), about=about)
        try:
            _, error = await self._carry(work, spec.handler)
        except CallTimeout as late:
            return RunResult(failure=_late(late, what, limit_s))
        return RunResult(failure=reported(error, what, self.scrub) if error is not None else None)

    async def work(self, given: JobRun | HookRun, context: RunContext, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.work`."""
        call = call_of(self.plugged, given, context, self.scrub)
        if call.handler is None:
            ended()
            return call.missing
        about = SubjectIds(context.id, given.task if isinstance(given, JobRun) else 0)
        work = self._work(call.begin, limit_s, lambda _outcome: ended(), call.time_up, about)
        try:
            answer, error = await self._carry(work, call.handler)
        except CallTimeout as late:
            return RunResult(failure=_late(late, call.what, limit_s))
        return await call.finished(answer) if error is None else call.failed(error)

    def held(self) -> tuple[str, ...]:
        """See `Runner.held`."""
        return tuple(call.place() for call in self._overdue)

    def release(self) -> None:
        """See `Runner.release`."""
        for call in tuple(self._overdue):
            call.release()

    def warn(self, what: str, warnings: Sequence[str], task: int) -> None:
        """Say what is odd in a reply that is sent all the same, each oddity once."""
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("%s: %s", what, warning, extra={"bot": self._bot, "task": task})

    async def _beside(self, handler: Handler, limit_s: float, submit: Submit) -> RunFailure | None:
        """Call `open` or `close` as a handler is called, but without a permit."""
        what = f"[bot:{self._bot}] plugin {self.plugged.name!r}: {handler.name}"
        try:
            _, error = await self._carry(self._work(handler.call, limit_s, _nothing), handler, submit)
        except CallTimeout as late:
            return _late(late, what, limit_s)
        return reported(error, what, self.scrub) if error is not None else None

    def _work(
        self,
        begin: Callable[[], Any],
        limit_s: float,
        ended: Callable[[Outcome | None], None],
        time_up: Callable[[], None] = lambda: None,
        about: RunSubject | None = None,
    ) -> PluginCall:
        context = contextvars.copy_context()
        if BOT not in context or context[BOT] != self._bot:
            context.run(BOT.set, self._bot)
        context.run(RUN.set, about)
        return PluginCall(self._bot, begin, context, limit_s, ended, time_up, self._overdue)

    async def _carry(self, work: PluginCall, handler: Handler, submit: Submit | None = None) -> Outcome:
        """Call the plugin. Raises TimeUp, and CancelledError."""
        if handler.is_async or self._on_loop_only:
            return await on_loop(work, work.begin, work.limit_s)
        give = submit or self._pool.submit
        return await in_thread(work, lambda run: give(self._clock.in_thread(run)))


def _late(late: CallTimeout, what: str, limit_s: float) -> RunFailure:
    lives = LIVES if late.lives else ""
    return RunFailure(
        "timeout", f"{what} did not end within {limit_s:g} s, it stood at {late}{lives}", may_rerun=not late.lives
    )
