"""Run a whole host without listeners: real pipeline, real journal in a folder, any clock, any transport to Pyrus.

`Harness` runs one in virtual time, and `served` runs one on a real loop behind real sockets.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from bothost.background import watch
from bothost.bots.queue import BotQueue
from bothost.bots.registry import Bot, BotState, Registry, Service
from bothost.config import read
from bothost.config.secrets import SecretSources
from bothost.errors import ConfigError
from bothost.journal.entry import JournalTiming
from bothost.journal.sqlite.journal import SqliteJournal
from bothost.pipeline.assembly import ProcessResources, build, data_of_bot, pyrus_of_bot, write_behind
from bothost.plugins.discovery import DiscoveredPlugin, find
from bothost.plugins.loading import PluginResources, load
from bothost.plugins.store import Store
from bothost.pyrus_client.client import PyrusClient
from bothost.runners.local import LocalRunner
from bothost.telemetry.redaction import Scrubber
from bothost.testing.ini_values import has_text, section
from bothost.testing.recording import WatchedRunner
from bothost.text import nearest
from bothost.webhook.request import WebhookContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import ModuleType

    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.journal.entry import Entry
    from bothost.pyrus_client.transport import Transport

log = logging.getLogger("bothost.testing")

TIMING = JournalTiming(lease_s=3600.0, beat_s=600.0, sweep_s=30.0, due_s=30.0, linger_s=0.0)
"""Rounds and beats are rare, because a look is planned for each due entry, and no other process could take a lease."""


@dataclass(frozen=True, slots=True)
class HarnessSection:
    """A bot's section, as a test gives it: keys of bots.ini, and the plugin's settings."""

    name: str
    login: str
    ini: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def secret(self) -> str:
        """Return the bot's Security Key."""
        return f"a-secret-for-tests-of-{self.name}"

    def text(self, plugin: str) -> str:
        """Return the section as it would stand in bots.ini."""
        fixed = {"plugin": plugin, "secret": self.secret, "login": self.login}
        accounts = (
            section(f"account:{name}", {"login": login, "key": self.secret}) for name, login in self.accounts.items()
        )
        return section(f"bot:{self.name}", {**fixed, **self.ini, **self.settings}) + "".join(accounts)

    @property
    def accounts(self) -> dict[str, str]:
        """Return the logins of the accounts that its key `accounts` names; they have the bot's key."""
        named = str(self.ini.get("accounts", "")).replace(",", " ").split()
        return {name: f"bot@{name}" for name in named}


class NoMetrics:
    """Takes the place of the metrics, because no test asks for them."""

    def delivery(self, bot: str, word: str, status: int, seconds: float) -> None:
        """See `responses.PipelineMetrics`."""

    def run(self, bot: str, seconds: float, failed: bool) -> None:
        """See `responses.PipelineMetrics`."""

    def tick(self, bot: str, result: str) -> None:
        """See `responses.PipelineMetrics`."""

    def job(self, bot: str, result: str) -> None:
        """See `responses.PipelineMetrics`."""

    def missed(self, bot: str) -> None:
        """See `responses.PipelineMetrics`."""

    def hook(self, bot: str, hook: str, outcome: str) -> None:
        """See `responses.PipelineMetrics`."""

    def queue_wait(self, bot: str, seconds: float) -> None:
        """See `responses.PipelineMetrics`."""

    def post(self, bot: str, result: str) -> None:
        """See `responses.PipelineMetrics`."""


class PunctualStore(SqliteJournal):
    """The embedded journal. It calls `plan_look` with the `due` of each entry written, so that a look comes on time."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        plan_look: Callable[[float], None],
        *,
        claims_first: bool,
        timing: JournalTiming = TIMING,
    ) -> None:
        super().__init__(folder, clock, claims_first=claims_first, timing=timing)
        self._plan_look = plan_look

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        """See `Journal.note`."""
        super().note(entry, body)
        self._expect(entry)

    async def save(self, entry: Entry, body: bytes | None = None) -> bool:
        """See `Journal.save`."""
        saved = await super().save(entry, body)
        self._expect(entry)
        return saved

    async def put(self, entry: Entry, body: bytes, *, slot: tuple[str, str] | None = None) -> Entry:
        """See `Journal.put`."""
        kept = await super().put(entry, body, slot=slot)
        self._expect(kept)
        return kept

    def _expect(self, entry: Entry) -> None:
        if entry.state == "ready" or (entry.state == "answered" and not entry.delivered):
            self._plan_look(entry.due)


class BareHost:
    """One process of bothost. It is made, used and stopped on its loop."""

    def __init__(self, clock: Clock, folder: Path, transport: Transport, *, claims_first: bool = False) -> None:
        """`claims_first` makes it one of several processes on this folder."""
        self.clock = clock
        self._loop = asyncio.get_running_loop()
        self.folder = folder
        self.service = Service(Registry())
        self.journal = PunctualStore(folder, clock, self._look_at, claims_first=claims_first)
        self._scrubber = Scrubber()
        self.resources = ProcessResources(
            clock,
            self.journal,
            PyrusClient(clock, self.journal, transport),
            NoMetrics(),
            TIMING,
            self.journal.loops,
            hide=self._scrubber.remember,
            discloses=self._scrubber.knows,
        )
        self.pipeline = build(self.resources, self.service)
        self.pipeline.context.loop_breaker.pause_watchers.append(partial(write_behind, self.resources))
        self.front = WebhookContext(self.service, self.pipeline, self._refused, clock)
        self._stopped = False

    @classmethod
    async def started(cls, clock: Clock, folder: Path, transport: Transport, *, claims_first: bool = False) -> Self:
        """Make a host with an open journal and no bots."""
        host = cls(clock, folder, transport, claims_first=claims_first)
        await host.journal.open()
        await host.pipeline.start()
        return host

    async def stop(self) -> None:
        """End at once. Runs are cut, and parked events stay in the journal."""
        self._stopped = True
        await self.pipeline.stop()
        running = [tracked.task for tracked in list(self.pipeline.runs.running) if tracked.task is not None]
        for call in running:
            call.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for bot in self.service:
            if bot.runner is not None:
                await bot.runner.close()
        await self.resources.client.close()
        await self.journal.close()

    async def add(self, plugin: Any, given: HarnessSection) -> tuple[Bot, WatchedRunner]:
        """Put a bot into service. Raises ConfigError and PluginError as `check` and a start would."""
        config = self._config(given, plugin)
        name = name_of(plugin)
        found = find() if isinstance(plugin, str) else {name: DiscoveredPlugin(name, lambda: plugin)}
        sources = SecretSources(self.folder, os.environ)
        folder = self.folder / "bots" / given.name
        store = Store(data_of_bot(self.resources, config), self.clock)
        own = PluginResources(self.clock, folder, pyrus_of_bot(self.resources.client, config), sources, store)
        plugged = load(config, found, own)
        for secret in plugged.secrets:
            self._scrubber.add(secret)
        runner = WatchedRunner(LocalRunner(plugged, config, self.clock))
        bot = Bot(config, BotQueue(config.permits), BotState("active"), plugged, runner)
        await runner.open()
        self.service.registry = Registry([*self.service, bot])
        await self.pipeline.timers.look()
        self.pipeline.in_service()
        return bot, runner

    async def look(self) -> None:
        """Look at once for due ticks, parked events and replies to post."""
        await self.pipeline.timers.look()
        await self.pipeline.poller.look()

    async def tick(self, bot: Bot, timer: str) -> None:
        """Run a timer now, to its end."""
        plugged, runner = bot.plugged, bot.runner
        assert plugged is not None
        assert isinstance(runner, WatchedRunner)
        spec = plugged.timer(timer)
        known = [one.name for one in plugged.timers]
        names, near = ", ".join(known) or "none", nearest(timer, known) if isinstance(timer, str) else ""
        assert spec is not None, f"[bot:{bot.name}] has no timer {timer!r}{near} (it has: {names})"
        when = self.clock.now()
        while await self.pipeline.timers.put(bot, spec, when) is None:
            when -= timedelta(seconds=1)  # a tick of this second is known already; an earlier one is due too
        ended = runner.expect(f"timer:{timer}:{int(when.timestamp())}")
        await self.pipeline.poller.look()
        await ended

    def _config(self, given: HarnessSection, plugin: Any) -> BotConfig:
        path = self.folder / "bots.ini"
        path.write_text(given.text(name_of(plugin)), "utf-8")
        reading = read(path, os.environ)
        problems = reading.all_problems()
        if problems:
            raise ConfigError(problems)
        config = reading.bots[given.name]
        kept = {key: value for key, value in given.settings.items() if key in config.settings and not has_text(value)}
        return replace(config, settings={**config.settings, **kept})

    def _refused(self, bot: Bot | None, peer: str, word: str, status: int) -> None:
        log.info("refused: %s from %s", word, peer, extra={"bot": bot.name if bot else "", "status": status})

    def _look_at(self, due: float) -> None:
        """Plan a look for the time when an entry falls due by the wall clock. If that is set meanwhile, a later look finds it."""
        in_s = max(0.0, due - self.clock.now().timestamp())
        self._loop.call_soon_threadsafe(self._loop.call_later, in_s, self._look_soon)

    def _look_soon(self) -> None:
        if not self._stopped:
            self._loop.create_task(self.pipeline.poller.look()).add_done_callback(watch)


def name_of(plugin: Any) -> str:
    """Return the name of a plugin in errors: its own, or that of its class if it is an object without one."""
    if isinstance(plugin, str):
        return plugin
    name = getattr(plugin, "__name__", "")
    return name if isinstance(name, str) and name.isidentifier() else type(plugin).__name__


def modules_of(bot: Bot) -> list[ModuleType]:
    """Return the modules of a plugin's code: its own, and those of the same package."""
    instance = bot.plugged.instance if bot.plugged is not None else None
    name = getattr(instance, "__module__", None) or ""
    top = name.partition(".")[0]
    return [module for key, module in list(sys.modules.items()) if key == name or key.partition(".")[0] == top]
