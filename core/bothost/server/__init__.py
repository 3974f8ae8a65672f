"""A host in one process: from a reading of bots.ini to its exit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost import __version__, logs
from bothost.clock import SystemClock
from bothost.errors import ConfigError, Problem
from bothost.scrub import Scrubber
from bothost.server import ground, listening
from bothost.server.host import Plan
from bothost.server.making import make_host
from bothost.systemd import Notifier, take_sockets
from bothost.worker import Worker

if TYPE_CHECKING:
    from bothost.config import HostConfig, Reading
    from bothost.server.host import Host

log = logging.getLogger("bothost.server")


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a host that has started listens."""

    public: tuple[str, ...]
    operator: tuple[str, ...]


WhenServing = Callable[[Serving], Awaitable[None]]


def serve(reading: Reading, when_serving: WhenServing | None = None) -> int:
    """Run a host until it is told to stop, or until `when_serving` is done and has asked for it by SIGTERM.

    Does not return once it has served: it leaves by `os._exit`, for a plugin's threads would hold the process. Raises
    ConfigError for what stands in the way of a start.
    """
    if reading.host is None:
        raise ConfigError(reading.all_problems())
    clock = SystemClock()
    scrubber = Scrubber()
    plan = prepare(reading, reading.host)
    writer = logs.setup(reading.host.log, sys.stderr, scrubber, clock)
    code = 1
    try:
        asyncio.run(_serve(plan, when_serving, scrubber))
        code = 0
    except Exception:
        log.exception("the host has failed")
    writer.close()
    sys.stdout.flush()
    os._exit(code)


def prepare(reading: Reading, host: HostConfig) -> Plan:
    """What a process needs before it has a loop: limits, folder, sockets. Raises ConfigError."""
    files = ground.prepare_process()
    ground.state_folder(host.state)
    notifier = Notifier.take(os.environ)
    worker = Worker.take(os.environ)
    passed = worker.sockets if worker is not None else take_sockets(os.environ)
    if worker is not None:
        return Plan(reading, host, listening.Sockets(passed["public"], passed["operator"]), files, Notifier(), worker)
    try:
        sockets = listening.bind(host, passed)
    except OSError as error:
        raise ConfigError((Problem(str(error), str(host.path), section="host"),)) from error
    return Plan(reading, host, sockets, files, notifier)


async def _serve(plan: Plan, when_serving: WhenServing | None, scrubber: Scrubber) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    host = make_host(plan, SystemClock(), scrubber)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _told_to_stop, stop, hurry)
    loop.add_signal_handler(signal.SIGHUP, host.reload)
    starting = asyncio.ensure_future(_start(host, stop, when_serving))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    await stopping
    await host.stop(hurry)


async def _start(host: Host, stop: asyncio.Event, when_serving: WhenServing | None) -> None:
    plan = host.plan
    if os.geteuid() == 0:
        log.warning("runs as root: so do the plugins")
    await host.start(stop.set)
    serving = Serving(
        tuple(listening.shown(plan.sockets.public, secure=plan.host.certfile is not None)),
        tuple(listening.shown(plan.sockets.operator)),
    )
    log.info(
        "bothost %s serves %d bots on %s", __version__, len(host.service.registry.by_name), ", ".join(serving.public)
    )
    plan.notifier.say("READY=1", f"STATUS=serving {len(host.service.registry.by_name)} bots")
    if when_serving is not None:
        await when_serving(serving)


def _told_to_stop(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """The first signal drains, the second does not wait."""
    if stop.is_set():
        hurry.set()
    stop.set()
