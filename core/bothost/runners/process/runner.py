"""Run a bot's plugin in a child process of its own, so that `os._exit`, a segfault or a runaway affects that bot only.

Existing pools do not fit: ProcessPoolExecutor loses all calls with one death and cannot end a runaway, and pebble runs one call
at a time. This runner has concurrency inside the child, API calls back to the host, and the cause of a death (docs/decisions).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks, reserve
from bothost.errors import ConfigError, PluginError, Problem
from bothost.runners import RunFailure, RunResult
from bothost.runners.local import CLOSE_S
from bothost.runners.process.handle import ChildProcess
from bothost.runners.process.protocol import LoadPlugin, PluginLoaded, StartRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.clock import Clock
    from bothost.journal.data import BotData
    from bothost.plugins.api import Tick
    from bothost.plugins.event import RunContext
    from bothost.pyrus.envelope import Envelope
    from bothost.pyrus_client.api import Pyrus
    from bothost.runners import HookRun, JobRun, RunEnded
    from bothost.runners.process.spawner import Spawner

log = logging.getLogger("bothost.children")

READY_S = 60.0
DEATHS_AT_MOST = 3
WITHIN_S = 3600.0
"""This many deaths within this time, and the bot is quarantined."""
BACKOFF_S = (0.2, 1.0, 5.0)
OUT_OF_MEMORY = " raised MemoryError"
"""As `failure_of` says it of a run."""


@dataclass(frozen=True, slots=True)
class ChildEvents:
    """Holds the file that a bot's settings stand in, and what is called when one of its children dies or does not open."""

    file: str
    """bots.ini; a child has no business with it."""
    died: Callable[[], None]
    quarantine: Callable[[str], None]
    """It died too often, and why."""
    broken: Callable[[PluginError | ConfigError], None]
    """Its plugin does not open in the child, although it could be loaded."""


class ChildRunner:
    """Runs one bot's plugin in a child, which starts at the first event and comes back after a death."""

    def __init__(
        self,
        hello: LoadPlugin,
        spawner: Spawner,
        clock: Clock,
        child_events: ChildEvents,
        pyrus: Pyrus | None,
        data: BotData | None = None,
    ) -> None:
        self._hello = hello
        self._spawner = spawner
        self._clock = clock
        self._care = child_events
        self._pyrus = pyrus
        self._data = data
        self._child: ChildProcess | None = None
        self._starting: asyncio.Task[ChildProcess] | None = None
        self._numbers = 0
        self._deaths: deque[float] = deque(maxlen=DEATHS_AT_MOST)
        self._elsewhere: deque[float] = deque(maxlen=DEATHS_AT_MOST)
        self._closing = False
        self._under_way: Counter[ChildProcess] = Counter()
        self._retired: set[ChildProcess] = set()
        """Children that met MemoryError: they finish their runs, and get no more."""
        self._leaving = BackgroundTasks()
        self.report = PluginLoaded()
        """The plugin's own report when it was loaded: version, timers."""

    async def open(self) -> None:
        """Have a child load the plugin and report; it ends then. Raises PluginError or ConfigError as the host would."""
        child = await self._brought_up(msgspec.structs.replace(self._hello, probe=True))
        self.report = await child.ready
        await child.leave(CLOSE_S)

    async def start(self) -> None:
        """Have the child up before its first event. Raises PluginError or ConfigError if the plugin does not open."""
        await self._up()

    async def run(self, envelope: Envelope, context: RunContext, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.run`."""
        self._numbers += 1
        wanted = StartRun(
            self._numbers, envelope.body, id=context.id, attempt=context.attempt, rerun=context.rerun,
            deadline=context.deadline.timestamp(), limit_s=limit_s, user_id=context.user_id,
            calls=context.pyrus is not None, trace=context.trace,
        )  # fmt: skip
        return await self._have_run(wanted, context.pyrus, ended)

    async def tick(self, timer: str, tick: Tick, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.tick`."""
        self._numbers += 1
        due = tick.due.timestamp()
        wanted = StartRun(self._numbers, timer=timer, due=due, rerun=tick.rerun, limit_s=limit_s, calls=False)
        return await self._have_run(wanted, None, ended)

    async def work(self, given: JobRun | HookRun, context: RunContext, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.work`."""
        self._numbers += 1
        wanted = StartRun(
            self._numbers, id=context.id, attempt=context.attempt, rerun=context.rerun,
            deadline=context.deadline.timestamp(), limit_s=limit_s, user_id=context.user_id,
            calls=context.pyrus is not None, trace=context.trace, work=given,
        )  # fmt: skip
        return await self._have_run(wanted, context.pyrus, ended)

    async def _have_run(self, wanted: StartRun, pyrus: Pyrus | None, ended: RunEnded) -> RunResult:
        try:
            child = await self._up()
        except (PluginError, ConfigError) as error:
            ended()
            return RunResult(failure=RunFailure("raised", str(error)))
        except BaseException:
            ended()
            raise
        self._under_way[child] += 1
        try:
            result = await child.run(wanted, pyrus, ended)
        finally:
            self._under_way[child] -= 1
        if result.failure is not None and OUT_OF_MEMORY in result.failure.text:
            result = RunResult(failure=self._out_of_memory(child, result.failure))
        if child in self._retired and not self._under_way[child]:
            del self._under_way[child]
            self._leaving.spawn(child.leave(CLOSE_S))
        return result

    def _out_of_memory(self, child: ChildProcess, failure: RunFailure) -> RunFailure:
        """Let the next run have a new child: this one's memory is full, and each later run in it would fail too."""
        if self._child is child:
            self._child = None
            self._retired.add(child)
            log.warning("out of memory: its process is replaced after its runs", extra={"bot": child.bot})
        limit = self._hello.memory
        said = f" reached memory = {limit >> 20}M" if limit else " found no memory"
        return replace(failure, text=failure.text.replace(OUT_OF_MEMORY, f"{said}: MemoryError", 1))

    async def _up(self) -> ChildProcess:
        if self._child is not None and not self._child.killed_for:
            return self._child
        if self._starting is None:
            self._starting = reserve(asyncio.get_running_loop().create_task(self._start()))
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    def _started(self, starting: asyncio.Task[ChildProcess]) -> None:
        self._starting = None
        if not starting.cancelled():
            error = starting.exception()
            if isinstance(error, PluginError | ConfigError) and not self._closing:
                self._care.broken(error)

    async def _start(self) -> ChildProcess:
        if self._deaths:
            await asyncio.sleep(BACKOFF_S[min(len(self._deaths), len(BACKOFF_S)) - 1])
        child = await self._brought_up(self._hello)
        self._child = child
        child.process.ended.add_done_callback(partial(self._died, child))
        return child

    async def _brought_up(self, hello: LoadPlugin) -> ChildProcess:
        """Return a child that has loaded (and, unless it is a probe, opened) the plugin. Raises PluginError and ConfigError."""
        try:
            child = await ChildProcess.start(self._spawner, hello, self._pyrus, self._data)
        except OSError as error:
            raise PluginError(f"[bot:{hello.bot}] no process can be started: {error}") from error
        try:
            async with asyncio.timeout(READY_S):
                self._raise(await child.ready)
        except TimeoutError:
            child.end("it did not bring its plugin up in time")
            raise PluginError(
                f"[bot:{hello.bot}] its process did not bring the plugin up within {READY_S:.0f} s"
            ) from None
        except BaseException:
            child.end("its plugin does not open")
            raise
        return child

    def _raise(self, ready: PluginLoaded) -> None:
        if ready.problems:
            file = self._care.file
            raise ConfigError(
                tuple(Problem(text, file, line, section, key) for text, line, section, key in ready.problems)
            )
        if ready.error:
            bot = self._hello.bot
            error = PluginError(ready.error if ready.error.startswith("[bot:") else f"[bot:{bot}] {ready.error}")
            if ready.trace:
                error.add_note(ready.trace)
            raise error

    def _died(self, child: ChildProcess, ended: asyncio.Future[str]) -> None:
        if self._child is child:
            self._child = None
        if child in self._retired:
            self._retired.discard(child)
            return
        if self._closing:
            return
        cause = child.killed_for or ended.result()
        now = self._clock.monotonic()
        self._deaths.append(now)
        log.error("its process died: %s", cause, extra={"bot": child.bot})
        self._care.died()
        if sum(now - death <= WITHIN_S for death in (*self._deaths, *self._elsewhere)) >= DEATHS_AT_MOST:
            self._care.quarantine(f"its process died {DEATHS_AT_MOST} times within an hour; the last time {cause}")

    def died_elsewhere(self) -> None:
        """Count the death of the bot's child of another worker. The worker that sees the last death of too many reports it."""
        self._elsewhere.append(self._clock.monotonic())

    async def close(self) -> None:
        """End the child, after it has closed the plugin; it has ten seconds for that."""
        self._closing = True
        if self._starting is not None:
            self._starting.cancel()
        children = [child for child in (self._child, *self._retired) if child is not None]
        await asyncio.gather(*(child.leave(CLOSE_S) for child in children))
        await self._leaving.stop()

    def held(self) -> tuple[str, ...]:
        """See `Runner.held`; a child's threads end with it."""
        return ()

    def release(self) -> None:
        """See `Runner.release`; a run past its time ends with its child."""
