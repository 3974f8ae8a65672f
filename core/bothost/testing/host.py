"""A whole host in memory: real journal in a temporary folder, real pipeline, virtual time, fake Pyrus, no sockets.

Its coroutines run on the virtual loop; `Harness` is what a test holds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from bothost.bots import Bot, BotState, Registry
from bothost.building import Ground, build
from bothost.lanes import Lane
from bothost.pyrus_client import PyrusClient
from bothost.store import Timing
from bothost.store.sqlite import SqliteStore
from bothost.testing.wire import Wire, post
from bothost.web.limits import Limits, Lines
from bothost.web.webhook import Front

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bothost.pyrus_client import Transport
    from bothost.store import Door, Entry
    from bothost.testing.clock import VirtualClock

SWEEP_S = 10.0
"""Between two looks at the journal where nothing is known to be due; what becomes due is looked at on time."""


class PunctualStore(SqliteStore):
    """The embedded journal, whose rounds come exactly when an entry that was written becomes due."""

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        """See `Store.note`."""
        self._expect(entry)
        super().note(entry, body)

    async def save(self, entry: Entry, body: bytes | None = None, *, door: Door | None = None) -> bool:
        """See `Store.save`."""
        saved = await super().save(entry, body, door=door)
        self._expect(entry)
        return saved


class Counts:
    """Stands where the metrics stand; nobody asks."""

    def delivery(self, bot: str, word: str, status: int, seconds: float) -> None:
        """See `answers.Count`."""


class VirtualHost:
    """One process of bothost. `start` and `stop` are coroutines of the virtual loop, and so is `deliver`."""

    def __init__(self, clock: VirtualClock, folder: Path, transport: Transport) -> None:
        self.clock = clock
        self.folder = folder
        self.registry = Registry()
        self.store = PunctualStore(folder, clock, Timing(sweep_s=SWEEP_S))
        self.client = PyrusClient(clock, self.store, transport)
        self.ground = Ground(clock, self.store, self.client, Counts(), self.store.timing)
        self.core = build(self.ground, lambda: self.registry)
        self.front = Front(self.registry, self.core.dispatch.receive, self._refuse, clock)
        self.lines = Lines(Limits(), clock)
        self.refusals: list[tuple[str, int]] = []

    async def start(self) -> None:
        """Open the journal and begin."""
        await self.store.open()
        await self.core.start()

    async def stop(self) -> None:
        """End as after a drain in which nothing ran any more."""
        await self.core.stop()
        for bot in self.registry.by_name.values():
            if bot.runner is not None:
                await bot.runner.close()
        await self.client.close()
        await self.store.close()
