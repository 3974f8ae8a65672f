"""`processes = N`: holds the sockets, starts the workers and starts them again; has no loop, no store and no thread.

Workers are started by exec with the listening sockets inherited: SO_REUSEPORT would drop what waits to be accepted by a
worker that ends, and a fork would share what must not be shared.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bothost.worker import LONGEST_FRAME, VARIABLE, Frames, Message, described, frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bothost.clock import Clock
    from bothost.systemd import Notifier

log = logging.getLogger("bothost.supervisor")

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SETTLED_S = 60.0
"""A worker that lived as long as this begins anew with the shortest pause."""


@dataclass(frozen=True, slots=True)
class Crew:
    """What the workers are: how many, by which command, on which sockets, and how long their drain may take."""

    count: int
    command: Sequence[str]
    sockets: dict[str, list[socket.socket]]
    drain_s: float
    patience_s: float = 20.0
    """Beyond `drain_s`, until a worker that does not end is killed."""


@dataclass(slots=True)
class Place:
    """One worker's place: the process in it, its line, and when the next one may start."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    line: socket.socket | None = None
    frames: Frames = field(default_factory=Frames)
    outgoing: bytearray = field(default_factory=bytearray)
    ready: bool = False
    began: float = 0.0
    heard: float = 0.0
    deaths: int = 0
    """Those in a row, for the pause."""
    restarts: int = 0
    due: float = 0.0


class Supervisor:
    """Runs the crew until it is told to stop, and all have ended."""

    def __init__(self, crew: Crew, clock: Clock, notifier: Notifier) -> None:
        self._crew = crew
        self._clock = clock
        self._notifier = notifier
        self._places = [Place(number) for number in range(crew.count)]
        self._selector = selectors.DefaultSelector()
        self._signals, self._wakeup = socket.socketpair()
        self._stopping = False
        self._kill_at = 0.0
        self._told_ready = False
        self._alive_at = 0.0

    def run(self) -> int:
        """The exit code: 0, or 1 where a worker had to be killed at the end."""
        for end in (self._signals, self._wakeup):
            end.setblocking(False)
        self._selector.register(self._signals, selectors.EVENT_READ, None)
        before = {number: signal.signal(number, lambda *_: None) for number in (*PASSED_ON, signal.SIGCHLD)}
        woken = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        try:
            return self._run()
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            self._signals.close()
            self._wakeup.close()

    def _run(self) -> int:
        killed = False
        while True:
            now = self._clock.monotonic()
            self._bury()
            if self._stopping and not any(place.process for place in self._places):
                return 1 if killed else 0
            if self._stopping and now >= self._kill_at:
                killed |= self._send(signal.SIGKILL)
            for place in self._places:
                if not self._stopping and place.process is None and now >= place.due:
                    self._start(place)
            self._report(now)
            for key, events in self._selector.select(self._pause_s(now)):
                if key.data is None:
                    self._take_signals()
                else:
                    self._attend(key.data, events)

    def _pause_s(self, now: float) -> float:
        dues = [place.due - now for place in self._places if place.process is None and not self._stopping]
        if self._stopping:
            dues.append(self._kill_at - now)
        if self._notifier.watchdog_s:
            dues.append(self._notifier.watchdog_s / 3)
        return max(0.01, min(dues, default=30.0))

    def _start(self, place: Place) -> None:
        ours, theirs = socket.socketpair()
        value, descriptors = described(place.number, self._crew.count, theirs, self._crew.sockets)
        try:
            place.process = subprocess.Popen(
                self._crew.command, pass_fds=descriptors, env={**os.environ, VARIABLE: value}, start_new_session=False
            )
        except OSError as error:
            log.error("worker %d cannot be started: %s", place.number, error)
            ours.close()
            self._fell(place)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        place.line, place.frames, place.outgoing, place.ready = ours, Frames(), bytearray(), False
        place.began = place.heard = self._clock.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, place)
        log.info("worker %d started, pid %d", place.number, place.process.pid)
        self._tell_restarts()

    def _bury(self) -> None:
        for place in self._places:
            if place.process is None or place.process.poll() is None:
                continue
            code = place.process.returncode
            self._hang_up(place)
            place.process, place.ready = None, False
            if not self._stopping:
                cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                self._fell(place)
                log.error(
                    "worker %d ended: %s; again in %.1f s", place.number, cause, place.due - self._clock.monotonic()
                )

    def _fell(self, place: Place) -> None:
        now = self._clock.monotonic()
        place.deaths = place.deaths + 1 if now - place.began < SETTLED_S else 1
        place.restarts += 1
        place.due = now + BACKOFF_S[min(place.deaths, len(BACKOFF_S)) - 1]

    def _hang_up(self, place: Place) -> None:
        if place.line is not None:
            self._selector.unregister(place.line)
            place.line.close()
            place.line = None

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._signals.recv(4096):
                if number == signal.SIGCHLD:
                    continue
                if number in (signal.SIGTERM, signal.SIGINT) and not self._stopping:
                    self._stopping = True
                    self._kill_at = self._clock.monotonic() + self._crew.drain_s + self._crew.patience_s
                    self._notifier.say("STOPPING=1")
                self._send(signal.Signals(number))

    def _send(self, number: signal.Signals) -> bool:
        """Pass a signal on to every worker; whether there was one."""
        sent = False
        for place in self._places:
            if place.process is not None and place.process.poll() is None:
                place.process.send_signal(number)
                sent = True
        return sent

    def _attend(self, place: Place, events: int) -> None:
        if events & selectors.EVENT_WRITE and place.line is not None:
            self._send_on(place)
        if events & selectors.EVENT_READ and place.line is not None:
            self._hear(place)

    def _hear(self, place: Place) -> None:
        assert place.line is not None
        try:
            data = place.line.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(place)
            return
        place.heard = self._clock.monotonic()
        for message in place.frames.feed(data):
            self._pass_on(place, message)

    def _pass_on(self, sender: Place, message: Message) -> None:
        """`ready` and `alive` are ours; what is addressed goes to that worker, what is not to all others."""
        message.sender = sender.number
        if message.kind == "ready":
            sender.ready = True
            self._tell_restarts()
        if message.kind in ("ready", "alive"):
            return
        others = [place for place in self._places if place is not sender and place.line is not None and place.ready]
        for place in others:
            if message.to in (-1, place.number):
                self._tell(place, message)
        if message.kind == "ask":
            # who is not there answers nothing, and nobody waits for it
            for number in {place.number for place in self._places} - {place.number for place in (sender, *others)}:
                self._tell(sender, Message("end", message.number, sender=number, to=sender.number))

    def _tell_restarts(self) -> None:
        """Worker 0 shows them."""
        first = self._places[0]
        if first.line is not None and first.ready:
            counts = {str(place.number): place.restarts for place in self._places}
            self._tell(first, Message("restarts", to=0, counts=counts))

    def _tell(self, place: Place, message: Message) -> None:
        """Never waits: what the socket does not take now is kept, up to a bound."""
        if len(place.outgoing) < LONGEST_FRAME:
            place.outgoing += frame(message)
            self._send_on(place)

    def _send_on(self, place: Place) -> None:
        assert place.line is not None
        try:
            del place.outgoing[: place.line.send(place.outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            place.outgoing.clear()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if place.outgoing else 0)
        self._selector.modify(place.line, events, place)

    def _report(self, now: float) -> None:
        """Readiness once all have it; a life sign while every worker gives its own."""
        if not self._told_ready and all(place.ready for place in self._places):
            self._told_ready = True
            self._notifier.say("READY=1", f"STATUS=serving with {self._crew.count} processes")
            log.info("all %d workers serve", self._crew.count)
        period = self._notifier.watchdog_s
        if period and now - self._alive_at >= period / 3:
            self._alive_at = now
            if all(not place.ready or now - place.heard < period for place in self._places):
                self._notifier.say("WATCHDOG=1")
