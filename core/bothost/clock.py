"""The one source of time; every module takes a `Clock` and asks no other.

Timers on the loop (`asyncio.sleep`, `asyncio.timeout`, `loop.call_later`) are part of the same time: the harness's loop
turns them together with its clock. What the loop cannot see, a thread or a disk, is waited for under `real_io()`, so that
a virtual clock stands still meanwhile.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future

P = ParamSpec("P")
T = TypeVar("T")


class Clock(Protocol):
    """Time as the host sees it; two implementations: `SystemClock`, and the harness's virtual one."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC: for what people read and for due times in the journal."""

    def epoch(self) -> float:
        """The same moment in seconds since 1970, as the journal has it: a tenth of the cost."""

    def monotonic(self) -> float:
        """Seconds that never go back: for durations within one process; equals `loop.time()` under the harness."""

    def boot(self) -> float:
        """Seconds since boot, sleep included (CLOCK_BOOTTIME): for leases shared by processes of one machine."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait in a thread until the event is set or the time is up; true if it is set."""

    def real_io(self) -> AbstractContextManager[object]:
        """Held while a thread or a disk is waited for: virtual time stands still inside. Entered and left in any thread."""

    def in_thread(self, work: Callable[P, T]) -> Callable[P, T]:
        """The work that is about to be given to a thread: virtual time stands still from this call until it has returned.

        What hands its result back (`call_soon_threadsafe`) belongs into the work itself, so that the loop has the result
        before time may go on. In it `time.sleep` is virtual too.
        """

    def result(self, future: Future[T]) -> T:
        """Wait in a thread for something that the loop will bring about: virtual time goes on meanwhile."""


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)

    # C functions, not methods that call them: a delivery asks more than ten times
    epoch = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def boot(self) -> float:
        """See `Clock.boot`; where the platform has no boot clock, the monotonic one."""
        clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock_id)

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
