"""Hold the sockets of `processes = N`, start the workers, and restart those that end. It has no loop, journal or thread.

Workers are started by exec and inherit the listening sockets. SO_REUSEPORT would drop connections that wait to be accepted by a
worker that ends, and a fork would share memory and files that must not be shared.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from bothost.errors import ConfigError
from bothost.host.systemd import Notifier, take_sockets
from bothost.host.workers.protocol import LONGEST_FRAME, VARIABLE, Message, described, frames
from bothost.runners.process.framing import FrameReader, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bothost.clock import Clock
    from bothost.config import ConfigReading, HostConfig, LogLevel

log = logging.getLogger("bothost.supervisor")


def serve(reading: ConfigReading, log_level: LogLevel | None = None) -> int:
    """Serve the bots of a bots.ini with one process or several, and return the exit code. Raises ConfigError if it cannot start.

    Bots whose sections are wrong answer 503 and do not affect others. An error in [host] or in the whole file stops the start.
    A `log_level` goes before that of bots.ini, also after a reload.
    """
    if reading.host is None or reading.problems:
        raise ConfigError(reading.all_problems())
    if reading.host.processes > 1 and VARIABLE not in os.environ:
        return supervise(reading, reading.host, log_level)
    from bothost.host import serve as server

    return server.serve(reading, source=server.IniFile(reading.host.path, log_level=log_level))


def supervise(reading: ConfigReading, host: HostConfig, log_level: LogLevel | None = None) -> int:
    """Hold the sockets and run the workers of a host. Return the exit code."""
    from bothost.clock import SystemClock
    from bothost.host import journal_use, listeners, process_setup

    process_setup.prepare_process()
    process_setup.state_folder(host.state)
    journal_use.check_journal(host)
    listeners.tls(host)  # a wrong certificate would end every worker, so it ends the start
    speak(host.log, host.log_level)
    notifier = Notifier.take(os.environ)
    sockets = listeners.bind_or_explain(host, take_sockets(os.environ))
    for problem in (*reading.all_problems(), *reading.warnings):
        log.warning("%s", problem)
    crew = WorkerGroup(
        host.processes,
        [sys.executable, "-P", "-m", "bothost", "serve", "--config", str(host.path), *_level_option(log_level)],
        {"public": sockets.public, "operator": sockets.operator},
        host.drain_s,
    )
    try:
        return Supervisor(crew, SystemClock(), notifier).run()
    finally:
        sockets.close()


def _level_option(log_level: LogLevel | None) -> tuple[str, ...]:
    return () if log_level is None else ("--log-level", log_level)


def speak(mode: Literal["auto", "pretty", "json"], level: LogLevel) -> None:
    """Log to stderr without a thread, because this process writes only when a worker starts or ends."""
    handler = logging.StreamHandler(sys.stderr)
    if mode == "pretty" or (mode == "auto" and sys.stderr.isatty()):
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s -  %(message)s", "%H:%M:%S"))
    else:
        handler.setFormatter(SupervisorLogFormat())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())


class SupervisorLogFormat(logging.Formatter):
    """Writes lines as bothost.telemetry.logs does, in a process whose lines have no field but the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told = {"time": when, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        return json.dumps(told, ensure_ascii=False)


PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SETTLED_S = 60.0
"""The lifetime after which a worker's next restart begins with the shortest pause again."""


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """The plan of the workers: their number, command and sockets, and the time of their drain."""

    count: int
    command: Sequence[str]
    sockets: dict[str, list[socket.socket]]
    drain_s: float
    patience_s: float = 7.0
    """The seconds beyond `drain_s` until a worker that does not end is killed."""


@dataclass(slots=True)
class WorkerSlot:
    """One worker's place: its process, the connection to it, and the time when the next one may start."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    line: socket.socket | None = None
    frames: FrameReader[Message] = field(default_factory=frames)
    outgoing: bytearray = field(default_factory=bytearray)
    ready: bool = False
    began: float = 0.0
    heard: float = 0.0
    deaths: int = 0
    """The number of early deaths in a row; it sets the pause."""
    restarts: int = 0
    due: float = 0.0
    kept: dict[str, list[bytes]] = field(default_factory=dict)
    """The data that its process gave us to keep for the next one."""
    changed: bool = False
    """True if it must reload when it has started. Before that the signal would end it."""
    keeping: dict[str, list[bytes]] = field(default_factory=dict)
    """The same data while it is not complete yet."""


class Supervisor:
    """Runs the workers until it is told to stop and all have ended."""

    def __init__(self, crew: WorkerGroup, clock: Clock, notifier: Notifier) -> None:
        self._crew = crew
        self._clock = clock
        self._notifier = notifier
        self._places = [WorkerSlot(number) for number in range(crew.count)]
        self._selector = selectors.DefaultSelector()
        self._signals, self._wakeup = socket.socketpair()
        self._stopping = False
        self._kill_at = 0.0
        self._told_ready = False
        self._alive_at = 0.0

    def run(self) -> int:
        """Run the workers, and return the exit code: 0, or 1 if a worker had to be killed at the end."""
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
            if self._stopping and not any(slot.process for slot in self._places):
                return 1 if killed else 0
            if self._stopping and now >= self._kill_at:
                killed |= self._send(signal.SIGKILL)
            for slot in self._places:
                if not self._stopping and slot.process is None and now >= slot.due:
                    self._start(slot)
            self._report(now)
            for key, events in self._selector.select(self._pause_s(now)):
                if key.data is None:
                    self._take_signals()
                else:
                    self._attend(key.data, events)

    def _pause_s(self, now: float) -> float:
        dues = [slot.due - now for slot in self._places if slot.process is None and not self._stopping]
        if self._stopping:
            dues.append(self._kill_at - now)
        if self._notifier.watchdog_s:
            dues.append(self._notifier.watchdog_s / 3)
        return max(0.01, min(dues, default=30.0))

    def _start(self, slot: WorkerSlot) -> None:
        ours, theirs = socket.socketpair()
        value, descriptors = described(slot.number, self._crew.count, theirs, self._crew.sockets)
        try:
            slot.process = subprocess.Popen(
                self._crew.command, pass_fds=descriptors, env={**os.environ, VARIABLE: value}, start_new_session=False
            )
        except OSError as error:
            log.error("worker %d cannot be started: %s", slot.number, error)
            ours.close()
            self._fell(slot)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        slot.line, slot.frames, slot.outgoing, slot.ready = ours, frames(), bytearray(), False
        slot.keeping, slot.changed = {}, False
        slot.began = slot.heard = self._clock.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, slot)
        self._hand_down(slot)
        log.info("worker %d started, pid %d", slot.number, slot.process.pid)
        self._tell_restarts()

    def _bury(self) -> None:
        for slot in self._places:
            if slot.process is None or slot.process.poll() is None:
                continue
            code = slot.process.returncode
            self._hang_up(slot)
            slot.process, slot.ready = None, False
            self._pass_on(slot, Message("tell", what="fell", data=b"%d" % slot.number))
            if self._stopping:
                continue
            self._fell(slot, peaceful=code == 0)
            pause_s = slot.due - self._clock.monotonic()
            if code == 0:
                log.info("worker %d has stopped; started again in %.1f s", slot.number, pause_s)
            else:
                cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                log.error("worker %d ended: %s; started again in %.1f s", slot.number, cause, pause_s)

    def _fell(self, slot: WorkerSlot, *, peaceful: bool = False) -> None:
        now = self._clock.monotonic()
        slot.deaths = slot.deaths + 1 if now - slot.began < SETTLED_S and not peaceful else 1
        slot.restarts += 1
        slot.due = now + BACKOFF_S[min(slot.deaths, len(BACKOFF_S)) - 1]

    def _hang_up(self, slot: WorkerSlot) -> None:
        if slot.line is not None:
            self._selector.unregister(slot.line)
            slot.line.close()
            slot.line = None

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._signals.recv(4096):
                if number == signal.SIGCHLD:
                    continue
                if number in (signal.SIGTERM, signal.SIGINT) and not self._stopping:
                    self._stopping = True
                    self._kill_at = self._clock.monotonic() + self._crew.drain_s + self._crew.patience_s
                    self._notifier.say("STOPPING=1")
                    # a worker that is told so goes on listening while it drains, because no sibling does
                    for slot in self._places:
                        if slot.line is not None:
                            self._tell(slot, Message("stopping", to=slot.number))
                if number == signal.SIGHUP:
                    self._have_reloaded()
                else:
                    # workers ignore SIGINT, because a terminal sends it to them as well
                    self._send(signal.SIGTERM)

    def _have_reloaded(self) -> None:
        for slot in self._places:
            if slot.ready and slot.process is not None:
                slot.process.send_signal(signal.SIGHUP)
            else:
                slot.changed = True

    def _send(self, number: signal.Signals) -> bool:
        """Pass a signal on to every worker, and return whether there was one."""
        sent = False
        for slot in self._places:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(number)
                sent = True
        return sent

    def _attend(self, slot: WorkerSlot, events: int) -> None:
        if events & selectors.EVENT_WRITE and slot.line is not None:
            self._send_on(slot)
        if events & selectors.EVENT_READ and slot.line is not None:
            self._hear(slot)

    def _hear(self, slot: WorkerSlot) -> None:
        assert slot.line is not None
        try:
            data = slot.line.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(slot)
            return
        slot.heard = self._clock.monotonic()
        try:
            for message in slot.frames.feed(data):
                self._pass_on(slot, message)
        except ValueError as error:  # a plugin in the worker may have written into the connection's descriptor
            log.error("worker %d is no longer heard: %s", slot.number, error)
            self._hang_up(slot)

    def _pass_on(self, sender: WorkerSlot, message: Message) -> None:
        """Take a message for the supervisor, or pass it on to the worker that it names, else to all others."""
        message.sender = sender.number
        if message.kind in ("ready", "alive", "keep", "kept"):
            self._take(sender, message)
            return
        others = [slot for slot in self._places if slot is not sender and slot.line is not None and slot.ready]
        for slot in others:
            if message.to in (-1, slot.number):
                self._tell(slot, message)
        if message.kind == "ask":
            # a worker that is not there cannot answer, so its answer ends at once and nobody waits for it
            for number in {slot.number for slot in self._places} - {slot.number for slot in (sender, *others)}:
                self._tell(sender, Message("end", message.number, sender=number, to=sender.number))

    def _take(self, sender: WorkerSlot, message: Message) -> None:
        if message.kind == "ready":
            sender.ready = True
            if sender.changed and sender.process is not None:
                sender.process.send_signal(signal.SIGHUP)
            self._tell_restarts()
        elif message.kind == "keep":
            sender.keeping.setdefault(message.what, []).append(message.data)
        elif message.kind == "kept":
            sender.kept, sender.keeping = {**sender.kept, **sender.keeping}, {}

    def _hand_down(self, slot: WorkerSlot) -> None:
        """Give a process the data that the one before it had us keep."""
        for what, parts in slot.kept.items():
            for part in parts:
                self._tell(slot, Message("keep", what=what, data=part))
        self._tell(slot, Message("kept"))

    def _tell_restarts(self) -> None:
        """Tell worker 0 the numbers of restarts, because it shows them."""
        first = self._places[0]
        if first.line is not None and first.ready:
            counts = {str(slot.number): slot.restarts for slot in self._places}
            self._tell(first, Message("restarts", to=0, counts=counts))

    def _tell(self, slot: WorkerSlot, message: Message) -> None:
        """Send a message without waiting. Bytes that the socket does not take now are kept, up to a bound."""
        if len(slot.outgoing) < LONGEST_FRAME:
            slot.outgoing += pack(message)
            self._send_on(slot)

    def _send_on(self, slot: WorkerSlot) -> None:
        assert slot.line is not None
        try:
            del slot.outgoing[: slot.line.send(slot.outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            slot.outgoing.clear()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if slot.outgoing else 0)
        self._selector.modify(slot.line, events, slot)

    def _report(self, now: float) -> None:
        """Report readiness once all workers are ready, and a life sign while every worker gives its own."""
        if not self._told_ready and all(slot.ready for slot in self._places):
            self._told_ready = True
            self._notifier.say("READY=1", f"STATUS=serving with {self._crew.count} processes")
            log.info("all %d workers serve", self._crew.count)
        period = self._notifier.watchdog_s
        if period and now - self._alive_at >= period / 3:
            self._alive_at = now
            if all(not slot.ready or now - slot.heard < period for slot in self._places):
                self._notifier.say("WATCHDOG=1")
