"""Receive the signals of the process in a thread, and end the process when a plugin holds up its stop.

A handler that never ends blocks the loop, and with it all signal handlers of asyncio. Python's own handler still writes the
number of each signal into a descriptor, which a thread reads here. C code that never releases the interpreter's lock ends only
with SIGKILL, or by faulthandler's thread if the signal came before.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from bothost.runners import signals

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from bothost.clock import Clock

log = logging.getLogger("bothost.server")

STOPS = (signal.SIGTERM, signal.SIGINT)
BEYOND_S = 1.2
"""The seconds after the end of `drain` when a process whose loop does not answer is ended."""
LONGEST_BEYOND_S = 6.0
"""The same for a process whose loop still answers. Its own limits should have ended the stop before."""
HURRIED_S = 2.0
"""The seconds that the stop may take after the second signal while the loop answers."""
ANSWER_S = 0.4
FLUSH_S = 1.0


class StopGuard:
    """Hands signals to the loop, and ends the process if the loop does not stop it in time."""

    def __init__(
        self, clock: Clock, drain_s: float, places: Callable[[], Sequence[str]], flush: Callable[[], None]
    ) -> None:
        """`places` returns the plugins that may block, `flush` writes waiting notes and log lines. Any thread may call them."""
        self._clock = clock
        self._drain_s = drain_s
        self._places = places
        self._flush = flush
        self._ours, self._written = socket.socketpair()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stops = 0
        self._end_at = self._last_at = float("inf")
        self._answered = threading.Event()
        self._told_taken = False

    def listen(self, loop: asyncio.AbstractEventLoop, handlers: Mapping[int, Callable[[], None]]) -> None:
        """Call these handlers on the loop from now on. The main thread calls this while the loop runs."""
        self._loop = loop
        self._handlers = dict(handlers)
        self._written.setblocking(False)
        self._arm()
        threading.Thread(target=self._listen, name="bothost-signals", daemon=True).start()

    def keep(self) -> None:
        """Take the signals again if a plugin has taken them. The main thread calls this now and then."""
        written = self._written.fileno()
        heard = signal.set_wakeup_fd(written, warn_on_full_buffer=False) == written
        if heard and all(signal.getsignal(number) is signals.nothing for number in self._handlers):
            return
        self._arm()
        if not self._told_taken:
            self._told_taken = True
            log.warning("a plugin set signal handlers of its own; the host has taken its signals back")

    def _arm(self) -> None:
        for number in self._handlers:
            signals.take(number)
        signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)

    def _listen(self) -> None:
        while True:
            left_s = self._end_at - self._clock.monotonic()
            self._ours.settimeout(max(left_s, 0.001) if left_s < 1e6 else None)
            try:
                numbers = self._ours.recv(256)
            except TimeoutError:
                self._overdue()
                continue
            for number in numbers:
                if number in STOPS:
                    self._told_to_stop()
                if number in self._handlers:
                    self._on_loop(self._handlers[number])

    def _on_loop(self, call: Callable[[], None]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the process is about to leave
            self._loop.call_soon_threadsafe(call)

    def _told_to_stop(self) -> None:
        self._stops += 1
        now = self._clock.monotonic()
        if self._stops == 1:
            self._end_at, self._last_at = now + self._drain_s + BEYOND_S, now + self._drain_s + LONGEST_BEYOND_S
            _last_resort(self._drain_s + LONGEST_BEYOND_S + FLUSH_S)
        else:
            # the loop is asked before the handler of this signal runs, because the handler may make the loop slow
            self._end_at = now if not self._loop_answers() else min(self._end_at, now + HURRIED_S)
            self._last_at = min(self._last_at, now + HURRIED_S)
            _last_resort(HURRIED_S + FLUSH_S)

    def _loop_answers(self) -> bool:
        self._answered.clear()
        self._on_loop(self._answered.set)
        return self._clock.wait(self._answered, ANSWER_S)

    def _overdue(self) -> None:
        """End the process, unless the loop goes on with its stop and has time left for that."""
        now = self._clock.monotonic()
        if now < self._last_at and self._loop_answers():
            self._end_at = min(now + ANSWER_S, self._last_at)
            return
        places = list(self._places())
        for place in places or ["the host's own stop did not end"]:
            log.error("the stop is over time and the process ends now: %s", place)
        self._flush()
        os._exit(1)


def _last_resort(seconds: float) -> None:
    """Let a thread of C end the process, in case no thread of Python gets the interpreter's lock again."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # without a stderr there is no place for the dump
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)
