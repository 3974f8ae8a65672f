"""Hold the state that the parts of a harness share: time, the host, Pyrus's end of the deliveries, the log book."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bothost.testing.virtual_time.never_awaited import noticing

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from bothost.testing.host import BareHost
    from bothost.testing.recording import LogBook
    from bothost.testing.sent_deliveries import SentDeliveries
    from bothost.testing.virtual_time.clock import VirtualClock

T = TypeVar("T")


@dataclass(slots=True)
class HarnessState:
    """One test's world. `host` is replaced if a test lets it crash."""

    time: VirtualClock
    side: SentDeliveries
    book: LogBook
    host: BareHost

    def turn(self, work: Coroutine[Any, Any, T], *, limit_s: float = 86_400.0) -> T:
        """Do some work on the loop, let everything under way at that instant end, and return the work's result."""
        return turn(self.time, work, limit_s=limit_s)


def turn(time: VirtualClock, work: Coroutine[Any, Any, T], *, limit_s: float = 86_400.0) -> T:
    """Do the same as `HarnessState.turn`, before there is a state."""
    time.loop.refuse_nesting(work)
    with turning():
        return time.run(work, limit_s=limit_s)


@contextmanager
def turning() -> Iterator[None]:
    """Fail the test if a coroutine made within the block was never awaited."""
    found: list[str] = []
    with noticing(found):
        yield
    assert not found, "\n".join(found)
