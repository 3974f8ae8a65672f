"""Define an event loop whose timers are virtual and whose I/O and threads are real.

The clock jumps to the next timer only when nothing real is outstanding, and never beyond the horizon that it was given. The
loop is made without a policy and is never set as current, so that other test plugins in the process are not affected.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import selectors
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from bothost.testing.virtual_time.outstanding import OutstandingWork, RealWork, thread_whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = 1000.0
"""The first value of `time()`. It is not 0, so that a forgotten value is not taken for the beginning."""
SLICE_S = 0.05
"""The seconds of a wait for real work before the limits are looked at again."""


def is_debugged() -> bool:
    """Return whether a debugger is at work. Then a person looks at a paused handler, and real time means nothing."""
    monitoring = getattr(sys, "monitoring", None)  # Python 3.12 and newer
    watched = monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None
    return watched or sys.gettrace() is not None or "pydevd" in sys.modules


class StuckTest(AssertionError):
    """Nothing can happen any more, or real work takes too long. The text names the waiting work and its place."""


class AbandonedThread(BaseException):
    """Raised in threads that still wait for the loop when it is closed. No `except Exception` of a handler may catch it."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs only inside `run`, `advance` and `settle`. Only `outstanding` and `call_soon_threadsafe` are thread-safe."""

    def __init__(self) -> None:
        self.now = START
        self.horizon = START
        self.io_grace_s = 0.2
        self.real_limit_s = 10.0
        self.failures: list[str] = []
        self._arrived = False
        self._busy_since: float | None = None
        self.outstanding = OutstandingWork(self._nudge)
        self._turner = _Turner(self)
        super().__init__(self._turner)
        self._clock_resolution = 1e-6
        self._own_descriptors = len(self._turner.get_map())
        self._executor = _DaemonExecutor()
        self._beats: dict[int, RealWork] = {}
        self._waited_for: set[concurrent.futures.Future[Any]] = set()

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    def run(self, work: Coroutine[Any, Any, T], *, limit_s: float = 86_400.0) -> T:
        """Run until the work is done, move the clock as far as that needs (at most `limit_s`), then `settle`.

        Return the work's result. Raises StuckTest if it cannot end, and the work's own exception.
        """
        self.refuse_nesting(work)
        call = self.create_task(work)
        call.add_done_callback(self._stop)
        self._turn(self.now + limit_s, call.done)
        if not call.done():
            raise StuckTest(
                f"nothing happened any more within {limit_s:g} s of virtual time; what waits:\n{self.waiting()}"
            )
        self.settle()
        return call.result()

    def advance(self, seconds: float) -> None:
        """Move the clock, run everything that is due on the way, then `settle`."""
        self.refuse_nesting()
        if not 0 <= seconds < math.inf:
            raise ValueError(f"the clock goes on by some seconds, not by {seconds}")
        self._turn(self.now + seconds)

    def settle(self) -> None:
        """Let everything that is under way at this instant end, except timers that lie ahead."""
        self.refuse_nesting()
        self._turn(self.now)

    def sleep_in_thread(self, seconds: float) -> None:
        """Sleep in a thread for virtual time. Raises AbandonedThread when the loop is closed meanwhile."""
        woken: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.call_soon_threadsafe(self.call_at, self.now + seconds, _wake, woken)
        self.wait_in_thread(woken)

    def wait_in_thread(self, future: concurrent.futures.Future[T]) -> T:
        """Wait in a thread for a future that the loop will complete. The thread does not hold the clock meanwhile."""
        self._waited_for.add(future)
        try:
            self.outstanding.lend(future)
            return future.result()
        except concurrent.futures.CancelledError:
            if self.is_closed():
                raise AbandonedThread from None
            raise
        finally:
            self._waited_for.discard(future)

    def wait_for_event(self, event: threading.Event, seconds: float) -> bool:
        """Wait in a thread until the event is set or virtual time is up. Return True if it is set.

        When the time is up, the thread holds the clock until its next wait, so that its work takes no virtual time.
        """
        thread = threading.get_ident()
        over: concurrent.futures.Future[None] = concurrent.futures.Future()

        def time_is_up() -> None:
            if not over.done():
                self._beats[thread] = self.outstanding.begin(thread, "Clock.wait")
                over.set_result(None)
                with event._cond:  # type: ignore[attr-defined]  # wakes the thread now, not at the end of its slice
                    event._cond.notify_all()  # type: ignore[attr-defined]

        try:
            self.call_soon_threadsafe(self.call_at, self.now + seconds, time_is_up)
        except RuntimeError:  # the loop is closed, so the test is over, and the thread ends in real time
            return event.wait(seconds)
        self._end_beat(thread)  # only now that the next timer is the loop's
        self._waited_for.add(over)
        self.outstanding.lend(over)
        while not (event.is_set() or over.done()):
            event.wait(0.2)
        self._waited_for.discard(over)
        over.cancel()
        return event.is_set()

    def _end_beat(self, thread: int) -> None:
        beat = self._beats.pop(thread, None)
        if beat is not None:
            self.outstanding.end(beat)

    def runs_here(self) -> bool:
        """Return whether the calling thread is the one that runs this loop now."""
        return asyncio._get_running_loop() is self

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Do the same as asyncio's, but count the work, and use a daemon thread if no executor is given."""
        hold = self.outstanding.begin(None, "run_in_executor")

        def work() -> T:
            self.outstanding.adopt(hold)
            return func(*args)

        try:
            future = (executor or self._executor).submit(work)
        except BaseException:  # no thread can be started: nothing is outstanding
            self.outstanding.end(hold)
            raise
        wrapped = asyncio.wrap_future(future, loop=self)
        # This comes after wrap_future, whose callback hands the result to the loop. Ours says that nothing is outstanding. In
        # the other order the loop could see neither, and jump.
        future.add_done_callback(lambda _: self.outstanding.end(hold))
        return wrapped

    def waiting(self) -> str:
        """Return the waiting calls for messages, one in each line."""
        calls = sorted(asyncio.all_tasks(self), key=lambda call: call.get_name())
        return "\n".join(f"  {_describe(call)}" for call in calls) or "  (no call at all)"

    @staticmethod
    def refuse_nesting(work: Coroutine[Any, Any, Any] | None = None) -> None:
        """Raise RuntimeError if another loop runs in this thread. The coroutine, if any, is closed first."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        if work is not None:
            work.close()
        raise RuntimeError(
            "the bothost harness turns a loop of its own and cannot be used while another one runs: "
            "write the test as a plain `def test_...`, not `async def`"
        )

    def close(self) -> None:
        """Cancel waiting calls, and close. Threads that wait for the loop end with AbandonedThread; others go on as daemons."""
        if self.is_closed():
            return
        self.outstanding.forget_all()
        self.io_grace_s = 0
        calls = asyncio.all_tasks(self)
        for call in calls:
            call.cancel()
        if calls:
            self._turn(self.now)
        for call in calls:
            call._log_destroy_pending = False  # type: ignore[attr-defined]  # one that refuses to end is not worth a line
        super().close()
        for future in list(self._waited_for):
            future.cancel()

    def _turn(self, horizon: float, done: Callable[[], bool] = lambda: False) -> None:
        """Run until `done` or until the horizon is reached, even if other code stops the loop meanwhile."""
        self.horizon = horizon
        self._arrived = False
        self._busy_since = None
        while not (self._arrived or done()):
            self.run_forever()
        if self.failures:
            failures, self.failures = self.failures, []
            raise AssertionError("\n".join(failures))

    def _stop(self, _: object) -> None:
        self.stop()

    def _nudge(self) -> None:
        if not self.runs_here() and not self.is_closed():
            try:
                self.call_soon_threadsafe(_nothing)
            except RuntimeError:  # the loop was closed meanwhile, so nobody waits any more
                return

    def wait_really(self, timeout: float | None, poll: Callable[[float], list[Any]]) -> list[Any]:
        """Do the work of `select`: return real events if there are any, else wait for real work, else move the clock.

        The outstanding work is read before the poll. Work that ended earlier has handed its result over before that, so the
        poll sees it.
        """
        busy = bool(self.outstanding)
        events = poll(0)
        if events or timeout == 0:
            self._check_rest()
            return events
        self._busy_since = None
        if busy:
            events = poll(SLICE_S)
            if not events:
                self._check_limit()
            return events
        if self.io_grace_s > 0 and len(self._turner.get_map()) > self._own_descriptors:
            events = poll(self.io_grace_s)
            if events:
                return events
        self._jump(timeout)
        return events

    def _jump(self, timeout: float | None) -> None:
        """Move the clock to the next timer.

        A sum of floats may end a little beyond the horizon, and counts as on it. But the clock never stops a little before the
        timer, because code that waits for the rest of its time would wait for ever."""
        if timeout is None or round(self.now + timeout, 9) > self.horizon:
            self._arrived = True
            self.stop()
            self.now = max(self.now, self.horizon)
        else:
            self.now = max(round(self.now + timeout, 9), self.now + timeout)

    def _check_rest(self) -> None:
        """Raise StuckTest if callbacks follow each other without end, because virtual time would never move."""
        now = time.monotonic()
        if self._busy_since is None:
            self._busy_since = now
        elif now - self._busy_since > self.real_limit_s and not is_debugged():
            self._busy_since = None
            raise StuckTest(
                f"the loop has not come to rest for {self.real_limit_s:g} s of real time:\n{self.waiting()}"
            )

    def _check_limit(self) -> None:
        self.outstanding.forget_dead_threads()
        hold = self.outstanding.oldest()
        if hold is not None and time.monotonic() - hold.since > self.real_limit_s and not is_debugged():
            where = thread_whereabouts(hold)
            self.outstanding.end(hold)
            raise StuckTest(
                f"{where} has taken more than {self.real_limit_s:g} s of real time: waits in threads other than "
                "time.sleep are real (bothost.real_limit changes the limit)"
            )


class _Turner(selectors.BaseSelector):
    """The platform's selector. Its `select` asks the loop what to wait for."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self._loop.wait_really(timeout, self._real.select)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class _DaemonExecutor(concurrent.futures.Executor):
    """A daemon thread for each piece of work, because work that hangs must not keep the test run from ending."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except AbandonedThread:
                return
            except BaseException as error:  # noqa: BLE001 - handed to the one who waits
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, name="bothost-test", daemon=True).start()
        return future


def _nothing() -> None:
    """Do nothing. To call it makes the loop look again."""


def _wake(woken: concurrent.futures.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _describe(call: asyncio.Task[Any]) -> str:
    stack = call.get_stack(limit=1)
    where = f" at {stack[0].f_code.co_filename}:{stack[0].f_lineno}" if stack else ""
    return f"{call.get_name()}: {getattr(call.get_coro(), '__qualname__', call.get_coro())}{where}"
