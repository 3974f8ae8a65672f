"""Build a host: every part is made here, once, from narrow values."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bothost import __version__
from bothost.bots.loader import Loader, LoaderContext
from bothost.bots.registry import Service
from bothost.config.secrets import SecretSources, Unresolved
from bothost.host.operator_page import OperatorPage, PageInputs
from bothost.host.process import Host, HostParts, registry_of
from bothost.host.workers.siblings import Siblings
from bothost.journal import open_journal
from bothost.journal.entry import JournalTiming
from bothost.journal.sqlite.journal import SqliteJournal
from bothost.operator.failure_hook import FailureNotifier, hook_of
from bothost.pipeline.assembly import ProcessResources, build, data_of_bot, pyrus_of_bot
from bothost.pyrus_client.client import CallObserver, PyrusClient
from bothost.pyrus_client.http_transport import HttpTransport
from bothost.pyrus_client.network import Network
from bothost.runners.process.log_forwarding import relay
from bothost.runners.process.spawner import Spawner
from bothost.runners.watchdog import Watchdog
from bothost.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.config import ConfigReading, HostConfig
    from bothost.host.process import HostPlan
    from bothost.telemetry.logs import LogHandler
    from bothost.telemetry.redaction import Scrubber


def make_host(plan: HostPlan, clock: Clock, scrubber: Scrubber, writer: LogHandler | None = None) -> Host:
    """Make a host that is not started yet, on the loop that will run it. `writer` takes its log lines."""
    hide_secrets(plan.reading, plan.host, scrubber)
    metrics = Metrics(clock, str(plan.worker.number if plan.worker is not None else 0))
    resources = _resources(plan, clock, metrics, scrubber, writer)
    service = Service(registry_of(plan.reading))
    loader_context = LoaderContext(
        folder=plan.host.state / "plugins",
        sources=SecretSources(plan.host.path.parent, os.environ),
        scrub=scrubber.scrub,
        spawner=Spawner(_hidden(plan.reading), relay),
        loaded=writer.tell_of_change if writer else lambda _bot: None,
        count_death=metrics.child_restart,
        hide=scrubber.add,
        log_level=lambda: writer.level if writer else logging.INFO,
    )
    data_for = partial(data_of_bot, resources)
    loader = partial(Loader, clock, partial(pyrus_of_bot, resources.client), data_for, loader_context)
    failures = FailureNotifier(hook_of(plan.host.on_failure, clock, loader_context.spawner.environment))
    told = PageInputs(
        metrics, scrubber, lambda: writer.dropped_in_all if writer else 0, loader_context.spawner.environment
    )
    parts = HostParts(
        loader=loader,
        spawner=loader_context.spawner,
        failures=failures,
        watchdog=Watchdog(clock, lambda one: metrics.blocked(one.bot, one.seconds), metrics.loop_lag, resources.loops),
        siblings=Siblings(plan.worker) if plan.worker is not None else None,
        page=lambda host: OperatorPage(host, told),
        renew=partial(_renew, plan.host, scrubber, loader_context.spawner, writer),
    )
    return Host(plan, resources, build(resources, service, failures.tell), service, parts)


def _resources(
    plan: HostPlan, clock: Clock, metrics: Metrics, scrubber: Scrubber, writer: LogHandler | None
) -> ProcessResources:
    """Make the journal, the Pyrus client and the other things that the parts of the process share."""
    timing = JournalTiming()
    several = plan.host.processes > 1
    journal = open_journal(plan.host.journal, plan.host.state, clock, claims_first=several, timing=timing)
    if isinstance(journal, SqliteJournal):
        journal.measure(metrics.commit)
    observer = CallObserver(metrics.call, metrics.limit, scrubber.remember)
    return ProcessResources(
        clock=clock,
        journal=journal,
        client=PyrusClient(clock, journal, HttpTransport(network_of(plan.host)), observer, f"bothost/{__version__}"),
        count=metrics,
        timing=timing,
        loops=journal.loops,
        tell=writer.take if writer else None,
        hide=scrubber.remember,
        discloses=scrubber.knows,
    )


def _hidden(reading: ConfigReading) -> frozenset[str]:
    """Return the variables that bots.ini names, because no child gets them."""
    return frozenset[str]().union(*(config.env_names for config in reading.bots.values()))


def _renew(
    before: HostConfig, scrubber: Scrubber, spawner: Spawner, writer: LogHandler | None, reading: ConfigReading
) -> None:
    host = reading.host or before
    hide_secrets(reading, host, scrubber)
    spawner.hide(_hidden(reading))
    if writer is not None:
        writer.show_from(host.log_level)


def network_of(host: HostConfig) -> Network:
    """Return the proxies and certificates that [host] and the environment name."""
    return Network.of(host.proxy, host.no_proxy, host.ca_file)


def hide_secrets(reading: ConfigReading, host: HostConfig, scrubber: Scrubber) -> None:
    """Keep every secret of bots.ini out of log lines from now on, those behind env: and file: of plugins' settings too."""
    sources = SecretSources(host.path.parent, os.environ)
    configs = (*reading.bots.values(), *reading.stubs.values())
    hidden = [secret for config in configs for secret in config.secrets]
    hidden += [key for account in reading.accounts.values() for key in account.keys]
    texts = [secret.decode("utf-8", "replace") for secret in hidden]
    texts += [
        text for config in configs for setting in config.settings.values() for text in _resolved(setting, sources)
    ]
    texts += [token.reveal() for token in (host.operator_token, host.operator_read_token) if token is not None]
    for url in (host.proxy, host.journal):
        texts += _hidden_of_url(url)
    for text in texts:
        scrubber.add(text)


def _hidden_of_url(url: str) -> list[str]:
    """Return an address and its password, as it is written and as it is sent."""
    password = urlsplit(url).password
    return [url, password, unquote(password)] if password else [url] if url else []


def _resolved(setting: str, sources: SecretSources) -> list[str]:
    """Return the value behind env: or file:, and each of its lines, because a key of several lines may be quoted in part."""
    if not setting.startswith(("env:", "file:")):
        return []
    try:
        whole = sources.resolve(setting).decode("utf-8", "replace")
    except Unresolved:  # the bot's own error reports it
        return []
    return [whole, *whole.splitlines()]
