"""Record a run for a test: the handler's exception and the log lines, besides the answer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from bothost.telemetry.host_loggers import LogListener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bothost.plugins.api import Tick
    from bothost.plugins.event import RunContext
    from bothost.pyrus.envelope import Envelope
    from bothost.runners import HookRun, JobRun, RunEnded, Runner, RunResult

STANDARD = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"])


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run of a handler or timer, with its event (`id`, the event key) and its end."""

    id: str
    attempt: int
    rerun: str
    ran: RunResult


@dataclass(slots=True)
class WatchedRunner:
    """A bot's real runner. It keeps the end of each run, and can be slow as a fault."""

    real: Runner
    runs: list[RecordedRun] = field(default_factory=list)
    delay_s: float = 0.0
    """The virtual seconds that pass before the handler begins."""

    _expected: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    def expect(self, id: str) -> asyncio.Future[None]:
        """Return a future that is done when the run of this id has ended. It is called on the loop."""
        return self._expected.setdefault(id, asyncio.get_running_loop().create_future())

    def _keep(self, run: RecordedRun) -> None:
        self.runs.append(run)
        expected = self._expected.pop(run.id, None)
        if expected is not None:
            expected.set_result(None)

    async def open(self) -> None:
        """See `Runner.open`."""
        await self.real.open()

    async def run(self, envelope: Envelope, context: RunContext, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.run`."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        ran = await self.real.run(envelope, context, limit_s, ended)
        self._keep(RecordedRun(context.id, context.attempt, context.rerun, ran))
        return ran

    async def tick(self, timer: str, tick: Tick, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.tick`."""
        ran = await self.real.tick(timer, tick, limit_s, ended)
        self._keep(RecordedRun(f"timer:{timer}:{int(tick.due.timestamp())}", 1, tick.rerun, ran))
        return ran

    async def work(self, given: JobRun | HookRun, context: RunContext, limit_s: float, ended: RunEnded) -> RunResult:
        """See `Runner.work`."""
        ran = await self.real.work(given, context, limit_s, ended)
        self._keep(RecordedRun(context.id, context.attempt, context.rerun, ran))
        return ran

    async def close(self) -> None:
        """See `Runner.close`."""
        await self.real.close()

    def held(self) -> tuple[str, ...]:
        """See `Runner.held`."""
        return self.real.held()

    def release(self) -> None:
        """See `Runner.release`."""
        self.real.release()


class LogBook(LogListener):
    """Keeps the log lines of bothost and its plugins while a harness is at work."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[str, str]] = []
        """The lines as (bot, line)."""
        self._logger = logging.getLogger("bothost")
        self._level = logging.NOTSET

    def __enter__(self) -> Self:
        self._level = self._logger.level
        if self._logger.getEffectiveLevel() > logging.INFO:
            self._logger.setLevel(logging.INFO)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._logger.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        extras = {key: value for key, value in vars(record).items() if key not in STANDARD and value != ""}
        bot = str(extras.get("bot", ""))
        rest = "".join(f" {key}={value}" for key, value in extras.items())
        line = f"{record.levelname} {record.name}: {record.getMessage()}{rest}"
        if record.exc_info:
            line += "\n" + logging.Formatter().formatException(record.exc_info)
        self.lines.append((bot, line))

    def faults(self) -> list[str]:
        """Return the lines in which bothost reports a fault of its own, not of a plugin."""
        return [line for _, line in self.lines if "a fault of bothost" in line]

    def of(self, bot: str, since: int) -> Iterator[str]:
        """Yield the lines of a bot, and those of no bot, from a number on."""
        return (line for whose, line in self.lines[since:] if whose in ("", bot))
