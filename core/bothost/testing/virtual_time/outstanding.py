"""Count the real work under way (threads, disks), so that a virtual clock knows when it has to stand still."""

from __future__ import annotations

import asyncio
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bothost.plugins.attribution import stack_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import FrameType

LIBRARIES = tuple({f"{path}/" for path in sysconfig.get_paths().values() if path} | {f"{Path(__file__).parents[2]}/"})


class RealWork:
    """One piece of real work. `thread` is the thread that does it, or None if a coroutine waits for it."""

    __slots__ = ("place", "since", "thread")

    def __init__(self, thread: int | None, place: str) -> None:
        self.thread = thread
        self.place = place
        self.since = time.monotonic()


class OutstandingWork:
    """Counts holds, from any thread. When the last hold ends, `changed` is called in the thread that ended it."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._holds: dict[RealWork, None] = {}
        self._changed = changed

    def __bool__(self) -> bool:
        return bool(self._holds)

    def begin(self, thread: int | None, place: str) -> RealWork:
        """Count one more piece of work until `end`, and return its hold."""
        hold = RealWork(thread, place)
        with self._lock:
            self._holds[hold] = None
        return hold

    def adopt(self, hold: RealWork) -> None:
        """Note that the present thread does the work of this hold from now on."""
        hold.thread = threading.get_ident()
        hold.since = time.monotonic()

    def end(self, hold: RealWork) -> None:
        """Count one piece less. The work must have handed its result to the loop before."""
        with self._lock:
            self._holds.pop(hold, None)
            last = not self._holds
        if last:
            self._changed()

    def lend(self, future: Future[Any]) -> None:
        """Take the present thread's holds off the count until the future is done, because it is about to wait for the loop.

        The future's own callback puts them back, before the loop can look at the count again.
        """
        thread = threading.get_ident()
        mine: list[RealWork] = []
        over = False

        def back(_: object) -> None:
            nonlocal over
            with self._lock:
                over = True
                for hold in mine:
                    hold.since = time.monotonic()
                    self._holds[hold] = None

        future.add_done_callback(back)
        with self._lock:
            if not over:
                mine += [hold for hold in self._holds if hold.thread == thread]
                for hold in mine:
                    del self._holds[hold]
            last = bool(mine) and not self._holds
        if last:
            self._changed()

    def counted(self, thread: int) -> bool:
        """Return whether this thread does work that is counted."""
        with self._lock:
            return any(hold.thread == thread for hold in self._holds)

    def forget_dead_threads(self) -> None:
        """Drop the holds of threads that have ended without `end`."""
        with self._lock:
            held = [hold for hold in self._holds if hold.thread is not None]
        # asked after the holds, because a thread that takes one up meanwhile would not be among the living yet
        living = {thread.ident for thread in threading.enumerate()}
        with self._lock:
            for hold in held:
                if hold.thread not in living:
                    self._holds.pop(hold, None)

    def forget_all(self) -> None:
        """Drop all holds at the end, because nobody waits for them any more."""
        with self._lock:
            self._holds.clear()

    def oldest(self) -> RealWork | None:
        """Return the hold that has lasted longest, in real time."""
        with self._lock:
            return min(self._holds, key=lambda hold: hold.since, default=None)


def whereabouts(frame: FrameType | None, fallback: str = "") -> str:
    """Return the place of a thread in the plugin's code: its outermost function and its innermost line.

    Only the work that the loop or the thread was given counts. Frames of bothost, the standard library and installed packages
    are passed over, unless there are no others.
    """
    own: list[FrameType] = []
    innermost = frame
    while frame is not None and frame.f_code is not asyncio.Handle._run.__code__:
        if not is_library(frame.f_code.co_filename):
            own.append(frame)
        frame = frame.f_back
    if own:
        handler, place = own[-1], own[0]
        return f"{handler.f_code.co_qualname} at {place.f_code.co_filename}:{place.f_lineno}"
    if fallback or innermost is None:
        return fallback
    return f"{innermost.f_code.co_qualname} at {innermost.f_code.co_filename}:{innermost.f_lineno}"


def is_library(filename: str) -> bool:
    """Return whether code of this file is bothost's, the standard library's or an installed package's."""
    return filename.startswith(("<frozen", *LIBRARIES))


def thread_whereabouts(hold: RealWork) -> str:
    """Return the place of a hold's work now."""
    stack = stack_of(hold.thread) if hold.thread is not None else []
    return whereabouts(stack[0] if stack else None, hold.place)
