"""Builds a host by hand: every part is made here, once, from narrow values."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bothost.bots import Service
from bothost.building import Ground, build
from bothost.metrics import Metrics
from bothost.pyrus_client import PyrusClient, TornadoTransport
from bothost.server.host import Host, registry_of
from bothost.server.loading import Loader, Shelf
from bothost.sources import Sources
from bothost.store import Timing, open_store

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.config import HostConfig, Reading
    from bothost.scrub import Scrubber
    from bothost.server.host import Plan


def make_host(plan: Plan, clock: Clock, scrubber: Scrubber) -> Host:
    """A host that is not started yet; on the loop that will run it."""
    hide_secrets(plan.reading, plan.host, scrubber)
    number = plan.worker.number if plan.worker is not None else 0
    metrics = Metrics(clock, str(number))
    timing = Timing()
    several = plan.host.processes > 1
    store = open_store(plan.host.journal, plan.host.state, clock, claims_first=several, timing=timing)
    client = PyrusClient(clock, store, TornadoTransport(), metrics.call)
    ground = Ground(clock=clock, store=store, client=client, count=metrics, timing=timing)
    service = Service(registry_of(plan.reading))
    shelf = Shelf(plan.host.state / "plugins", Sources(plan.host.path.parent, os.environ), scrubber.scrub)
    return Host(plan, ground, build(ground, service.present), service, Loader(ground, shelf).load)


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
