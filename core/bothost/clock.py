"""Give time to the host. Every module takes a `Clock` and asks nothing else for the time.

Timers on the loop (`asyncio.sleep`, `asyncio.timeout`, `loop.call_later`) belong to the same time, because the harness's
loop moves them together with its clock. The loop cannot see a thread or a disk. Wait for those under `real_io()`, so that
a virtual clock stands still meanwhile.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future

P = ParamSpec("P")
T = TypeVar("T")


class Clock(Protocol):
    """Time as the host sees it. There are two: `SystemClock`, and the virtual one of the harness."""

    def now(self) -> datetime:
        """Return the wall clock as an aware UTC datetime, for people and for times of day; entries are planned by `Journal.now`."""

    def epoch(self) -> float:
        """Return the same moment in seconds since 1970, as the journal stores it. It costs a tenth of `now`."""

    def monotonic(self) -> float:
        """Return seconds that never go back, for durations within one process. Under the harness this is `loop.time()`."""

    def boot(self) -> float:
        """Return seconds since boot, sleep included (CLOCK_BOOTTIME), for leases that processes of one machine share."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait in a thread until the event is set or the time is up. Return whether it is set."""

    def real_io(self) -> AbstractContextManager[object]:
        """Stop virtual time while a thread or a disk is waited for. May be entered and left in any thread."""

    def in_thread(self, work: Callable[P, T]) -> Callable[P, T]:
        """Wrap work that goes to a thread. Virtual time stands still from this call until the work has returned.

        The work itself must hand its result back (`call_soon_threadsafe`), so that the loop has the result before time
        goes on. Inside the work `time.sleep` is virtual too.
        """

    def result(self, future: Future[T]) -> T:
        """Wait in a thread for something that the loop does. Virtual time goes on meanwhile."""


class SystemClock:
    """Real time."""

    # C functions instead of methods, because each delivery asks more than ten times
    now = staticmethod(partial(datetime.now, UTC))
    epoch = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    # if the platform has no boot clock, the monotonic one is used
    boot = staticmethod(partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)))

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        return event.wait(seconds)

    def real_io(self) -> AbstractContextManager[object]:
        """See `Clock.real_io`; real time needs no mark."""
        return nullcontext()

    def in_thread(self, work: Callable[P, T]) -> Callable[P, T]:
        """See `Clock.in_thread`; real time needs no mark."""
        return work

    def result(self, future: Future[T]) -> T:
        """See `Clock.result`."""
        return future.result()
