"""A bot's plugin, loaded and opened: in this process, or in a child of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bothost import plugins
from bothost.building import pyrus_of_bot, write_behind
from bothost.children import ChildRunner
from bothost.errors import ConfigError, PluginError
from bothost.plugins import Plugged
from bothost.runner.local import LocalRunner
from bothost.sources import Unresolved
from bothost.spawn import Spawner
from bothost.wire import Hello, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bothost.api import Pyrus
    from bothost.bots import Bot
    from bothost.building import Ground
    from bothost.config import BotConfig
    from bothost.plugins import Found
    from bothost.runner import Runner
    from bothost.sources import Sources

said = logging.getLogger("bothost.child")

AT_ONCE = 8
"""How many plugins are imported at the same time."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a host has for plugins: a folder for theirs, the sources of their secrets, what hides secrets in tracebacks."""

    folder: Path
    sources: Sources
    scrub: Callable[[str], str]


class Loader:
    """Loads bots one by one; imports happen in a thread, for some take seconds."""

    def __init__(self, ground: Ground, shelf: Shelf) -> None:
        self._ground = ground
        self._shelf = shelf
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._found: Mapping[str, Found] | None = None
        self._spawner: Spawner | None = None

    async def load(self, bot: Bot) -> tuple[Plugged, Runner]:
        """See `standing.Load`."""
        pyrus = pyrus_of_bot(self._ground, bot.config)
        if bot.config.run == "process":
            return await self._in_a_child(bot, pyrus)
        async with self._gate:
            with self._ground.clock.real_io():
                plugged = await asyncio.to_thread(self._plug, bot, pyrus)
        runner = LocalRunner(plugged, bot.config, self._ground.clock, self._shelf.scrub)
        try:
            await runner.open()
        except (PluginError, ConfigError):
            await runner.close()
            raise
        return plugged, runner

    async def _in_a_child(self, bot: Bot, pyrus: Pyrus) -> tuple[Plugged, Runner]:
        """The host imports nothing of this plugin: a child loads it, and reports."""
        config = bot.config
        if self._spawner is None:
            self._spawner = Spawner(config.env_names, self._said)
        runner = ChildRunner(
            self._hello(config), self._spawner, self._ground.clock, partial(self._quarantine, config.name), pyrus
        )
        async with self._gate:
            await runner.open()
        return elsewhere(config.plugin, runner.report), runner

    def _hello(self, config: BotConfig) -> Hello:
        sources = self._shelf.sources
        resolved = {}
        for text in config.settings.values():
            if text.startswith(("env:", "file:")):
                with contextlib.suppress(Unresolved):
                    resolved[text] = sources.resolve(text)
        return Hello(
            bot=config.name,
            plugin=config.plugin,
            settings=dict(config.settings),
            lines=dict(config.lines),
            line=config.line,
            file=config.file,
            login=config.login,
            base=str(sources.folder),
            resolved=resolved,
            folder=str(self._shelf.folder / config.name),
            concurrency=config.concurrency,
            memory=config.memory_bytes,
        )

    def _said(self, bot: str, line: str) -> None:
        said.info("%s", line, extra={"bot": bot})

    def _quarantine(self, bot: str, reason: str) -> None:
        write_behind(self._ground, f"quarantine:{bot}", reason)

    def close(self) -> None:
        """End what starts children."""
        if self._spawner is not None:
            self._spawner.close()

    def _plug(self, bot: Bot, pyrus: Pyrus) -> Plugged:
        if self._found is None or bot.config.plugin not in self._found:
            self._found = plugins.find()
        folder = self._shelf.folder / bot.name
        ground = plugins.Ground(self._ground.clock, folder, pyrus, self._shelf.sources)
        return plugins.load(bot.config, self._found, ground)


def elsewhere(plugin: str, report: Ready) -> Plugged:
    """A plugin that a child has loaded, as far as the host needs it: its name, its version, its timers."""
    handler = plugins.Handler("handle", _elsewhere, is_async=False)
    timers = tuple(
        plugins.TimerSpec(
            name=timer.name, kind="cron" if timer.kind == "cron" else "every", when=timer.when, handler=handler,
            tz=timer.tz, period_s=timer.period_s, takes_tick=timer.takes_tick,
        )
        for timer in report.timers
    )  # fmt: skip
    return Plugged(plugin, report.distribution, report.version, None, handler, timers=timers)


def _elsewhere(*_: object) -> None:
    raise AssertionError("this plugin runs in a child, never here")
