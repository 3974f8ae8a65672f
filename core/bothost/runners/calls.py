"""Call a plugin's code on the loop or in a thread, and give the call up when its time is over."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bothost.plugins.attribution import is_known, place_of_thread
from bothost.runners import eager

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

log = logging.getLogger("bothost.run")

GRACE_S = 2.0
"""The seconds that a cancelled async handler may clean up before it counts as one that does not end."""

Outcome = tuple[Any, BaseException | None]
"""The plugin's result, or its exception."""


class CallTimeout(Exception):
    """Says that a call did not end in time. With `lives` it runs on, because it cannot be stopped. The text says where it stood."""

    def __init__(self, place: str, *, lives: bool) -> None:
        super().__init__(place)
        self.lives = lives


class OverdueCall(Protocol):
    """A call past its time that has not ended."""

    def place(self) -> str:
        """Return where it stands now: `file:line in function`."""

    def release(self) -> None:
        """Count it as ended, although it lives: its permit comes back."""


class PluginCall(msgspec.Struct, frozen=True, eq=False):
    """Holds what to call and for how long. `ended` is called once, on the loop, when the call has really ended, with what came of
    it if nobody waited for that any more; `time_up` when nobody waits any more although it lives; `overdue` holds it from
    then until its end."""

    bot: str
    begin: Callable[[], Any]
    context: contextvars.Context
    limit_s: float
    ended: Callable[[Outcome | None], None]
    time_up: Callable[[], None]
    overdue: set[OverdueCall]


async def on_loop(work: PluginCall, begin: Callable[[], Any], limit_s: float) -> Outcome:
    """Call in a task of its own, because a handler that swallows its cancellation must not keep the run from ending.

    Raises TimeUp, and CancelledError: the handler is then cancelled.
    """
    call = _TaskCall(work, begin)
    if call.outcome is not None:
        work.ended(None)
        return call.outcome
    timer = call.loop.call_later(limit_s, call.expire)
    try:
        await call.waiter
    except asyncio.CancelledError:
        call.task.cancel()
        raise
    finally:
        timer.cancel()
        if call.grace is not None:
            call.grace.cancel()
    if call.late:
        if not call.task.done():
            work.overdue.add(call)
            work.time_up()
        raise CallTimeout(call.stood, lives=not call.task.done())
    return (None, asyncio.CancelledError()) if call.task.cancelled() else call.task.result()


async def in_thread(work: PluginCall, submit: Callable[[Callable[[], None]], None]) -> Outcome:
    """Call in a thread. An awaitable that comes back is awaited on the loop, within the same limit.

    `submit` is given what the thread has to run. Raises TimeUp; and CancelledError: what the thread returns is then dropped.
    """
    call = _ThreadCall(work)
    until = call.loop.time() + work.limit_s
    timer = call.loop.call_later(work.limit_s, call.expire)
    try:
        submit(call.run)
        outcome = await call.waiter
    except asyncio.CancelledError:
        call.abandon()
        raise
    finally:
        timer.cancel()
    if outcome is None:
        place = call.place()
        if not call.gone:
            call.outlive()
        raise CallTimeout(place, lives=not call.gone)
    answer, error = outcome
    if error is None and inspect.isawaitable(answer):
        return await on_loop(work, lambda: answer, max(0.0, until - call.loop.time()))
    work.ended(None)
    return outcome


class _TaskCall:
    """A call on the loop, begun at once. `outcome` stands when it has ended; `waiter` ends with the task, or when that has
    not ended a while after its cancellation."""

    __slots__ = ("_work", "grace", "late", "loop", "outcome", "stood", "task", "waiter")

    def __init__(self, work: PluginCall, begin: Callable[[], Any]) -> None:
        self.outcome: Outcome | None = None
        self.grace: asyncio.TimerHandle | None = None
        self.late = False
        self.stood = ""
        self._work = work
        # the watchdog knows by the name whose it is if the loop does not show its context
        self.task = eager.begin(self._await(begin), work.context, f"bothost-bot-{work.bot}")
        if self.outcome is None:
            self.loop = asyncio.get_running_loop()
            self.waiter: asyncio.Future[None] = self.loop.create_future()
            self.task.add_done_callback(self._done)

    async def _await(self, begin: Callable[[], Any]) -> Outcome:
        outcome: Outcome
        try:
            answer = begin()
            if type(answer) is CoroutineType or inspect.isawaitable(answer):
                answer = await answer
        except BaseException as error:  # noqa: BLE001 - a plugin's code: SystemExit in a task would end the host's loop
            outcome = None, error
        else:
            outcome = answer, None
        self.outcome = outcome
        return outcome

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        _end(self._work, self, None if task.cancelled() else task.result())
        self._wake()

    def _wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)

    def expire(self) -> None:
        """Cancel the handler because its time is up, and wait a little for it to clean up."""
        self.late = True
        self.stood = self.place()
        self.task.cancel()
        self.grace = self.loop.call_later(GRACE_S, self._wake)

    def place(self) -> str:
        """See `OverdueCall.place`."""
        place = ""
        awaited: Any = self.task.get_coro()
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None)
            if frame is not None and not is_known(frame.f_code.co_filename):
                place = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
            awaited = getattr(awaited, "cr_await", None)
        return place or "no code of the plugin"

    def release(self) -> None:
        """See `OverdueCall.release`."""
        self._work.ended(None)


class _ThreadCall:
    """A call in a thread. `waiter` gets its outcome, or None if its time was up first."""

    __slots__ = ("_dropped", "_returned", "_thread", "_work", "gone", "loop", "waiter")

    def __init__(self, work: PluginCall) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiter: asyncio.Future[Outcome | None] = self.loop.create_future()
        self.gone = False
        self._work = work
        self._returned: Outcome | None = None
        self._dropped = False
        self._thread = 0

    def run(self) -> None:
        """Call in this thread, and hand the outcome to the loop."""
        self._thread = threading.get_ident()
        work = self._work
        outcome: Outcome = (None, None) if self._dropped else work.context.run(_call, work.begin)
        self._thread = 0
        try:
            self.loop.call_soon_threadsafe(self._back, outcome)
        except RuntimeError:  # the loop is closed: the host is going, nobody waits any more
            _close(work, outcome)

    def _back(self, outcome: Outcome) -> None:
        self.gone = True
        if self.waiter.done():
            self._drop(outcome)
        else:
            self._returned = outcome
            self.waiter.set_result(outcome)

    def _drop(self, outcome: Outcome) -> None:
        _end(self._work, self, (None, None) if _close(self._work, outcome) else outcome)

    def expire(self) -> None:
        """Stop waiting for the call because its time is up. If no thread has begun it, none will."""
        self._dropped = True
        if not self.waiter.done():
            self.waiter.set_result(None)

    def abandon(self) -> None:
        """Drop the call's result, because nobody waits for it any more."""
        self._dropped = True
        if self._returned is not None:
            self._drop(self._returned)
        else:
            self.outlive()

    def outlive(self) -> None:
        """Count a call that lives on as overdue, and let it ask Pyrus for nothing more."""
        self._work.overdue.add(self)
        self._work.time_up()

    def place(self) -> str:
        """See `OverdueCall.place`."""
        return (place_of_thread(self._thread) if self._thread else "") or "no code of the plugin"

    def release(self) -> None:
        """See `OverdueCall.release`."""
        self._work.ended(None)


def _end(work: PluginCall, call: OverdueCall, outcome: Outcome | None) -> None:
    if call not in work.overdue:
        work.ended(None)
        return
    work.overdue.discard(call)
    error = outcome[1] if outcome is not None else None
    how = f"with {type(error).__name__}" if error is not None else "and what it returned is not sent"
    log.warning("[bot:%s] a call past its time has ended, %s", work.bot, how, extra={"bot": work.bot})
    work.ended(outcome)


def _close(work: PluginCall, outcome: Outcome) -> bool:
    """Close a coroutine that nobody will await, because Python would complain of it. Returns False if there is none."""
    answer = outcome[0]
    if not isinstance(answer, Coroutine):
        return False
    work.context.run(answer.close)
    return True


def _call(begin: Callable[[], Any]) -> Outcome:
    try:
        return begin(), None
    except BaseException as error:  # noqa: BLE001 - a plugin's code: not even SystemExit may end a thread of the host unseen
        return None, error
