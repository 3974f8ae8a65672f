"""Find the code that blocks the loop. A thread asks the loop every 0.1 s and, if there is no answer, looks where it stands.

Only `attribution.stack_of` reads frames of running threads, because `faulthandler.dump_traceback_later` reads them without the
interpreter's lock, and crashed it in trials. A thread's CPU clock is named by the thread's number in the kernel.
`pthread_getcpuclockid` is undefined for a thread that has just ended. To read /proc releases the interpreter's lock forty times,
so that the watchdog was still reading when the next block began.

This module also sets how often threads hand over the interpreter. They do so more often while the loop waits behind threads that
compute. The loop needs the interpreter some five times for a delivery, and each time it waits behind every such thread. With
eight of them a neighbour's 20 ms became 65 ms (p95 123 ms) at the usual interval, and about half of that at the narrow one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bothost.background import SupervisedLoops, Throttle
from bothost.plugins.attribution import BOT, innermost_foreign, is_known, stack_of
from bothost.runners import eager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from bothost.clock import Clock

log = logging.getLogger("bothost.watchdog")

ASK_S = 0.1
SAMPLE_S = 0.5
BLOCKED_S = 0.25
LOOK_APART_S = 0.02
HELD_S = 0.35
"""The watchdog's own 0.1 s took this long: something kept the interpreter's lock."""
HELD_CPU_S = 0.1
"""The least seconds on a CPU of the thread that held it, however many others want the machine."""
HELD_SHARE = 0.6
"""Its least share of the CPU time that this process got, because many threads that compute share it."""
AGAIN_S = 60.0
"""One report per place and minute."""
GREEDY_S = 10.0
GREEDY_SHARE = 0.5
"""A bot whose threads take more than half a core for ten seconds belongs into a process of its own."""
CPU_OF_THREAD = 0b110
"""The low bits of a clock's number by which Linux knows a thread's CPU clock (include/linux/posix-timers.h)."""
THREAD_PREFIX = "bothost-bot-"
"""Pool threads are named `bothost-bot-NAME-n`, the tasks of async handlers `bothost-bot-NAME`."""


@dataclass(frozen=True, slots=True)
class BlockedLoop:
    """A bot's code that stopped the loop: where it stands ("" if it has gone on already), and for how long by now."""

    bot: str
    file: str
    line: int
    function: str
    seconds: float
    holds: bool = False
    """C code of it kept the interpreter's lock, in whatever thread."""

    def __str__(self) -> str:
        what, cure = (
            "blocks the event loop",
            "make the handler a plain method, which gets a thread, or say `run = process`",
        )
        if self.holds:
            what, cure = "kept the interpreter's lock, and so stopped every thread,", "say `run = process`"
        place = f"{self.file}:{self.line} in {self.function}" if self.file else "a place that it has left since"
        return f"[bot:{self.bot}] {what} for {self.seconds * 1000:.0f} ms at {place}: {cure}"


class Watchdog:
    """Watches one loop from a thread of its own; `start` and `stop` on the loop's thread.

    The log names a place once a minute; `report` is told of each block, with its whole length, when it has ended.
    """

    def __init__(
        self,
        clock: Clock,
        report: Callable[[BlockedLoop], None],
        lag: Callable[[float], None],
        loops: SupervisedLoops | None = None,
    ) -> None:
        self._clock = clock
        self._loops = loops or SupervisedLoops(clock)
        self._report = report
        self._lag = lag
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._outside: tuple[FrameType, ...] = ()
        """Frames that stand around the loop: of the command line, of a test. What blocks the loop stands within it."""
        self._answered = True
        self._asked = 0.0
        self._blamed: BlockedLoop | None = None
        """The code that was found to hold the loop, while the loop has not answered yet."""
        self._said: Throttle[tuple[str, str, str]] = Throttle(clock, AGAIN_S)
        self._cpu: dict[int, float] = {}
        self._sample_at = 0.0
        self._greedy: dict[str, tuple[float, float]] = {}
        self._told: Throttle[str] = Throttle(clock, AGAIN_S)
        self._switching = SwitchInterval()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch the loop that runs in this thread."""
        self._loop = loop
        self._loop_thread = threading.get_ident()
        stack = stack_of(self._loop_thread)
        self._outside = tuple(frame for frame in stack if not is_known(frame.f_code.co_filename))
        self._thread = threading.Thread(target=self._watch, name="bothost-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._switching.restore()

    def places(self) -> list[str]:
        """Say where plugins stand now, on the loop and in threads: what may hold up a stop. From any thread."""
        found = []
        if self._loop is not None:
            stack = stack_of(self._loop_thread)
            where = innermost_foreign(stack, self._outside)
            if where is not None:
                bot = self._bot_on_loop(stack)
                found.append(f"{f'[bot:{bot}]' if bot else 'a plugin'} blocks the event loop at {_shown(where)}")
        for ident, bot in bots_by_thread().items():
            where = innermost_foreign(stack_of(ident))
            if where is not None:
                found.append(f"[bot:{bot}] runs in a thread at {_shown(where)}")
        return found

    def _pong(self) -> None:
        self._answered = True
        lag_s = self._clock.monotonic() - self._asked
        self._lag(lag_s)
        self._switching.answered(lag_s)
        blamed, self._blamed = self._blamed, None
        if blamed is not None:
            self._report(replace(blamed, seconds=max(lag_s, blamed.seconds)))

    def _watch(self) -> None:
        self._loops.keep_here("watchdog", self._rounds, self._stop)

    def _rounds(self) -> None:
        while self._round():
            pass

    def _round(self) -> bool:
        """Ask the loop once, and look where it stands if it does not answer. Return False at the end."""
        clock = self._clock
        before = clock.monotonic()
        if before >= self._sample_at:
            self._cpu, self._sample_at = cpu_by_thread(), before + SAMPLE_S
            self._look_for_greed(before)
        if self._answered and not self._ask():
            return False
        if clock.wait(self._stop, ASK_S):
            return False
        now = clock.monotonic()
        if now - before > HELD_S:
            self._somebody_held_the_lock(now - before)
        elif not self._answered and now - self._asked >= BLOCKED_S:
            self._look(now)
        return True

    def _ask(self) -> bool:
        self._answered = False
        self._asked = self._clock.monotonic()
        return self._loop_call(self._pong)

    def _loop_call(self, callback: Callable[..., None], *arguments: object) -> bool:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _look(self, now: float) -> None:
        """Look twice, and blame only a place that is seen both times."""
        first = self._place(now)
        if first is None or self._clock.wait(self._stop, LOOK_APART_S) or self._answered:
            return
        second = self._place(self._clock.monotonic())
        if second and (first.bot, first.file, first.function) == (second.bot, second.file, second.function):
            self._blamed = second
            self._say(second)

    def _place(self, now: float) -> BlockedLoop | None:
        stack = stack_of(self._loop_thread)
        return self._place_of(self._bot_on_loop(stack), stack, now - self._asked)

    def _somebody_held_the_lock(self, seconds: float) -> None:
        """C code kept the interpreter's lock: the thread whose CPU clock ran meanwhile is the one."""
        # where they stand is read first: reading CPU times lets the threads go on
        places = {self._loop_thread: self._place(self._asked + seconds)}
        for ident, bot in bots_by_thread().items():
            # who got the lock back first may be through by now; its bot is known all the same
            places[ident] = self._place_of(bot, stack_of(ident), seconds) or BlockedLoop(bot, "", 0, "", seconds)
        after = cpu_by_thread()
        grown = {thread: used - self._cpu.get(thread, 0.0) for thread, used in after.items()}
        thread = max(grown, key=lambda one: grown[one], default=0)
        self._cpu = after
        blocked = places.get(thread)
        # if no thread's clock ran, the process was stopped
        if blocked is not None and grown[thread] >= max(HELD_CPU_S, HELD_SHARE * sum(grown.values())):
            blocked = replace(blocked, holds=True)
            self._say(blocked)
            self._loop_call(self._report, blocked)

    def _place_of(self, bot: str, stack: Iterable[FrameType], seconds: float) -> BlockedLoop | None:
        where = innermost_foreign(stack, self._outside) if bot else None
        if where is None:
            return None
        return BlockedLoop(bot, where.f_code.co_filename, where.f_lineno, where.f_code.co_qualname, seconds)

    def _bot_on_loop(self, stack: Iterable[FrameType]) -> str:
        assert self._loop is not None
        return bot_of(stack) if isinstance(self._loop, asyncio.BaseEventLoop) else bot_of_task(self._loop)

    def _say(self, blocked: BlockedLoop) -> None:
        if self._said.passes((blocked.bot, blocked.file, blocked.function)) is not None:
            log.warning("%s", blocked, extra={"bot": blocked.bot})

    def _look_for_greed(self, now: float) -> None:
        used: dict[str, float] = {}
        for ident, bot in bots_by_thread().items():
            used[bot] = used.get(bot, 0.0) + self._cpu.get(ident, 0.0)
        for bot, seconds in used.items():
            since, then = self._greedy.setdefault(bot, (now, seconds))
            if now - since < GREEDY_S:
                continue
            self._greedy[bot] = (now, seconds)
            if seconds - then > GREEDY_SHARE * (now - since) and self._told.passes(bot) is not None:
                log.warning(
                    "[bot:%s] its threads use %.0f %% of a core: threads isolate waiting, not computing; say `run = process`",
                    bot, 100 * (seconds - then) / (now - since), extra={"bot": bot},
                )  # fmt: skip


def _shown(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def cpu_by_thread() -> dict[int, float]:
    """Return CPU seconds of each living Python thread by its ident; empty if the kernel is not Linux."""
    used: dict[int, float] = {}
    if sys.platform == "linux":
        for thread in threading.enumerate():
            if thread.ident is not None and thread.native_id is not None:
                with suppress(OSError):  # it has just ended
                    used[thread.ident] = time.clock_gettime(~thread.native_id << 3 | CPU_OF_THREAD)
    return used


def bot_of(stack: Iterable[FrameType]) -> str:
    """Return the bot in whose context the loop's present callback runs: from the innermost `Handle._run`, or task that was begun
    within it, on the stack.
    """
    for frame in stack:
        if frame.f_code is eager.begin.__code__:
            bot = frame.f_locals["context"].get(BOT, "")
            if bot:
                return str(bot)
        if frame.f_code.co_name == "_run" and frame.f_code.co_filename.endswith("asyncio/events.py"):
            context = getattr(frame.f_locals.get("self"), "_context", None)
            return context.get(BOT, "") if context is not None else ""
    return ""


def bot_of_task(loop: asyncio.AbstractEventLoop) -> str:
    """Return the bot whose task a loop without Python frames (uvloop) runs at present.

    Before Python 3.12 a task does not show its context; there only the handler's own task, by its name, is known.
    """
    task = asyncio.current_task(loop)
    if task is None:
        return ""
    if sys.version_info >= (3, 12):
        return task.get_context().get(BOT, "")
    name = task.get_name()
    return name.removeprefix(THREAD_PREFIX) if name.startswith(THREAD_PREFIX) else ""


def bots_by_thread() -> dict[int, str]:
    """Return the bot whose pool a thread belongs to, by the thread's ident; other threads are missing."""
    named = [(thread.ident, thread.name) for thread in threading.enumerate() if thread.name.startswith(THREAD_PREFIX)]
    return {ident: name.removeprefix(THREAD_PREFIX).rpartition("-")[0] for ident, name in named if ident is not None}


NARROW_S = 0.0001
LATE_S = 0.01
"""The seconds after which an answer of the loop to the watchdog is late."""
LATE_TIMES = 3
"""The number of late answers in a row after which the interval becomes narrow."""
CALM_TIMES = 50
"""The number of answers in time, in a row, after which it is as before."""


class SwitchInterval:
    """Told of each answer of the loop; on the loop."""

    def __init__(self) -> None:
        self._usual_s = sys.getswitchinterval()
        self._late = 0
        self._calm = 0
        self._narrow = False

    def answered(self, lag_s: float) -> None:
        """Note how late the loop was, and set the interval."""
        if lag_s > LATE_S:
            self._late, self._calm = self._late + 1, 0
        else:
            self._late, self._calm = 0, self._calm + 1
        if not self._narrow and self._late >= LATE_TIMES:
            self._set(NARROW_S)
        elif self._narrow and self._calm >= CALM_TIMES:
            self._set(self._usual_s)

    def restore(self) -> None:
        """Set the interval that was found at the start."""
        if self._narrow:
            self._set(self._usual_s)

    def _set(self, seconds: float) -> None:
        self._narrow = seconds == NARROW_S
        sys.setswitchinterval(seconds)
