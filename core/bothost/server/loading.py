"""A bot's plugin, loaded and opened: in this process, or in a child of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost import plugins
from bothost.building import pyrus_of_bot
from bothost.errors import ConfigError, PluginError
from bothost.runner.local import LocalRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bothost.api import Pyrus
    from bothost.bots import Bot
    from bothost.building import Ground
    from bothost.plugins import Found, Plugged
    from bothost.runner import Runner
    from bothost.sources import Sources

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

    async def load(self, bot: Bot) -> tuple[Plugged, Runner]:
        """See `standing.Load`."""
        async with self._gate:
            with self._ground.clock.real_io():
                plugged = await asyncio.to_thread(self._plug, bot, pyrus_of_bot(self._ground, bot.config))
        runner = LocalRunner(plugged, bot.config, self._ground.clock, self._shelf.scrub)
        try:
            await runner.open()
        except (PluginError, ConfigError):
            await runner.close()
            raise
        return plugged, runner

    def _plug(self, bot: Bot, pyrus: Pyrus) -> Plugged:
        if self._found is None or bot.config.plugin not in self._found:
            self._found = plugins.find()
        folder = self._shelf.folder / bot.name
        ground = plugins.Ground(self._ground.clock, folder, pyrus, self._shelf.sources)
        return plugins.load(bot.config, self._found, ground)
