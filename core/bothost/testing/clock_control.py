"""Let a test move the virtual clock by `bothost.clock`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from bothost.plugins.explained import explained_methods
from bothost.testing.harness_state import turning

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bothost.testing.virtual_time.clock import VirtualClock


class CallableTime(datetime):
    """A datetime that may be called: `clock.now` and `clock.now()` are the same, as the host's own clocks have it."""

    def __call__(self) -> Self:
        return self


@explained_methods
class ClockControl:
    """Moves the clock and tells the time. Starts on Monday 2026-01-05 at 09:00 UTC."""

    def __init__(self, clock: VirtualClock, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._clock = clock
        self._look = look

    @property
    def now(self) -> CallableTime:
        """Return the wall clock, aware, UTC."""
        now = self._clock.now()
        return CallableTime.fromtimestamp(now.timestamp(), now.tzinfo)

    def advance(self, by: str | float | timedelta) -> None:
        """Move on by `"61s"`, `"1h 30m"`, seconds or a timedelta.

        Everything that falls due on the way runs at its time. Then the work under way at that instant ends."""
        with turning():
            self._clock.advance(by)

    def set(self, moment: str | datetime) -> None:
        """Set the wall clock to a moment, `"2026-03-01T08:00+03:00"` or an aware datetime.

        As with a real clock nothing on the way runs. A tick that is due then is looked for at once, and everything else that
        was planned keeps its distance from now."""
        with turning():
            self._clock.set(moment)
            self._clock.run(self._look())
