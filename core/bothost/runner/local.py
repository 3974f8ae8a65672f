"""Runs a bot's plugin in this process: async handlers as tasks of the loop, plain ones in the bot's own threads."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from bothost.errors import PluginError, ReplyError
from bothost.event import Event
from bothost.pyrus import replies
from bothost.runner import Failure, Ran
from bothost.runner.calling import Outcome, Overdue, TimeUp, Work, in_thread, on_loop
from bothost.runner.failing import failure_of
from bothost.runner.pool import Pool
from bothost.whose import BOT

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.event import Context
    from bothost.plugin_api import Tick
    from bothost.plugins import Handler, Plugged
    from bothost.pyrus.events import Envelope
    from bothost.runner import Ending

log = logging.getLogger("bothost.run")

OPEN_S = 60.0
CLOSE_S = 10.0
NOTHING = b"{}"
LIVES = "; it cannot be stopped and runs on"

Submit = Callable[[Callable[[], None]], None]


def _nothing(returned: bytes = b"") -> None:
    del returned


class Kept:
    """Passes on that a call has ended; what one past its time has returned, encoded as a reply would be."""

    __slots__ = ("_encode", "_ended")

    def __init__(self, ended: Ending, encode: Callable[[Any], bytes] | None = None) -> None:
        self._ended = ended
        self._encode = encode

    def ended(self, outcome: Outcome | None) -> None:
        """See `Work.ended`."""
        reply = NOTHING
        if outcome is not None and outcome[1] is None and self._encode is not None:
            reply = self._encode(outcome[0])
        if reply == NOTHING:
            self._ended()
        else:
            self._ended(reply)


class LocalRunner:
    """See `Runner`. Used on the loop only; made on it."""

    def __init__(
        self, plugged: Plugged, config: BotConfig, clock: Clock, scrub: Callable[[str], str] = lambda text: text
    ) -> None:
        self._plugged = plugged
        self._bot = config.name
        self._on_loop_only = config.run == "loop"
        self._clock = clock
        self._scrub = scrub
        self._pool = Pool(config.name, config.concurrency)
        self._overdue: set[Overdue] = set()
        self._warned: set[str] = set()
        self._opened = False

    async def open(self) -> None:
        """See `Runner.open`; a plugin has a minute for it."""
        if self._plugged.opening is not None:
            failure = await self._beside(self._plugged.opening, OPEN_S, self._pool.submit)
            if failure is not None:
                error = PluginError(failure.text)
                error.add_note(failure.trace)
                raise error
        self._opened = True

    async def close(self) -> None:
        """See `Runner.close`; what it raises is logged."""
        if not self._opened or self._plugged.closing is None:
            self._pool.close()
            return
        self._opened = False
        failure = await self._beside(self._plugged.closing, CLOSE_S, self._pool.close)
        self._pool.close()
        if failure is not None:
            log.error("%s", failure.text, extra={"bot": self._bot})

    async def run(self, envelope: Envelope, context: Context, limit_s: float, ended: Ending) -> Ran:
        """See `Runner.run`."""
        event = Event(envelope, context)
        handler = self._plugged.handler_for(event)
        pyrus = context.pyrus
        time_up = partial(pyrus.give_up, "the time of this run is over") if pyrus is not None else _nothing
        what = f"[bot:{self._bot}] {handler.name}"
        scrub = self._scrub_of(envelope.token)
        kept = Kept(ended, lambda answer: self._encoded(answer, event, what, scrub).reply)
        try:
            work = self._work(partial(handler.call, event), limit_s, kept, time_up)
            answer, error = await self._carry(work, handler)
        except TimeUp as late:
            return Ran(failure=_late(late, what, limit_s))
        if error is not None:
            return Ran(failure=failure_of(error, what, scrub))
        return self._encoded(answer, event, what, scrub)

    async def tick(self, timer: str, tick: Tick, limit_s: float, ended: Ending) -> Ran:
        """See `Runner.tick`. What a timer returns is dropped."""
        spec = self._plugged.timer(timer)
        what = f"[bot:{self._bot}] timer {timer}"
        if spec is None:
            ended()
            return Ran(failure=Failure("raised", f"{what}: the plugin has no such timer any more", may_rerun=False))
        call = spec.handler.call
        work = self._work(partial(call, tick) if spec.takes_tick else call, limit_s, Kept(ended))
        try:
            _, error = await self._carry(work, spec.handler)
        except TimeUp as late:
            return Ran(failure=_late(late, what, limit_s))
        return Ran(failure=failure_of(error, what, self._scrub) if error is not None else None)

    def held(self) -> tuple[str, ...]:
        """See `Runner.held`."""
        return tuple(call.place() for call in self._overdue)

    def _scrub_of(self, token: str) -> Callable[[str], str]:
        if not token:
            return self._scrub
        return lambda text: self._scrub(text.replace(token, "***"))

    def _encoded(self, answer: Any, event: Event, what: str, scrub: Callable[[str], str]) -> Ran:
        try:
            reply = replies.encode(answer, event.task)
            warnings = replies.warnings(answer)
        except ReplyError as error:
            return Ran(
                failure=Failure(
                    "unusable", scrub(f"{what} returned a reply that cannot be used: {error}"), may_rerun=False
                )
            )
        except Exception as error:  # noqa: BLE001 - a mapping of the plugin's own may raise anything when it is read
            text = f"{what} returned a reply that cannot be read: {type(error).__name__}"
            return Ran(failure=Failure("unusable", text, may_rerun=False))
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("%s: %s", what, warning, extra={"bot": self._bot, "task": event.task_id})
        return Ran(reply)

    async def _beside(self, handler: Handler, limit_s: float, submit: Submit) -> Failure | None:
        """`open` or `close`: as a handler, but for the permit."""
        what = f"[bot:{self._bot}] plugin {self._plugged.name!r}: {handler.name}"
        try:
            _, error = await self._carry(self._work(handler.call, limit_s, Kept(_nothing)), handler, submit)
        except TimeUp as late:
            return _late(late, what, limit_s)
        return failure_of(error, what, self._scrub) if error is not None else None

    def _work(
        self,
        begin: Callable[[], Any],
        limit_s: float,
        kept: Kept,
        time_up: Callable[[], None] = _nothing,
    ) -> Work:
        context = contextvars.copy_context()
        context.run(BOT.set, self._bot)
        return Work(self._bot, begin, context, limit_s, kept.ended, time_up, self._overdue)

    async def _carry(self, work: Work, handler: Handler, submit: Submit | None = None) -> Outcome:
        """Call the plugin. Raises TimeUp, and CancelledError."""
        if handler.is_async or self._on_loop_only:
            return await on_loop(work, work.begin, work.limit_s)
        give = submit or self._pool.submit
        return await in_thread(work, lambda run: give(self._clock.in_thread(run)))


def _late(late: TimeUp, what: str, limit_s: float) -> Failure:
    lives = LIVES if late.lives else ""
    return Failure(
        "timeout", f"{what} did not end within {limit_s:g} s, it stood at {late}{lives}", may_rerun=not late.lives
    )
