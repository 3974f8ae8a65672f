"""Work beside the runs of events: tasks, loops, periodic jobs, and lines that repeat. A fault in one ends no other.

Every loop of a process runs under `SupervisedLoops`, which starts it again when it fails and tells /readyz meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.tasks import _unregister_task  # documented for who brings a task of his own ("Extending" asyncio)
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Coroutine, Hashable, Iterator, Mapping

    from bothost.clock import Clock

Result = TypeVar("Result")
Key = TypeVar("Key", bound="Hashable")

log = logging.getLogger("bothost.server")
_steps_log = logging.getLogger("bothost.journal")
"""Faults in the steps of an event's life keep the logger that they have always had."""

PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""The seconds before a failed loop starts again, by the number of its faults in a row."""
STEADY_S = 5.0
"""A loop that was started again counts as down until it has lasted so long."""
CALM_S = 120.0
"""The seconds without a fault after which the pauses begin anew."""


RESERVED: ContextVar[bool] = ContextVar("bothost_reserved", default=False)
"""Set where a serving host begins: its own tasks are reserved."""


def reserve(task: asyncio.Task[Result]) -> asyncio.Task[Result]:
    """Return a task of the host's own, which `asyncio.all_tasks()` does not show any more.

    Plugins and libraries that clean up cancel all that stands there, and would end the host, its loops and other bots' runs.
    """
    if RESERVED.get():
        _unregister_task(task)
    return task


def watch(task: asyncio.Task[Any]) -> None:
    """Log the fault of a background task of our own; it must not be silent."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _steps_log.error("a fault of bothost in %s", task.get_coro(), exc_info=error)


class BackgroundTasks:
    """The tasks of one owner: each is kept until it ends, its fault is logged, and `stop` ends all."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine as a background task."""
        _ = self.begin(work)

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Do as `spawn`, and return the task for one that watches or cancels it."""
        task = reserve(asyncio.get_running_loop().create_task(work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Cancel all tasks; do not wait for their end."""
        for task in list(self._tasks):
            task.cancel()

    async def wait(self, limit_s: float) -> None:
        """Wait until all tasks have ended, at most for so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit_s)

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        tasks = list(self._tasks)
        self.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        watch(task)


@dataclass(slots=True)
class _Faults:
    """Facts about a loop that has failed."""

    error: str
    failed_at: float
    in_a_row: int = 1
    resumed_at: float | None = None


class SupervisedLoops:
    """Keeps the loops of a process going. `keep` is used on the event loop, everything else in any thread.

    A loop is down from its fault until it has lasted for `STEADY_S` after it was started again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: dict[str, _Faults] = {}
        self.restarts: Counter[str] = Counter()
        """The number of times that each loop failed and was started again."""

    def down(self) -> Mapping[str, str]:
        """Return the loops that are down, each with its last fault."""
        now = self._clock.monotonic()
        return {
            name: faults.error
            for name, faults in list(self._faults.items())
            if faults.resumed_at is None or now - faults.resumed_at < STEADY_S
        }

    async def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run a loop until it returns or this task is cancelled; start it again, after a pause, whenever it fails.

        A CancelledError that nobody asked for is a fault too: some drivers let it out of a connection that broke.
        """
        while True:
            try:
                await work()
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                pause_s = self.failed(name, error)
            except Exception as error:  # noqa: BLE001 - around a background loop, which is started again
                pause_s = self.failed(name, error)
            else:
                return
            await asyncio.sleep(pause_s)
            self.resumed(name)

    def keep_here(self, name: str, work: Callable[[], object], stopping: threading.Event) -> None:
        """Do as `keep` in the thread that calls, until `work` returns or `stopping` is set."""
        while True:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - around a background thread, which goes on
                if self._clock.wait(stopping, self.failed(name, error)):
                    return
                self.resumed(name)
            else:
                return

    def failed(self, name: str, error: BaseException) -> float:
        """Log and count a fault of a loop, and return how many seconds it is to rest."""
        now = self._clock.monotonic()
        before = self._faults.get(name)
        in_a_row = 1
        if before is not None and before.resumed_at is not None and now - before.resumed_at < CALM_S:
            in_a_row = before.in_a_row + 1
        pause_s = PAUSES_S[min(in_a_row, len(PAUSES_S)) - 1]
        self._faults[name] = _Faults(f"{type(error).__name__}: {error}", now, in_a_row)
        self.restarts[name] += 1
        log.error("a fault of bothost in the loop %s, started again in %.0f s", name, pause_s, exc_info=error)
        return pause_s

    def resumed(self, name: str) -> None:
        """Take note that a loop that had failed goes on."""
        faults = self._faults.get(name)
        if faults is not None:
            faults.resumed_at = self._clock.monotonic()


class PeriodicJob:
    """Does one job every so many seconds until it is stopped; the first time after one interval.

    `loops`: where a fault of the job is counted under `name`.
    """

    def __init__(
        self, every_s: float, job: Callable[[], object], loops: SupervisedLoops | None = None, name: str = "job"
    ) -> None:
        self._every_s = every_s
        self._job = job
        self._loops = loops
        self._name = name
        self._handle = asyncio.get_running_loop().call_later(every_s, self._again)

    def stop(self) -> None:
        """End it; the job is not done again."""
        self._handle.cancel()

    def _again(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._every_s, self._again)
        try:
            self._job()
        except Exception as error:  # a background job: what fails once must not end it for ever
            if self._loops is None:
                log.exception("a fault of bothost in %s", self._job)
                return
            self._loops.failed(self._name, error)
            self._loops.resumed(self._name)


class Throttle(Generic[Key]):
    """Lets one line of a kind pass in a period and counts the others of that kind."""

    def __init__(self, clock: Clock, period_s: float = 60.0) -> None:
        self._clock = clock
        self._period_s = period_s
        self._kinds: dict[Key, tuple[float, int]] = {}

    def __contains__(self, kind: Key) -> bool:
        return kind in self._kinds

    def __len__(self) -> int:
        return len(self._kinds)

    def passes(self, kind: Key) -> int | None:
        """Return None if the line is to be held back, else how many of its kind were held back before it."""
        now = self._clock.monotonic()
        until, held = self._kinds.get(kind, (0.0, 0))
        if kind in self._kinds and now < until:
            self._kinds[kind] = (until, held + 1)
            return None
        self._kinds[kind] = (now + self._period_s, 0)
        return held

    def over(self, *, everything: bool = False) -> Iterator[tuple[Key, int]]:
        """Forget the kinds whose period is over (or `everything`), and return each with the lines that were held back."""
        now = self._clock.monotonic()
        for kind, (until, held) in list(self._kinds.items()):
            if everything or until <= now:
                del self._kinds[kind]
                yield kind, held
