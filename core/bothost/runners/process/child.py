"""Be the process of one bot with `run = process`: load its plugin, run what the host asks for, ask the host for API calls.

This isolates from accidents, not from malice.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bothost import errors
from bothost.clock import SystemClock
from bothost.config import BotConfig
from bothost.config.secrets import SecretSources
from bothost.errors import ConfigError, PluginError
from bothost.plugins.api import Tick
from bothost.plugins.discovery import find
from bothost.plugins.event import RunContext
from bothost.plugins.loading import PluginResources, load
from bothost.plugins.store import Store
from bothost.pyrus.envelope import decode
from bothost.pyrus.rest.requests import ApiResponse
from bothost.pyrus_client.api import Pyrus
from bothost.runners import signals
from bothost.runners.local import LIVES, LocalRunner
from bothost.runners.process.log_forwarding import forward
from bothost.runners.process.protocol import (
    ApiCall,
    ApiCallResult,
    CancelRun,
    DataAsk,
    DataResult,
    Frame,
    FrameConnection,
    LoadPlugin,
    PluginLoaded,
    PullPiece,
    RunReturned,
    StartRun,
    TimerMessage,
    UploadPiece,
    WorkEnded,
)
from bothost.telemetry.redaction import Scrubber

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bothost.journal.data import DataRequest
    from bothost.plugins.loading import LoadedPlugin
    from bothost.pyrus.rest.requests import ApiRequest
    from bothost.runners import RunResult
    from bothost.runners.process.log_forwarding import ForwardingHandler

PR_SET_PDEATHSIG = 1
OOM_SCORE = "800"
"""The machine short of memory ends children before the host."""


def end_with(parent: int) -> None:
    """Have the kernel end this process when its parent's starting thread ends; leave at once if that has happened."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main(descriptor: int, parent: int) -> None:
    """Be the child at the other end of this socket until the host closes it."""
    end_with(parent)
    signals.take(signal.SIGINT)
    signals.take(signal.SIGTERM)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, "ascii")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what it prints before it dies is wanted most
    faulthandler.enable()
    forwarding = forward()
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    asyncio.run(_serve(sock, forwarding))


async def _serve(sock: socket.socket, forwarding: ForwardingHandler) -> None:
    served = ChildServer(forwarding)
    sock.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: served.wire, sock=sock)
    await served.over.wait()
    await served.leave()


@dataclass(slots=True)
class ResolvedSecrets(SecretSources):
    """Knows only what the host has resolved of this bot's own settings."""

    resolved: dict[str, bytes] = field(default_factory=dict)

    def resolve(self, text: str) -> bytes:
        """See `SecretSources.resolve`."""
        found = self.resolved.get(text)
        return found if found is not None else SecretSources.resolve(self, text)


class ChildServer:
    """The child's side of the wire."""

    def __init__(self, forwarding: ForwardingHandler) -> None:
        self._forwarding = forwarding
        self.wire = FrameConnection(self._heard, self._lost)
        self.data = HostData(self.wire)
        self.over = asyncio.Event()
        self._runner: LocalRunner | None = None
        self._bot = ""
        self._store: Store | None = None
        self._clock = SystemClock()
        self._runs: dict[int, asyncio.Task[None]] = {}
        self._calls: dict[int, asyncio.Queue[ApiCallResult | PullPiece]] = {}
        self._numbers = 0

    def _lost(self) -> None:
        self.over.set()

    async def leave(self) -> None:
        """End the runs and close the plugin, because the host has closed the connection."""
        for run in self._runs.values():
            run.cancel()
        if self._runner is not None:
            await self._runner.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # threads past their time must not keep it

    def _heard(self, frame: Frame) -> None:
        if isinstance(frame, StartRun):
            task = asyncio.get_running_loop().create_task(self._run(frame))
            self._runs[frame.number] = task
            task.add_done_callback(lambda _done: self._runs.pop(frame.number, None))
        elif isinstance(frame, CancelRun):
            run = self._runs.get(frame.number)
            if run is not None:
                run.cancel()
        elif isinstance(frame, ApiCallResult | PullPiece):
            if frame.number in self._calls:
                self._calls[frame.number].put_nowait(frame)
        elif isinstance(frame, DataResult):
            self.data.heard(frame)
        elif isinstance(frame, LoadPlugin):
            self._opening = asyncio.get_running_loop().create_task(self._open(frame))
            self._opening.add_done_callback(_or_end)

    async def _open(self, hello: LoadPlugin) -> None:
        self._bot = hello.bot
        self._forwarding.forward_from(hello.log_level)
        if hello.memory:
            resource.setrlimit(resource.RLIMIT_AS, (hello.memory, hello.memory))
        try:
            plugged = self._load(hello)
            scrubber = Scrubber()  # the host does not see an exception, whose text may hold a secret of the settings
            for secret in plugged.secrets:
                scrubber.add(secret)
            runner = LocalRunner(plugged, _config(hello), self._clock, scrubber.scrub)
            if not hello.probe:
                await runner.open()
                self._runner = runner
        except ConfigError as error:
            problems = tuple((one.text, one.line, one.section, one.key) for one in error.problems)
            self.wire.send(PluginLoaded(problems=problems))
        except PluginError as error:
            self.wire.send(PluginLoaded(error=str(error), trace="\n".join(getattr(error, "__notes__", ()))))
        else:
            self.wire.send(_report(plugged))
        if hello.probe:
            self.wire.close()

    def _load(self, hello: LoadPlugin) -> LoadedPlugin:
        sources = ResolvedSecrets(Path(hello.base), {}, set(), set(), hello.resolved)
        accounts = {name: HostCallSender(self, 0, name) for name in hello.accounts}
        pyrus = Pyrus(HostCallSender(self, 0), self._clock, accounts=accounts)
        store = self._store = Store(self.data, self._clock)
        return load(_config(hello), find(), PluginResources(self._clock, Path(hello.folder), pyrus, sources, store))

    async def _run(self, wanted: StartRun) -> None:
        assert self._runner is not None
        number = wanted.number
        work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended = partial(_settle, work)
        try:
            if wanted.timer:
                tick = Tick(due=datetime.fromtimestamp(wanted.due, UTC), rerun=wanted.rerun)
                ran = await self._runner.tick(wanted.timer, tick, wanted.limit_s, ended)
            elif wanted.work is not None:
                ran = await self._runner.work(wanted.work, self._context(wanted), wanted.limit_s, ended)
            else:
                envelope = decode(wanted.body)
                ran = await self._runner.run(envelope, self._context(wanted), wanted.limit_s, ended)
            self.wire.send(_ran(number, ran))
        except asyncio.CancelledError:
            return
        finally:
            # behind the frame that tells the result: after a handler has ended, names of its reply may still be looked up
            work.add_done_callback(lambda _done: self.wire.send(WorkEnded(number)))

    def _context(self, wanted: StartRun) -> RunContext:
        return RunContext(
            id=wanted.id,
            bot=self._bot,
            attempt=wanted.attempt,
            rerun=wanted.rerun,
            deadline=datetime.fromtimestamp(wanted.deadline, UTC),
            clock=self._clock,
            user_id=wanted.user_id,
            pyrus=Pyrus(HostCallSender(self, wanted.number), self._clock) if wanted.calls else None,
            trace=wanted.trace,
            store=self._store,
        )

    async def ask(
        self, caller: tuple[int, str], request: ApiRequest, content: Callable[[], AsyncIterator[bytes]] | None
    ) -> AsyncIterator[ApiCallResult]:
        """Have the host make an API call; its answers, of which a stream has several. `caller` is the run and
        the other account in whose name to call."""
        self._numbers += 1
        number = self._numbers
        run, account = caller
        answers = self._calls[number] = asyncio.Queue()
        pieces: AsyncIterator[bytes] | None = None
        try:
            self.wire.send(ApiCall(number, run, msgspec.to_builtins(request), account, sends=content is not None))
            while True:
                frame = await answers.get()
                if isinstance(frame, PullPiece):
                    if frame.anew or pieces is None:
                        assert content is not None
                        pieces = content()
                    self.wire.send(UploadPiece(number, await anext(pieces, b"")))
                    continue
                if frame.error:
                    raise _error(frame)
                yield frame
                if not frame.more:
                    return
                self.wire.send(PullPiece(number))
        finally:
            del self._calls[number]


class HostData:
    """A bot's data as its child has it: the host asks the journal."""

    def __init__(self, wire: FrameConnection) -> None:
        self._wire = wire
        self._numbers = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, space: str, request: DataRequest) -> Any:
        """See `BotData.ask`."""
        self._numbers += 1
        number = self._numbers
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._wire.send(DataAsk(number, space, request))
            return await self._asked[number]
        finally:
            del self._asked[number]

    def heard(self, frame: DataResult) -> None:
        """Hand a result to the caller that asked, unless it has given up."""
        future = self._asked.get(frame.number)
        if future is None or future.done():
            return
        if frame.error:
            kind: type[Exception] = getattr(errors, frame.error)
            future.set_exception(kind(frame.text))
        else:
            future.set_result(frame.value)


class HostCallSender:
    """The `Sender` of a child: the host makes the calls."""

    def __init__(self, served: ChildServer, run: int, account: str = "") -> None:
        self._served = served
        self._caller = (run, account)

    async def send(self, request: ApiRequest, content: Callable[[], AsyncIterator[bytes]] | None = None) -> ApiResponse:
        """See `Sender.send`."""
        async for answer in self._served.ask(self._caller, request, content):
            return ApiResponse(answer.status, answer.headers, answer.body)
        raise errors.CallUnclear("the host gave no answer")

    async def stream(self, request: ApiRequest) -> AsyncIterator[bytes]:
        """See `Sender.stream`."""
        async for answer in self._served.ask(self._caller, request, None):
            if answer.more:
                yield answer.body


def _settle(work: asyncio.Future[None], _returned: bytes = b"") -> None:
    if not work.done():
        work.set_result(None)


def _or_end(step: asyncio.Task[None]) -> None:
    """End the child at a fault of bothost in it, so that the host notices the fault."""
    if not step.cancelled() and step.exception() is not None:
        traceback.print_exception(step.exception())
        sys.stderr.flush()
        os._exit(70)


def _config(hello: LoadPlugin) -> BotConfig:
    return BotConfig(
        name=hello.bot, plugin=hello.plugin, login=hello.login, concurrency=hello.concurrency, settings=hello.settings,
        lines=hello.lines, line=hello.line,
    )  # fmt: skip


def _report(plugged: LoadedPlugin) -> PluginLoaded:
    timers = tuple(
        TimerMessage(spec.name, spec.kind, spec.when, spec.tz, spec.period_s, spec.takes_tick)
        for spec in plugged.timers
    )
    rules = tuple(spec.rule for spec in plugged.hooks)
    return PluginLoaded(plugged.version, plugged.distribution, timers, rules, secrets=plugged.secrets)


def _ran(number: int, ran: RunResult) -> RunReturned:
    failure = ran.failure
    if failure is None:
        return RunReturned(number, ran.reply)
    lives = failure.why == "timeout" and not failure.may_rerun
    text = failure.text.removesuffix(LIVES) + "; its process was ended" if lives else failure.text
    return RunReturned(
        number, why=failure.why, text=text, trace=failure.trace, may_rerun=failure.may_rerun, lives=lives
    )


def _error(answer: ApiCallResult) -> errors.CallError:
    if answer.error == "RateLimited":
        return errors.RateLimited(answer.text, retry_after_s=answer.retry_after_s, status=answer.status)
    kind: Any = getattr(errors, answer.error, errors.CallError)
    made: errors.CallError = kind(answer.text, status=answer.status, code=answer.code)
    return made


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
