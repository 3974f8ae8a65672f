"""Builds a host by hand: every part is made here, once, from narrow values."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from bothost.answers import say
from bothost.bots import Service
from bothost.building import Ground, build
from bothost.failures import Failures, hook_of
from bothost.metrics import Metrics
from bothost.pyrus_client import PyrusClient, TornadoTransport
from bothost.server.host import Host, registry_of
from bothost.server.loading import Loader, Shelf
from bothost.server.page import Page, Told
from bothost.sources import Sources
from bothost.spawn import Spawner
from bothost.store import Timing, open_store
from bothost.store.sqlite import SqliteStore
from bothost.watchdog import Watchdog

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.config import HostConfig, Reading
    from bothost.logs import Logs
    from bothost.scrub import Scrubber
    from bothost.server.host import Plan

log = logging.getLogger("bothost.child")


def make_host(plan: Plan, clock: Clock, scrubber: Scrubber, logs: Logs | None = None) -> Host:
    """A host that is not started yet; on the loop that will run it. `logs`: where this process logs, if not as usual."""
    hide_secrets(plan.reading, plan.host, scrubber)
    number = plan.worker.number if plan.worker is not None else 0
    metrics = Metrics(clock, str(number))
    timing = Timing()
    several = plan.host.processes > 1
    store = open_store(plan.host.journal, plan.host.state, clock, claims_first=several, timing=timing)
    if isinstance(store, SqliteStore):
        store.measure(metrics.commit)
    client = PyrusClient(clock, store, TornadoTransport(), metrics.call)
    ground = Ground(
        clock=clock,
        store=store,
        client=client,
        count=metrics,
        timing=timing,
        say=logs.take if logs is not None else say,
    )
    service = Service(registry_of(plan.reading))
    shelf = Shelf(
        folder=plan.host.state / "plugins",
        sources=Sources(plan.host.path.parent, os.environ),
        scrub=scrubber.scrub,
        spawner=Spawner(_hidden(plan.reading), _said),
    )
    failures = Failures(hook_of(plan.host.on_failure, clock))
    host = Host(plan, ground, build(ground, service.present, failures.tell), service, Loader(ground, shelf))
    host.failures = failures
    host.watchdog = Watchdog(clock, lambda one: metrics.blocked(one.bot, one.seconds), metrics.loop_lag)
    host.hide = lambda reading: hide_secrets(reading, reading.host or plan.host, scrubber)
    host.page = Page(host, Told(metrics, scrubber, (lambda: logs.dropped_in_all) if logs is not None else int))
    return host


def _hidden(reading: Reading) -> frozenset[str]:
    """Variables that no child gets: every one that bots.ini names."""
    return frozenset[str]().union(*(config.env_names for config in reading.bots.values()))


def _said(bot: str, line: str) -> None:
    """A child wrote a line to stdout or stderr."""
    log.info("%s", line, extra={"bot": bot})


def hide_secrets(reading: Reading, host: HostConfig, scrubber: Scrubber) -> None:
    """Whatever bots.ini holds of secrets stands in no log line from now on."""
    for config in (*reading.bots.values(), *reading.stubs.values()):
        for secret in config.secrets:
            scrubber.add(secret.decode("utf-8", "replace"))
    for token in (host.operator_token, host.operator_read_token):
        if token is not None:
            scrubber.add(token.reveal())
    if host.journal:
        scrubber.add(host.journal)
