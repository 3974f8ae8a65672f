"""Load and open a bot's plugin, in this process or in a child of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bothost.config.secrets import Unresolved
from bothost.errors import ConfigError, PluginError
from bothost.plugins import loading
from bothost.plugins.attribution import BOT
from bothost.plugins.handlers import Handler
from bothost.plugins.hook_methods import HookSpec
from bothost.plugins.loading import LoadedPlugin
from bothost.plugins.store import Store
from bothost.plugins.timers import TimerSpec
from bothost.runners.local import LocalRunner
from bothost.runners.process.protocol import LoadPlugin, PluginLoaded
from bothost.runners.process.runner import ChildEvents, ChildRunner
from bothost.text import said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.config.secrets import SecretSources
    from bothost.journal.data import BotData
    from bothost.plugins.discovery import DiscoveredPlugin
    from bothost.pyrus_client.api import Pyrus
    from bothost.runners import Runner
    from bothost.runners.process.spawner import Spawner

log = logging.getLogger("bothost.bots")

AT_ONCE = 8
"""The number of plugins that are imported at the same time."""


@dataclass(frozen=True, slots=True)
class LoaderContext:
    """The host's resources for plugins: the parent of their folders, the sources of their secrets, the scrubber, the spawner."""

    folder: Path
    sources: SecretSources
    scrub: Callable[[str], str]
    spawner: Spawner
    loaded: Callable[[str], None]
    """Called with the bot's name when its plugin was imported and opened here: it may have set up logging."""
    count_death: Callable[[str], None]
    """Counts a process of a bot that has died."""
    hide: Callable[[str], None]
    """Keeps a secret of a plugin's settings out of logs, errors and the page."""
    log_level: Callable[[], int]
    """Gives the level from which on the host logs."""


class ProcessReports(Protocol):
    """Hears of the processes of bots."""

    def died(self, name: str) -> None:
        """Hear that a bot's process has died."""

    def quarantine(self, name: str, runner: Runner, reason: str) -> None:
        """Hear that a bot's process has died too often."""

    def broken(self, name: str, runner: Runner, error: PluginError | ConfigError) -> None:
        """Hear that a bot's plugin does not open in its process."""


class Loader:
    """Loads bots one by one. Imports happen in a thread, because some take seconds."""

    def __init__(
        self,
        clock: Clock,
        pyrus_for: Callable[[BotConfig], Pyrus],
        data_for: Callable[[BotConfig], BotData],
        loader_context: LoaderContext,
        reports: ProcessReports,
    ) -> None:
        self._clock = clock
        self._pyrus_for = pyrus_for
        self._data_for = data_for
        self._context = loader_context
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._found: Mapping[str, DiscoveredPlugin] | None = None
        self._named: set[str] = set()
        """The warnings about malformed distributions that were logged already."""
        self._unopened: set[str] = set()
        """Bots whose plugin did not open in its process. For these, opening is tried before they are put into service."""
        self._reports = reports

    async def load(self, bot: Bot) -> tuple[LoadedPlugin, Runner]:
        """See `lifecycle.Load`."""
        try:
            loaded = await (self._in_child(bot) if bot.config.run == "process" else self._here(bot))
        except (PluginError, ConfigError):
            raise
        except (
            Exception
        ) as error:  # no thread, no memory: the bot is tried again instead of staying `starting` for ever
            log.exception("cannot be loaded", extra={"bot": bot.name})
            raise PluginError(f"[bot:{bot.name}] cannot be loaded: {said(error)}") from error
        self._context.loaded(bot.name)
        return loaded

    async def _here(self, bot: Bot) -> tuple[LoadedPlugin, Runner]:
        async with self._gate:
            with self._clock.real_io():
                store = Store(self._data_for(bot.config), self._clock)
                plugged = await asyncio.to_thread(self._plug, bot, self._pyrus_for(bot.config), store)
        for secret in plugged.secrets:
            self._context.hide(secret)
        runner = LocalRunner(plugged, bot.config, self._clock, self._context.scrub)
        await _opened(runner)
        return plugged, runner

    async def _in_child(self, bot: Bot) -> tuple[LoadedPlugin, Runner]:
        loader_context, name = self._context, bot.name
        runner = ChildRunner(
            self._hello(bot.config),
            loader_context.spawner,
            self._clock,
            ChildEvents(
                bot.config.file,
                died=lambda: self._died(name),
                quarantine=lambda reason: self._reports.quarantine(name, runner, reason),
                broken=lambda error: self._broken(name, runner, error),
            ),
            self._pyrus_for(bot.config),
            self._data_for(bot.config),
        )
        async with self._gate:
            await _opened(runner)
            if name in self._unopened:
                await _begun(runner)
                self._unopened.discard(name)
        for secret in runner.report.secrets:
            self._context.hide(secret)
        return _reported(bot.config.plugin, runner.report), runner

    def _died(self, name: str) -> None:
        self._context.count_death(name)
        self._reports.died(name)

    def _broken(self, name: str, runner: Runner, error: PluginError | ConfigError) -> None:
        self._unopened.add(name)
        self._reports.broken(name, runner, error)

    def _hello(self, config: BotConfig) -> LoadPlugin:
        resolved = {}
        for text in config.settings.values():
            if text.startswith(("env:", "file:")):
                with contextlib.suppress(Unresolved):  # the child says so, with the setting's name
                    resolved[text] = self._context.sources.resolve(text)
        return LoadPlugin(
            bot=config.name,
            plugin=config.plugin,
            settings=dict(config.settings),
            lines=dict(config.lines),
            line=config.line,
            login=config.login,
            base=str(self._context.sources.folder),
            resolved=resolved,
            folder=str(self._context.folder / config.name),
            concurrency=config.permits,
            memory=config.memory_bytes,
            accounts=config.account_names,
            log_level=self._context.log_level(),
        )

    def _plug(self, bot: Bot, pyrus: Pyrus, store: Store) -> LoadedPlugin:
        BOT.set(bot.name)  # of this thread's own copy of the context: what an import prints is the bot's
        if self._found is None or bot.config.plugin not in self._found:
            installed = loading.survey()
            self._found = installed.by_name
            for text in installed.unreadable:
                if text not in self._named:
                    self._named.add(text)
                    log.warning("%s", text)
        folder = self._context.folder / bot.name
        resources = loading.PluginResources(self._clock, folder, pyrus, self._context.sources, store)
        return loading.load(bot.config, self._found, resources)


async def _opened(runner: Runner) -> None:
    try:
        await runner.open()
    except (PluginError, ConfigError):
        await runner.close()
        raise


async def _begun(runner: ChildRunner) -> None:
    try:
        await runner.start()
    except (PluginError, ConfigError):
        await runner.close()
        raise


def _reported(plugin: str, report: PluginLoaded) -> LoadedPlugin:
    """Describe a plugin that only the child has loaded."""
    timers = tuple(
        TimerSpec(one.name, one.kind, one.when, _ELSEWHERE, one.tz, one.period_s, one.takes_tick)  # type: ignore[arg-type]
        for one in report.timers
    )
    return LoadedPlugin(
        plugin, report.distribution, report.version, None, _ELSEWHERE, timers=timers,
        hooks=tuple(HookSpec(rule, _ELSEWHERE) for rule in report.hooks), secrets=report.secrets,
    )  # fmt: skip


_ELSEWHERE = Handler("handle", lambda: None, is_async=True)
"""Stands for a handler that only the child can call."""
