"""Replace `time.sleep` under a virtual clock: it is virtual in threads that the clock counts, refused on the loop, else real.

The replacement asks at each call which clock is at work, because a module that was imported meanwhile keeps it for ever.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Self, SupportsIndex

from bothost.testing.virtual_time.loop import VirtualLoop
from bothost.testing.virtual_time.outstanding import whereabouts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

REAL_SLEEP = time.sleep
BLOCKING_S = 0.25
"""A longer `time.sleep` on the loop would hold up every bot of a host."""

_active: list[VirtualLoop] = []


class VirtualSleep:
    """Makes `time.sleep` virtual for one loop. `exchange` does the same for `from time import sleep`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._exchanged: list[tuple[ModuleType, str]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Put the replacement into force."""
        _active.append(self._loop)
        time.sleep = sleep

    def exchange(self, modules: Iterable[ModuleType]) -> None:
        """Replace the real function in modules that hold it under a name of their own."""
        for module in modules:
            for name, value in list(vars(module).items()):
                if value is REAL_SLEEP and module is not time:
                    setattr(module, name, sleep)
                    self._exchanged.append((module, name))

    def stop(self) -> None:
        """Put the real function back."""
        _active.remove(self._loop)
        for module, name in self._exchanged:
            setattr(module, name, REAL_SLEEP)
        self._exchanged.clear()
        if not _active:
            time.sleep = REAL_SLEEP


def sleep(seconds: SupportsIndex | float, /) -> None:
    """Sleep as `time.sleep` does, in virtual time while a virtual clock is at work."""
    seconds = seconds if isinstance(seconds, float) else float(seconds.__index__())
    on_loop = _running()
    if on_loop is not None and seconds > BLOCKING_S:
        where = whereabouts(sys._getframe(1))
        on_loop.failures.append(
            f"{where} blocks the event loop with time.sleep({seconds:g}): write `await asyncio.sleep`"
        )
        return
    thread = threading.get_ident()
    for loop in reversed(_active):
        if seconds > 0 and loop.outstanding.counted(thread):
            loop.sleep_in_thread(seconds)
            return
    REAL_SLEEP(seconds)


def _running() -> VirtualLoop | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if isinstance(loop, VirtualLoop) else None
