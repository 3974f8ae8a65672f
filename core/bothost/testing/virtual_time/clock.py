"""Define the virtual clock, a `bothost.clock.Clock` over a virtual loop."""

from __future__ import annotations

import functools
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bothost.config.units import seconds
from bothost.testing import checks
from bothost.testing.virtual_time.loop import START, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future

P = ParamSpec("P")
T = TypeVar("T")

BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""A Monday morning."""


class VirtualClock:
    """A time that moves only when and as far as it is told. `loop` is the loop whose timers it runs."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self._begin = BEGIN

    def now(self) -> datetime:
        """See `Clock.now`. It starts at 2026-01-05 09:00 UTC."""
        return self._begin + timedelta(seconds=round(self.loop.now - START, 6))

    def epoch(self) -> float:
        """See `Clock.epoch`."""
        return self.now().timestamp()

    def monotonic(self) -> float:
        """See `Clock.monotonic`. It is the loop's time."""
        return self.loop.now

    def boot(self) -> float:
        """See `Clock.boot`."""
        return self.loop.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """See `Clock.wait`. The wait is virtual, and the thread's work after it holds the clock until its next wait."""
        return self.loop.wait_for_event(event, seconds)

    @contextmanager
    def real_io(self) -> Iterator[None]:
        """See `Clock.real_io`."""
        caller = sys._getframe(2)
        place = f"{caller.f_code.co_qualname} at {caller.f_code.co_filename}:{caller.f_lineno}"
        hold = self.loop.outstanding.begin(None if self.loop.runs_here() else threading.get_ident(), place)
        try:
            yield
        finally:
            self.loop.outstanding.end(hold)

    def in_thread(self, work: Callable[P, T]) -> Callable[P, T]:
        """See `Clock.in_thread`."""
        hold = self.loop.outstanding.begin(None, getattr(work, "__qualname__", repr(work)))

        @functools.wraps(work)
        def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            self.loop.outstanding.adopt(hold)
            try:
                return work(*args, **kwargs)
            finally:
                self.loop.outstanding.end(hold)

        return counted

    def result(self, future: Future[T]) -> T:
        """See `Clock.result`."""
        return self.loop.wait_in_thread(future)

    def run(self, work: Coroutine[Any, Any, T], *, limit_s: float = 86_400.0) -> T:
        """See `VirtualLoop.run`."""
        return self.loop.run(work, limit_s=limit_s)

    def advance(self, by: str | float | timedelta) -> None:
        """Move the clock by seconds or `"61s"`, `"15m"`, `"2h"`, `"1d"`, running all that is due on the way.

        Raises ValueError for what is not a duration, or none that ends.
        """
        self.loop.advance(_seconds(by))

    def set(self, moment: str | datetime) -> None:
        """Set the wall clock to this moment (with a zone). Timers keep their distance, and nothing on the way runs."""
        try:
            there = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        except ValueError:
            raise ValueError(f"{moment!r:.80} is no moment: write one such as 2026-03-01T08:00+03:00") from None
        if not isinstance(there, datetime):
            checks.wrong("a moment", moment, 'a text such as "2026-03-01T08:00+03:00" or an aware datetime')
        if there.tzinfo is None:
            raise ValueError(f"{moment} has no zone: write 2026-03-01T08:00+03:00 or ...Z")
        self.loop.refuse_nesting()
        self._begin += there - self.now()
        self.loop.settle()


def _seconds(by: str | float | timedelta) -> float:
    if isinstance(by, timedelta):
        return by.total_seconds()
    if isinstance(by, bool) or not isinstance(by, str | int | float):
        checks.wrong("a step of the clock", by, 'a duration such as "61s", seconds or a timedelta')
    return seconds(by) if isinstance(by, str) else float(by)
