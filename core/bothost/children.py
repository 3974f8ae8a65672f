"""`run = process`: a bot's plugin in a child process of its own; `os._exit`, a segfault or a runaway is that bot's trouble only.

The pools at hand do not do: ProcessPoolExecutor loses all calls with one death and cannot end a runaway, pebble runs one at
a time. This one has concurrency inside the child, API calls back to the host, and the cause of a death (docs/decisions).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from bothost.errors import CallError, CallUnsent, ConfigError, PluginError, Problem, RateLimited
from bothost.pyrus.calls import Request
from bothost.runner import Failure, Ran
from bothost.wire import Answer, CallWire, Cancel, Ended, Frame, Hello, Piece, Pull, RanWire, Ready, RunWire, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bothost.api import Pyrus, Sender
    from bothost.clock import Clock
    from bothost.event import Context
    from bothost.plugin_api import Tick
    from bothost.pyrus.events import Envelope
    from bothost.spawn import Process, Spawner

log = logging.getLogger("bothost.children")

GRACE_S = 2.0
"""An async run past its time is cancelled; what has not ended after this ends with the child."""
READY_S = 60.0
DEATHS_AT_MOST = 3
WITHIN_S = 3600.0
"""This many deaths within this time, and the bot is quarantined."""
BACKOFF_S = (0.2, 1.0, 5.0)


class Pending:
    """A run that a child is at."""

    __slots__ = ("ended", "future", "pyrus")

    def __init__(self, future: asyncio.Future[Ran], ended: Callable[[], None], pyrus: Pyrus | None) -> None:
        self.future = future
        self.ended = ended
        self.pyrus = pyrus


class Child:
    """One child process that is up: what runs in it, and its end of the wire."""

    def __init__(self, bot: str, process: Process, wire: Wire, own_pyrus: Pyrus | None) -> None:
        self.bot = bot
        self.own_pyrus = own_pyrus
        """For `self.pyrus` of the plugin: calls in no run's name."""
        self.process = process
        self.wire = wire
        self.runs: dict[int, Pending] = {}
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.calls: set[asyncio.Task[None]] = set()
        self.streams: dict[int, asyncio.Queue[Pull | Piece]] = {}
        self.killed_for = ""
        """Why the host itself ended it."""

    @classmethod
    async def start(cls, spawner: Spawner, hello: Hello, own_pyrus: Pyrus | None) -> Child:
        """Start one and tell it who it is."""
        process = await spawner.start(hello.bot)
        holder: list[Child] = []
        loop = asyncio.get_running_loop()
        process.sock.setblocking(False)
        _, wire = await loop.create_connection(
            lambda: Wire(lambda frame: holder[0].heard(frame), lambda: holder[0].lost()),  # noqa: PLW0108 - not there yet
            sock=process.sock,
        )
        child = cls(hello.bot, process, wire, own_pyrus)
        holder.append(child)
        process.ended.add_done_callback(lambda _ended: child.lost())
        wire.send(hello)
        return child

    def heard(self, frame: Frame) -> None:
        """A frame from the child."""
        if isinstance(frame, RanWire):
            self._ran(frame)
        elif isinstance(frame, Ended):
            run = self.runs.pop(frame.number, None)
            if run is not None:
                run.ended()
        elif isinstance(frame, CallWire):
            task = asyncio.get_running_loop().create_task(self._call(frame))
            self.calls.add(task)
            task.add_done_callback(self.calls.discard)
        elif isinstance(frame, Pull | Piece):
            self.streams[frame.number].put_nowait(frame)
        elif isinstance(frame, Ready) and not self.ready.done():
            self.ready.set_result(frame)

    def _ran(self, frame: RanWire) -> None:
        run = self.runs.get(frame.number)
        if run is None or run.future.done():
            return
        if frame.why:
            failure = Failure(frame.why, frame.text, frame.trace, frame.may_rerun)  # type: ignore[arg-type]
            run.future.set_result(Ran(failure=failure))
        else:
            run.future.set_result(Ran(frame.reply))

    async def _call(self, frame: CallWire) -> None:
        """Make an API call for the child: token, rate limit and fence are the host's."""
        run = self.runs.get(frame.run)
        self.streams[frame.number] = asyncio.Queue()
        try:
            pyrus = self.own_pyrus if not frame.run else run.pyrus if run is not None else None
            if pyrus is None:
                raise CallUnsent("the run is over, or its bot has no API access")
            async for answer in self._answers(frame, pyrus.sender):
                self.wire.send(answer)
        except CallError as error:
            retry_after_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
            self.wire.send(
                Answer(
                    frame.number, error=type(error).__name__, text=str(error), status=error.status, code=error.code,
                    retry_after_s=retry_after_s,
                )
            )  # fmt: skip
        finally:
            del self.streams[frame.number]

    async def _answers(self, frame: CallWire, sender: Sender) -> AsyncIterator[Answer]:
        number = frame.number
        request = msgspec.convert(frame.request, Request)
        if request.stream == "down":
            async with aclosing(sender.stream(request)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    yield Answer(number, body=piece, more=True)
                    await self.streams[number].get()
            yield Answer(number)
            return
        response = await sender.send(request, (lambda: self._pulled(number)) if frame.sends else None)
        yield Answer(number, status=response.status, headers=dict(response.headers), body=response.body)

    async def _pulled(self, number: int) -> AsyncIterator[bytes]:
        """The body that the child sends, anew for each try."""
        anew = True
        while True:
            self.wire.send(Pull(number, anew=anew))
            anew = False
            piece = await self.streams[number].get()
            if not isinstance(piece, Piece) or not piece.body:
                return
            yield piece.body

    def lost(self) -> None:
        """The wire has closed or the process has ended: every run in it has died."""
        self.wire.close()
        if not self.process.ended.done():
            self.process.kill()
            return
        cause = self.killed_for or self.process.ended.result()
        if not self.ready.done():
            self.ready.set_result(Ready(error=f"its process died while it started: {cause}"))
        for call in self.calls:
            call.cancel()
        runs, self.runs = self.runs, {}
        for run in runs.values():
            if not run.future.done():
                run.future.set_result(Ran(failure=Failure("died", f"[bot:{self.bot}] its process died: {cause}")))
            run.ended()

    def end(self, why: str) -> None:
        """End it now, and whatever runs in it."""
        self.killed_for = why
        self.process.kill()


class ChildRunner:
    """Runs one bot's plugin in a child, which starts at the first event and comes back after a death."""

    def __init__(
        self, hello: Hello, spawner: Spawner, clock: Clock, quarantine: Callable[[str], None], pyrus: Pyrus | None
    ) -> None:
        self._hello = hello
        self._spawner = spawner
        self._clock = clock
        self._quarantine = quarantine
        self._pyrus = pyrus
        self._child: Child | None = None
        self._starting: asyncio.Task[Child] | None = None
        self._numbers = 0
        self._deaths: deque[float] = deque(maxlen=DEATHS_AT_MOST)
        self._closing = False
        self.report = Ready()
        """What the plugin said of itself when it was looked at: version, timers."""

    async def open(self) -> None:
        """Have a child load the plugin and report; it ends then. Raises PluginError or ConfigError as the host would."""
        probe = msgspec.structs.replace(self._hello, probe=True)
        try:
            child = await Child.start(self._spawner, probe, self._pyrus)
            async with asyncio.timeout(READY_S):
                ready = await child.ready
        except TimeoutError:
            child.end("it did not load its plugin in time")
            raise PluginError(
                f"[bot:{self._hello.bot}] its process did not load the plugin within {READY_S:.0f} s"
            ) from None
        except OSError as error:
            raise PluginError(f"[bot:{self._hello.bot}] no process can be started: {error}") from error
        child.wire.close()
        await child.process.ended
        _raise(self._hello.bot, ready)
        self.report = ready

    async def run(self, envelope: Envelope, context: Context, limit_s: float, ended: Callable[[], None]) -> Ran:
        """See `Runner.run`."""
        self._numbers += 1
        wanted = RunWire(
            self._numbers, envelope.body, id=context.id, attempt=context.attempt, rerun=context.rerun,
            deadline=context.deadline.timestamp(), limit_s=limit_s, user_id=context.user_id,
            calls=context.pyrus is not None, trace=context.trace,
        )  # fmt: skip
        return await self._have_run(wanted, context.pyrus, ended)

    async def tick(self, timer: str, tick: Tick, limit_s: float, ended: Callable[[], None]) -> Ran:
        """See `Runner.tick`."""
        self._numbers += 1
        wanted = RunWire(
            self._numbers,
            timer=timer,
            due=tick.due.timestamp(),
            rerun=tick.rerun,
            limit_s=limit_s,
            calls=False,
        )
        return await self._have_run(wanted, None, ended)

    async def _have_run(self, wanted: RunWire, pyrus: Pyrus | None, ended: Callable[[], None]) -> Ran:
        try:
            child = await self._up()
        except (PluginError, ConfigError) as error:
            ended()
            return Ran(failure=Failure("died", str(error)))
        except BaseException:
            ended()
            raise
        future: asyncio.Future[Ran] = asyncio.get_running_loop().create_future()
        child.runs[wanted.number] = Pending(future, ended, pyrus)
        child.wire.send(wanted)
        try:
            async with asyncio.timeout(wanted.limit_s + GRACE_S):
                return await asyncio.shield(future)
        except TimeoutError:
            return self._overran(child, wanted)
        except asyncio.CancelledError:
            child.wire.send(Cancel(wanted.number))
            raise

    def _overran(self, child: Child, wanted: RunWire) -> Ran:
        """Neither cancelled nor ended: the child goes, and with it all that runs there."""
        text = f"[bot:{child.bot}] did not end within {wanted.limit_s:g} s; its process was ended"
        child.end("it was ended, for one of its runs did not end in time")
        return Ran(failure=Failure("timeout", text))

    async def _up(self) -> Child:
        if self._child is not None and not self._child.killed_for:
            return self._child
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
            self._starting.add_done_callback(lambda _done: setattr(self, "_starting", None))
        return await asyncio.shield(self._starting)

    async def _start(self) -> Child:
        if self._deaths:
            await asyncio.sleep(BACKOFF_S[min(len(self._deaths), len(BACKOFF_S)) - 1])
        try:
            child = await Child.start(self._spawner, self._hello, self._pyrus)
        except OSError as error:
            raise PluginError(f"[bot:{self._hello.bot}] no process can be started: {error}") from error
        _raise(self._hello.bot, await child.ready)
        self._child = child
        child.process.ended.add_done_callback(lambda ended: self._died(child, ended.result()))
        if child.process.ended.done():
            self._child = None
        return child

    def _died(self, child: Child, cause: str) -> None:
        if self._child is child:
            self._child = None
        if self._closing:
            return
        now = self._clock.monotonic()
        self._deaths.append(now)
        log.error("its process died: %s", child.killed_for or cause, extra={"bot": child.bot})
        if len(self._deaths) == DEATHS_AT_MOST and now - self._deaths[0] <= WITHIN_S:
            self._quarantine(f"its process died {DEATHS_AT_MOST} times within an hour; the last time {cause}")

    async def close(self) -> None:
        """End the child, after it has closed the plugin; it has two seconds for that."""
        self._closing = True
        child = self._child
        if child is None:
            return
        child.wire.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await asyncio.shield(child.process.ended)
        child.end("the host closed it")

    def held(self) -> tuple[str, ...]:
        """See `Runner.held`; a child's threads end with it."""
        return ()


def _raise(bot: str, ready: Ready) -> None:
    if ready.problems:
        problems = (Problem(text, file, line, section, key) for text, file, line, section, key in ready.problems)
        raise ConfigError(tuple(problems))
    if ready.error:
        raise PluginError(ready.error if ready.error.startswith("[bot:") else f"[bot:{bot}] {ready.error}")
