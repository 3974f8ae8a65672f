"""A process of bothost that can be killed: the real pipeline and journal, with a writer that forgets what it had not written."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.bots.queue import BotQueue
from bothost.bots.registry import Bot, BotState, Registry, Service
from bothost.errors import JournalAway
from bothost.journal.entry import JournalTiming
from bothost.journal.rows import values_of
from bothost.pipeline.assembly import ProcessResources, build, write_behind
from bothost.pyrus_client.client import PyrusClient
from bothost.runners.local import LocalRunner
from bothost.testing.host import NoMetrics, PunctualStore

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from tests.model.world import World

    from bothost.config import BotConfig
    from bothost.journal.entry import Entry
    from bothost.plugins.loading import LoadedPlugin

TIMING = JournalTiming(lease_s=1e9, beat_s=1e9, sweep_s=30.0, linger_s=0.0)
ON_COMMIT: contextvars.ContextVar[Callable[[], None] | None] = contextvars.ContextVar("ON_COMMIT", default=None)
PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("PROCESS", default=None)


def own_tasks(loop: asyncio.AbstractEventLoop, work: Any, **keys: Any) -> asyncio.Task[Any]:
    """A task factory: each task belongs to the process in whose name it was made."""
    task = asyncio.Task(work, loop=loop, **keys)
    process = PROCESS.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda done: process.tasks.pop(done, None))
        if process.dead:
            task.cancel()
    return task


class ForgetfulStore(PunctualStore):
    """The embedded journal without its threads, so that a seed tells everything that happens.

    Notes wait some virtual milliseconds before they are written, and are lost if the process dies before. What takes long is
    overtaken by what is asked later: the embedded journal's writer keeps the order, PostgreSQL need not.
    """

    def __init__(self, process: Process, folder: Path, *, claims_first: bool) -> None:
        super().__init__(folder, process.world.clock, process.look_at, claims_first=claims_first, timing=TIMING)
        self._process = process
        self._noted: dict[str, tuple[Entry, bytes | None]] = {}
        self.away_until = 0.0

    async def open(self) -> None:
        self._open()

    async def close(self) -> None:
        self._write_noted()
        self._process.world.forgotten.update(self._noted)
        self._transactions.end(self._database)
        self._let_go()

    def abandon(self) -> None:
        """As kill -9: nothing more is written, the files are let go as the kernel lets them go."""
        world = self._process.world
        world.forgotten.update(self._noted)
        for entry, _ in self._noted.values():
            world.tell(world.name_of(entry), f"forgotten {entry.state}")
        self._noted.clear()
        if self._transactions._lock._file >= 0:
            os.close(self._transactions._lock._file)
            self._transactions._lock._file = -1
        self._let_go()

    def _let_go(self) -> None:
        bodies = self._transactions.bodies
        if bodies._file >= 0:
            os.close(bodies._file)
            bodies._file = -1
        self._database.close()
        self._lock.give_back()

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        world = self._process.world
        _, older = self._noted.pop(entry.id, (None, None))
        self._noted[entry.id] = (msgspec.structs.replace(entry), body or older)
        loop = asyncio.get_running_loop()
        loop.call_later(world.rng.uniform(0, 0.01), self._write_noted)
        if world.rng.random() < world.odds.crash_at_note:
            loop.call_later(world.rng.uniform(0, 0.008), world.kill, self._process)
        self._expect(entry)

    def _write_noted(self) -> None:
        if self._process.dead or self._is_away() or not self._noted:
            return
        noted, self._noted = self._noted, {}
        with self._database.transaction() as connection:
            notes = {key: (key, values_of(entry), body) for key, (entry, body) in noted.items()}
            self._transactions.write_notes(connection, notes)
            self._transactions.sync()
        for entry, _ in noted.values():
            self._process.world.commits(entry)

    async def save(self, entry: Entry, body: bytes | None = None) -> bool:
        written = msgspec.structs.replace(entry)
        token = ON_COMMIT.set(lambda: self._process.world.commits(written))
        try:
            return await super().save(entry, body)
        finally:
            ON_COMMIT.reset(token)

    async def _ask(self, work: Callable[[sqlite3.Connection], Any], *, is_whole: bool = False) -> Any:
        process, world = self._process, self._process.world
        process.breathe()
        if world.troubled and world.rng.random() < world.odds.away:
            self.away_until = world.clock.monotonic() + world.rng.choice([0.3, 3.0, 20.0])
            asyncio.get_running_loop().call_at(self.away_until + 0.001, self._write_noted)
        slow_s = world.rng.choice([0.05, 1.0, 7.0]) if world.troubled and world.rng.random() < world.odds.slow else 0.0
        await asyncio.sleep(slow_s)
        process.breathe()
        if self._is_away():
            raise JournalAway("the disk is full")
        world.maybe_kill(process, world.odds.crash_at_write)
        if world.troubled and world.rng.random() < world.odds.ghost:
            after_s = world.rng.choice([0.2, 2.0, 30.0])
            asyncio.get_running_loop().call_later(after_s, self._land, work, ON_COMMIT.get())
            raise JournalAway("no answer within 5 s")
        result = self._land(work, ON_COMMIT.get())
        world.maybe_kill(process, world.odds.crash_at_write)
        if world.troubled and world.rng.random() < world.odds.unheard:
            raise JournalAway("no answer within 5 s")
        await asyncio.sleep(slow_s / 2)
        process.breathe()
        return result

    def _land(self, work: Callable[[sqlite3.Connection], Any], landed: Callable[[], None] | None) -> Any:
        """Commit it, though nobody may listen any more; what a dead process had sent lands too."""
        if self._process.dead and self._database._connection is None:
            return None
        self._write_noted()
        with self._database.transaction() as connection:
            result = work(connection)
            self._transactions.sync()
        if landed is not None and result is True:
            landed()
        return result

    async def _read(self, question: Callable[[sqlite3.Connection], Any]) -> Any:
        await asyncio.sleep(0)
        self._process.breathe()
        if self._is_away():
            raise JournalAway("the disk is full")
        self._write_noted()
        connection = self._database._connection
        assert connection is not None
        return question(connection)

    async def wait_hint(self, seconds: float) -> None:
        await super().wait_hint(seconds)
        self._process.breathe()

    def _is_away(self) -> bool:
        return self._process.world.clock.monotonic() < self.away_until


class Process:
    """One life of a process. Everything it does runs in tasks that are known to be its own."""

    def __init__(self, world: World, folder: Path, *, claims_first: bool) -> None:
        self.world = world
        self.dead = False
        self.killed = False
        self.ready = False
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.journal = ForgetfulStore(self, folder, claims_first=claims_first)
        client = PyrusClient(world.clock, self.journal, world.transport(self))
        resources = ProcessResources(world.clock, self.journal, client, NoMetrics(), TIMING, self.journal.loops)
        self.service = Service(Registry())
        self.pipeline = build(resources, self.service)
        self.pipeline.context.loop_breaker.pause_watchers.append(partial(write_behind, resources))

    def breathe(self) -> None:
        """End here where the process is dead."""
        if self.dead:
            raise asyncio.CancelledError

    async def start(self, served: list[tuple[BotConfig, LoadedPlugin]]) -> None:
        """Open the journal, serve."""
        clock = self.world.clock
        bots = [
            Bot(config, BotQueue(config.permits), BotState("active"), plugged, LocalRunner(plugged, config, clock))
            for config, plugged in served
        ]
        self.service.registry = Registry(bots)
        await self.journal.open()
        await self.pipeline.start()

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
        self.journal.abandon()

    def look_at(self, due: float) -> None:
        loop = self.world.clock.loop
        loop.call_later(max(0.0, due - self.world.clock.now().timestamp()), self._look)

    def _look(self) -> None:
        if not self.dead:
            self.run(lambda: asyncio.get_running_loop().create_task(self._look_quietly()))

    async def _look_quietly(self) -> None:
        try:
            await self.pipeline.poller.look()
        except JournalAway:
            return
