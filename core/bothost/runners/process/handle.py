"""Handle one child process that is up: its runs, and the host's end of the connection to it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from bothost.background import reserve
from bothost.errors import CallError, CallUnsent, JournalError, RateLimited, StoreError
from bothost.pyrus.rest.requests import ApiRequest
from bothost.runners import RunFailure, RunResult
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
    UploadPiece,
    WorkEnded,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bothost.journal.data import BotData
    from bothost.pyrus_client.api import CallSender, Pyrus
    from bothost.runners import RunEnded
    from bothost.runners.process.spawner import Spawner, StartedProcess

log = logging.getLogger("bothost.children")

GRACE_S = 2.0
"""An async run past its time is cancelled; what has not ended after this ends with the child."""


class PendingRun:
    """A run under way in a child, with the future of its outcome, and the time by which its work must have ended."""

    __slots__ = ("ended", "future", "pyrus", "timer")

    def __init__(self, ended: RunEnded, pyrus: Pyrus | None, timer: asyncio.TimerHandle) -> None:
        self.future: asyncio.Future[RunResult] = asyncio.get_running_loop().create_future()
        self.ended = ended
        self.pyrus = pyrus
        self.timer = timer

    def settle(self, ran: RunResult) -> None:
        """Give the outcome to the waiting caller, unless it has one already."""
        if not self.future.done():
            self.future.set_result(ran)

    def end(self) -> None:
        """Note that the run's work has really ended."""
        self.timer.cancel()
        self.ended()


class ChildProcess:
    """A child process; its death fails every run that is in it."""

    def __init__(
        self,
        bot: str,
        process: StartedProcess,
        wire: FrameConnection,
        own_pyrus: Pyrus | None,
        own_data: BotData | None,
    ) -> None:
        self.bot = bot
        self.own_pyrus = own_pyrus
        """The sender of `self.pyrus` of the plugin, whose calls belong to no run."""
        self.own_data = own_data
        """The data of `self.store` of the plugin."""
        self.process = process
        self.wire = wire
        self.runs: dict[int, PendingRun] = {}
        self.ready: asyncio.Future[PluginLoaded] = asyncio.get_running_loop().create_future()
        self.calls: set[asyncio.Task[None]] = set()
        self.streams: dict[int, asyncio.Queue[PullPiece | UploadPiece]] = {}
        self._leaving = False
        self.killed_for = ""
        """The reason why the host itself ended it."""

    @classmethod
    async def start(
        cls, spawner: Spawner, hello: LoadPlugin, own_pyrus: Pyrus | None, own_data: BotData | None = None
    ) -> ChildProcess:
        """Start one and tell it who it is."""
        process = await spawner.start(hello.bot)
        holder: list[ChildProcess] = []
        loop = asyncio.get_running_loop()
        process.sock.setblocking(False)
        _, wire = await loop.create_connection(
            lambda: FrameConnection(lambda frame: holder[0].heard(frame), lambda: holder[0].lost()),  # noqa: PLW0108 - not there yet
            sock=process.sock,
        )
        child = cls(hello.bot, process, wire, own_pyrus, own_data)
        holder.append(child)
        process.ended.add_done_callback(lambda _ended: child.lost())
        wire.send(hello)
        return child

    async def run(self, wanted: StartRun, pyrus: Pyrus | None, ended: RunEnded) -> RunResult:
        """Have it run; what has not ended a while after its time ends with the child."""
        if self.process.ended.done():
            ended()
            return RunResult(failure=self._death())
        timer = asyncio.get_running_loop().call_later(wanted.limit_s + GRACE_S, self._overran, wanted)
        run = self.runs[wanted.number] = PendingRun(ended, pyrus, timer)
        self.wire.send(wanted)
        try:
            return await asyncio.shield(run.future)
        except asyncio.CancelledError:
            self.wire.send(CancelRun(wanted.number))
            raise

    def _overran(self, wanted: StartRun) -> None:
        """End the child, because a run neither ended nor was cancelled. All other runs in it end too."""
        text = f"[bot:{self.bot}] did not end within {wanted.limit_s:g} s; its process was ended"
        self.runs[wanted.number].settle(RunResult(failure=RunFailure("timeout", text)))
        self.end("it was ended, because one of its runs did not end in time")

    def heard(self, frame: Frame) -> None:
        """Handle a frame from the child."""
        if isinstance(frame, RunReturned):
            self._ran(frame)
        elif isinstance(frame, WorkEnded):
            run = self.runs.pop(frame.number, None)
            if run is not None:
                run.end()
        elif isinstance(frame, ApiCall | DataAsk):
            work = self._call(frame) if isinstance(frame, ApiCall) else self._give_data(frame)
            task = reserve(asyncio.get_running_loop().create_task(work))
            self.calls.add(task)
            task.add_done_callback(self._called)
        elif isinstance(frame, PullPiece | UploadPiece):
            stream = self.streams.get(frame.number)
            if stream is not None:  # else it crossed with the end of its call
                stream.put_nowait(frame)
        elif isinstance(frame, PluginLoaded) and not self.ready.done():
            self.ready.set_result(frame)

    def _ran(self, frame: RunReturned) -> None:
        run = self.runs.get(frame.number)
        if run is None:
            return
        if not frame.why:
            run.settle(RunResult(frame.reply))
            return
        # what lives on although its time is up ends here, so that the event may run again
        may_rerun = frame.may_rerun or frame.lives
        run.settle(RunResult(failure=RunFailure(frame.why, frame.text, frame.trace, may_rerun)))  # type: ignore[arg-type]
        if frame.lives:
            self.end("it was ended, because one of its runs did not end in time")

    def _called(self, call: asyncio.Task[None]) -> None:
        self.calls.discard(call)
        if not call.cancelled() and (error := call.exception()) is not None:
            # who asked would wait for ever
            log.error("a fault of bothost in a child's call", exc_info=error, extra={"bot": self.bot})
            self.end(f"it was ended, because bothost failed in one of its calls: {type(error).__name__}")

    async def _call(self, frame: ApiCall) -> None:
        """Make an API call for the child: token, rate limit and fence are the host's."""
        run = self.runs.get(frame.run)
        self.streams[frame.number] = asyncio.Queue()
        try:
            pyrus = self.own_pyrus if not frame.run else run.pyrus if run is not None else None
            if pyrus is None:
                raise CallUnsent("the run is over, or its bot has no API access")
            pyrus = pyrus.as_account(frame.account) if frame.account else pyrus
            async for answer in self._answers(frame, pyrus.sender):
                self.wire.send(answer)
        except CallError as error:
            retry_after_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
            self.wire.send(
                ApiCallResult(
                    frame.number, error=type(error).__name__, text=str(error), status=error.status, code=error.code,
                    retry_after_s=retry_after_s,
                )
            )  # fmt: skip
        finally:
            del self.streams[frame.number]

    async def _give_data(self, frame: DataAsk) -> None:
        """Ask the journal for the child's plugin."""
        try:
            if self.own_data is None:
                raise StoreError(f"[bot:{self.bot}] has no store here: there is no journal")
            value = await self.own_data.ask(frame.space, frame.request)
        except (StoreError, JournalError) as error:
            self.wire.send(DataResult(frame.number, error=type(error).__name__, text=str(error)))
        else:
            self.wire.send(DataResult(frame.number, value))

    async def _answers(self, frame: ApiCall, sender: CallSender) -> AsyncIterator[ApiCallResult]:
        number = frame.number
        request = msgspec.convert(frame.request, ApiRequest)
        if request.stream == "down":
            async with aclosing(sender.stream(request)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    yield ApiCallResult(number, body=piece, more=True)
                    await self.streams[number].get()
            yield ApiCallResult(number)
            return
        response = await sender.send(request, (lambda: self._pulled(number)) if frame.sends else None)
        yield ApiCallResult(number, status=response.status, headers=dict(response.headers), body=response.body)

    async def _pulled(self, number: int) -> AsyncIterator[bytes]:
        """Yield the body that the child sends, anew for each try."""
        anew = True
        while True:
            self.wire.send(PullPiece(number, anew=anew))
            anew = False
            piece = await self.streams[number].get()
            if not isinstance(piece, UploadPiece) or not piece.body:
                return
            yield piece.body

    def lost(self) -> None:
        """Fail every run in the child, because the connection has closed or the process has ended."""
        self.wire.close()
        if not self.process.ended.done():
            if not self._leaving:
                self.process.kill()
            return
        if not self.ready.done():
            self.ready.set_result(PluginLoaded(error=f"its process died while it started: {self._cause()}"))
        for call in self.calls:
            call.cancel()
        runs, self.runs = self.runs, {}
        for run in runs.values():
            run.settle(RunResult(failure=self._death()))
            run.end()

    def _cause(self) -> str:
        return self.killed_for or self.process.ended.result()

    def _death(self) -> RunFailure:
        return RunFailure("died", f"[bot:{self.bot}] its process died: {self._cause()}")

    async def leave(self, within_s: float) -> None:
        """Let it close the plugin and end; after so long it is ended."""
        self._leaving = True
        self.wire.close()
        try:
            async with asyncio.timeout(within_s):
                await asyncio.shield(self.process.ended)
        except TimeoutError:
            log.warning("its close() did not end in time", extra={"bot": self.bot})
        finally:
            self.end("the host closed it")

    def end(self, why: str) -> None:
        """End it now, with all runs in it."""
        self.killed_for = self.killed_for or why
        self.process.kill()
