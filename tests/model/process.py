"""A process of bothost that can be killed: the real pipeline and journal, with a writer that forgets what it had not written."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.bots import Bot, BotState, Registry, Service
from bothost.building import Ground, build
from bothost.errors import StoreAway
from bothost.lanes import Lane
from bothost.pyrus_client import PyrusClient
from bothost.runner.local import LocalRunner
from bothost.store import Timing
from bothost.testing.host import Counts, PunctualStore

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from tests.model.world import World

    from bothost.config import BotConfig
    from bothost.plugins import Plugged
    from bothost.store import Entry

TIMING = Timing(lease_s=36_000.0, beat_s=3_600.0, sweep_s=30.0, linger_s=0.0)
ON_COMMIT: contextvars.ContextVar[Callable[[], None] | None] = contextvars.ContextVar("ON_COMMIT", default=None)
PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("PROCESS", default=None)


def own_tasks(loop: asyncio.AbstractEventLoop, work: Any, **keys: Any) -> asyncio.Task[Any]:
    """A task factory: each task belongs to the process in whose name it was made."""
    task = asyncio.Task(work, loop=loop, **keys)
    process = PROCESS.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
    return task


class ForgetfulStore(PunctualStore):
    """Notes wait some virtual milliseconds before they are written, and are lost if the process dies before."""

    def __init__(self, process: Process, folder: Path, *, claims_first: bool) -> None:
        super().__init__(folder, process.world.clock, claims_first=claims_first, timing=TIMING)
        self._process = process
        self._noted: list[tuple[Entry, bytes | None]] = []
        self.away_until = 0.0

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        world = self._process.world
        self._noted.append((msgspec.structs.replace(entry), body))
        asyncio.get_running_loop().call_later(world.rng.uniform(0, 0.01), self._write_noted)
        if world.rng.random() < world.odds.crash_at_note:
            asyncio.get_running_loop().call_later(world.rng.uniform(0, 0.008), world.kill, self._process)

    def _write_noted(self) -> None:
        if self._process.dead or self._is_away():
            return
        noted, self._noted = self._noted, []
        for entry, body in noted:
            super().note(entry, body)
            self._process.world.commits(entry)

    async def save(self, entry: Entry, body: bytes | None = None, *, door: Door | None = None) -> bool:
        written = msgspec.structs.replace(entry)
        token = ON_COMMIT.set(lambda: self._process.world.commits(written))
        try:
            return await super().save(entry, body, door=door)
        finally:
            ON_COMMIT.reset(token)

    def _is_away(self) -> bool:
        return self._process.world.clock.monotonic() < self.away_until

    async def _ask(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        process, world = self._process, self._process.world
        self._moment_of_trouble()
        process.breathe()
        if world.rng.random() < world.odds.slow:
            await asyncio.sleep(world.rng.choice([0.05, 1.0, 7.0]))
            process.breathe()
        if self._is_away():
            raise StoreAway("the disk is full")
        world.maybe_kill(process, world.odds.crash_at_write)
        self._write_noted()
        result = await super()._ask(work)
        landed = ON_COMMIT.get()
        if landed is not None and result is True:
            landed()
        process.breathe()
        world.maybe_kill(process, world.odds.crash_at_write)
        return result

    def _moment_of_trouble(self) -> None:
        world = self._process.world
        if world.troubled and world.rng.random() < world.odds.away:
            self.away_until = world.clock.monotonic() + world.rng.choice([0.3, 3.0, 20.0])
            asyncio.get_running_loop().call_at(self.away_until + 0.001, self._write_noted)

    async def _read(self, question: Callable[[sqlite3.Connection], Any]) -> Any:
        self._process.breathe()
        if self._is_away():
            raise StoreAway("the disk is full")
        self._write_noted()
        result = await super()._read(question)
        self._process.breathe()
        return result

    async def wait_hint(self, seconds: float) -> None:
        self._process.breathe()
        await super().wait_hint(seconds)
        self._process.breathe()

    def abandon(self) -> None:
        """As kill -9: nothing more is written, the files are let go as the kernel lets them go."""
        self._process.world.forgotten.update(entry.id for entry, _ in self._noted)
        self._noted.clear()
        writer, book = self._writer, self._book
        writer._queue.clear()
        writer._kept.clear()
        writer.stop()
        self._readers.close()
        self._threads.shutdown(wait=True)
        if book._lock._file >= 0:
            os.close(book._lock._file)
            book._lock._file = -1
        if book.bodies._file >= 0:
            os.close(book.bodies._file)
            book.bodies._file = -1
        self._database.close()


class Process:
    """One life of a process. Everything it does runs in tasks that are known to be its own."""

    def __init__(self, world: World, folder: Path, *, claims_first: bool) -> None:
        self.world = world
        self.dead = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.store = ForgetfulStore(self, folder, claims_first=claims_first)
        self.store.wanted = self._look_at
        client = PyrusClient(world.clock, self.store, world.transport(self))
        ground = Ground(world.clock, self.store, client, Counts(), TIMING)
        self.service = Service(Registry())
        self.core = build(ground, self.service.present)

    def breathe(self) -> None:
        """End here where the process is dead."""
        if self.dead:
            raise asyncio.CancelledError

    async def start(self, served: list[tuple[BotConfig, Plugged]]) -> None:
        """Open the journal, serve."""
        clock = self.world.clock
        bots = [
            Bot(config, Lane(config.concurrency), BotState("active"), plugged, LocalRunner(plugged, config, clock))
            for config, plugged in served
        ]
        self.service.registry = Registry(bots)
        await self.store.open()
        await self.core.start()

    def run(self, work: Callable[..., Any], *values: Any) -> Any:
        """Do something in this process's name."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return context.run(work, *values)

    def end(self) -> None:
        """Kill it: what it had not written is forgotten, what it had under way ends nowhere."""
        self.dead = True
        for task in list(self.tasks):
            task.cancel()
        self.store.abandon()

    def _look_at(self, due: float) -> None:
        loop = self.world.clock.loop
        loop.call_later(max(0.0, due - self.world.clock.now().timestamp()), self._look)

    def _look(self) -> None:
        if not self.dead:
            self.run(lambda: asyncio.get_running_loop().create_task(self._look_quietly()))

    async def _look_quietly(self) -> None:
        try:
            await self.core.late.look()
        except StoreAway:
            return
