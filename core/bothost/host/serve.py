"""Run a host in one process, from a reading of bots.ini to its exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from bothost import __version__, config
from bothost.background import PeriodicJob, reserve
from bothost.clock import SystemClock
from bothost.errors import ConfigError
from bothost.host import listeners, process_setup
from bothost.host.assembly import make_host
from bothost.host.event_loop import is_of_closed_file, run_to_the_end
from bothost.host.journal_use import check_journal
from bothost.host.process import HostPlan
from bothost.host.stop_guard import FLUSH_S, StopGuard
from bothost.host.systemd import Notifier, take_sockets
from bothost.host.workers.protocol import Worker
from bothost.plugins.attribution import whose_line
from bothost.telemetry import logs, printing
from bothost.telemetry.redaction import Scrubber
from bothost.text import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bothost.bots.registry import Bot
    from bothost.bots.reload import ConfigSource
    from bothost.config import ConfigReading, HostConfig, LogLevel
    from bothost.host.process import Host

log = logging.getLogger("bothost.server")

KEEP_S = 1.0
"""The seconds between two looks whether a plugin has taken the host's signals or lowered its limits."""
FIRST_TRIES_S = 2.0
"""The seconds for which the log line that counts the bots in service waits for plugins that are still opening."""


@dataclass(frozen=True, slots=True)
class ServingAddresses:
    """The addresses at which a started host listens."""

    public: tuple[str, ...]
    operator: tuple[str, ...]


WhenServing = Callable[[ServingAddresses], Awaitable[int]]
"""Called when deliveries run. It returns the exit code of a stop after it."""


@dataclass(frozen=True, slots=True)
class IniFile:
    """bots.ini on disk, with the files that it names. `demo` accepts sample secrets; a `log_level` goes before the file's."""

    path: Path
    demo: bool = False
    log_level: LogLevel | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: ChainMap(os.environ, dict(os.environ)), repr=False)
    """The environment, and what stood there when the process began, because a plugin may empty it."""

    def read(self) -> ConfigReading:
        """See `reload.ConfigSource`."""
        return config.with_log_level(config.read(self.path, self.environment, demo=self.demo), self.log_level)

    def digest(self, reading: ConfigReading) -> str:
        """See `reload.ConfigSource`."""
        return config.digest(self.path, reading.files)


CLOSED_FILES = (
    ": its files are closed. A plugin does that which closes files by number, as os.closerange does; with run = process it "
    "ends its own process instead"
)


def serve(
    reading: ConfigReading, when_serving: WhenServing | None = None, *, source: ConfigSource | None = None
) -> int:
    """Run a host until it is told to stop.

    After it has served it does not return, but leaves by `os._exit`, because a plugin's threads would hold the process. Raises
    ConfigError if it cannot start.
    """
    if reading.host is None:
        raise ConfigError(reading.all_problems())
    clock = SystemClock()
    scrubber = Scrubber()
    plan = prepare(reading, reading.host, source or IniFile(reading.host.path))
    writer = logs.setup(reading.host.log, sys.stderr, scrubber, clock, reading.host.log_level, whose_line)
    logs.take_printed(writer)
    code = 1
    try:
        code = run_to_the_end(_serve(plan, when_serving, scrubber, writer))
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # the log says why before the process leaves
        log.exception("the host has failed%s", CLOSED_FILES if is_of_closed_file(error) else "")
    try:
        writer.end()
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
    finally:  # a plugin may have closed it
        os._exit(code)


def prepare(reading: ConfigReading, host: HostConfig, source: ConfigSource) -> HostPlan:
    """Prepare a process that has no loop yet: limits, folder, sockets. Raises ConfigError."""
    files = process_setup.prepare_process()
    process_setup.state_folder(host.state)
    notifier = Notifier.take(os.environ)
    worker = Worker.take(os.environ)
    passed = worker.sockets if worker is not None else take_sockets(os.environ)
    if worker is not None:
        process_setup.stop_with_parent()
        given = listeners.ListeningSockets(passed["public"], passed["operator"])
        return HostPlan(reading, host, given, files, Notifier(), source, worker)
    if isinstance(source, IniFile) and not source.demo:
        check_journal(host)
    sockets = listeners.bind_or_explain(host, passed)
    return HostPlan(reading, host, sockets, files, notifier, source)


async def _serve(plan: HostPlan, when_serving: WhenServing | None, scrubber: Scrubber, writer: logs.LogHandler) -> int:
    stop, hurry, changed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    clock = SystemClock()
    host = make_host(plan, clock, scrubber, writer)
    guard = StopGuard(clock, plan.host.drain_s, host.places, partial(_flush, host, writer))
    told = partial(_told_to_stop, stop, hurry)
    handlers: dict[int, Callable[[], None]] = {
        signal.SIGTERM: told,
        # a terminal sends it to the workers too; their supervisor passes it on as SIGTERM
        signal.SIGINT: told if plan.worker is None else lambda: None,
        signal.SIGHUP: lambda: changed.set() if host.phase == "starting" else host.reload(),
    }
    guard.listen(asyncio.get_running_loop(), handlers)
    keeping = [PeriodicJob(KEEP_S, guard.keep), PeriodicJob(KEEP_S, process_setup.ResourceLimits().keep)]
    loop = asyncio.get_running_loop()
    starting = reserve(loop.create_task(_start(host, stop, changed, when_serving)))
    stopping = reserve(loop.create_task(stop.wait()))
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    code = 0
    with contextlib.suppress(asyncio.CancelledError):
        code = await starting
    await stopping
    await host.stop(hurry)
    for job in keeping:
        job.stop()
    log.info("stopped")
    return code


async def _start(host: Host, stop: asyncio.Event, changed: asyncio.Event, when_serving: WhenServing | None) -> int:
    plan = host.plan
    if os.geteuid() == 0:
        log.warning("plugins run as root, because the host does: give it a user of its own")
    await host.start(partial(_orphaned, host, stop))
    if changed.is_set():
        host.reload()
    serving = ServingAddresses(
        tuple(listeners.shown(plan.sockets.public, secure=plan.host.certfile is not None)),
        tuple(listeners.shown(plan.sockets.operator, secure=config.page_by_tls(plan.host))),
    )
    plan.notifier.say("READY=1", f"STATUS=serving {counted(len(host.service.registry.by_name), 'bot')}")
    await asyncio.wait({host.tried}, timeout=FIRST_TRIES_S)
    log.info("bothost %s serves %s on %s", __version__, served(host.service), ", ".join(serving.public))
    if serving.operator:
        log.info("the operator's page is at %s", ", ".join(serving.operator))
    printing.OWN.set(True)  # in the context of this task alone
    return await when_serving(serving) if when_serving is not None else 0


def _flush(host: Host, writer: logs.LogHandler) -> None:
    """Write the waiting notes of the journal and lines of the log, each for a moment only, because a disk or a reader may hang."""
    flushing = threading.Thread(target=host.flush, daemon=True)
    flushing.start()
    writer.drain(FLUSH_S)
    flushing.join(FLUSH_S)


def _orphaned(host: Host, stop: asyncio.Event) -> None:
    """Free the ports at once, so that a new supervisor can have them while this worker drains."""
    log.warning("the supervisor has ended: this worker listens no more and drains")
    host.free_ports()
    stop.set()


def served(bots: Iterable[Bot]) -> str:
    """Return a text about the bots that are served and those that should be: "95 of 100 bots (not serving: a, b)"."""
    wanted = [bot for bot in bots if bot.state.word != "off"]
    lost = sorted(bot.name for bot in wanted if bot.state.broken)
    if not lost:
        return counted(len(wanted), "bot")
    return f"{len(wanted) - len(lost)} of {counted(len(wanted), 'bot')} (not serving: {listed(lost)})"


def _told_to_stop(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """Begin to drain at the first signal, and stop waiting at the second one."""
    if stop.is_set():
        hurry.set()
    stop.set()
