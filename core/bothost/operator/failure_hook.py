"""`on_failure`: tell an entry point or a command of every failed event, beside the host's work."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import os
import re
import shlex
import shutil
import signal
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from bothost.background import BackgroundTasks
from bothost.errors import BothostError, PluginError
from bothost.plugins.discovery import load_point
from bothost.text import said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bothost.clock import Clock
    from bothost.journal.entry import Entry

log = logging.getLogger("bothost.on_failure")

GROUP = "bothost.on_failure"
LIMIT_S = 30.0
MOST_WAITING = 1_000
BURST_S = 0.5
"""The seconds for which failures are gathered before the hook is called."""
_AT_ONCE = 2
_KEPT_BYTES = 1200
_END_S = 1.0


class FailureHook(Protocol):
    """Carries one failure out of the host."""

    async def tell(self, failure: dict[str, Any]) -> None:
        """Tell of a failure. May raise any exception."""


class FailureCommand:
    """Runs a command without a shell. The failure is JSON on its standard input."""

    def __init__(self, line: str, environment: Callable[[], Mapping[str, str]] | None) -> None:
        self._words = shlex.split(line)
        self._environment = environment

    @property
    def program(self) -> str:
        """Return the program without its arguments."""
        return self._words[0]

    async def tell(self, failure: dict[str, Any]) -> None:
        """See `FailureHook.tell`; an exit code other than 0 is a failure of the hook."""
        transport, words = await self._started()
        try:
            stdin = transport.get_pipe_transport(0)
            assert isinstance(stdin, asyncio.WriteTransport)
            stdin.write(json.dumps(failure, ensure_ascii=False).encode())
            stdin.write_eof()
            await words.exited.wait()
            with contextlib.suppress(TimeoutError):  # what it left running may hold its pipes
                async with asyncio.timeout(_END_S):
                    await words.said.wait()
        finally:
            if transport.get_returncode() is None:
                await _end(transport, words)
            transport.close()
        if code := transport.get_returncode():
            raise RuntimeError(f"exit code {code}: {words.last.decode('utf-8', 'replace').strip()[-300:]}")

    async def _started(self) -> tuple[asyncio.SubprocessTransport, _LastWords]:
        """Start the command. A cancellation meanwhile waits for the start, because asyncio would leave what it has started alive."""
        starting = asyncio.ensure_future(
            asyncio.get_running_loop().subprocess_exec(
                _LastWords,
                *self._words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment() if self._environment is not None else None,
                start_new_session=True,  # it is ended with all that it has started
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                transport, words = await starting
                await _end(transport, words)
                transport.close()
            raise


class _LastWords(asyncio.SubprocessProtocol):
    """Keeps the end of what a command prints to stderr, because it may print more than this process has memory for."""

    def __init__(self) -> None:
        self.last = b""
        self.exited = asyncio.Event()
        self.said = asyncio.Event()
        """Set when it has ended, and everything that it printed was read."""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """See `asyncio.SubprocessProtocol`; stderr is the only pipe that is read."""
        del fd
        self.last = (self.last + data)[-_KEPT_BYTES:]

    def process_exited(self) -> None:
        """See `asyncio.SubprocessProtocol`."""
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.SubprocessProtocol`."""
        del exc
        self.said.set()


async def _end(transport: asyncio.SubprocessTransport, words: _LastWords) -> None:
    """Kill a command with what it has started. What has left its session may hold the pipes, so nobody waits for their end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(transport.get_pid(), signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await words.exited.wait()


class FailureFunction:
    """Calls a function of an installed package: an async one on the loop, a plain one in a thread.

    Plain ones have threads of their own, because those that never end would take the host's.
    """

    def __init__(self, function: Callable[[dict[str, Any]], Any], clock: Clock) -> None:
        self._function = function
        self._clock = clock
        self._threads = ThreadPoolExecutor(_AT_ONCE, "bothost-on-failure")

    async def tell(self, failure: dict[str, Any]) -> None:
        """See `FailureHook.tell`. Raises PluginError for what is no Exception, such as SystemExit: it would end the loop."""
        task = asyncio.current_task()
        try:
            if inspect.iscoroutinefunction(self._function):
                await self._function(failure)
                return
            with self._clock.real_io():
                answer, error = await asyncio.get_running_loop().run_in_executor(
                    self._threads, _called, self._function, failure
                )
            if error is not None:
                raise error
            if inspect.isawaitable(answer):
                await answer
        except BaseException as error:  # around a plugin
            if isinstance(error, Exception) or (task is not None and task.cancelling()):
                raise
            raise PluginError(said(error)) from error


def _called(function: Callable[[dict[str, Any]], Any], failure: dict[str, Any]) -> tuple[Any, BaseException | None]:
    """Call a function in a thread, and return what it returned or raised: not every exception goes through a future."""
    try:
        return function(failure), None
    except BaseException as error:  # noqa: BLE001 - a plugin's code
        return None, error


def hook_of(
    setting: str, clock: Clock, environment: Callable[[], Mapping[str, str]] | None = None
) -> FailureHook | None:
    """Return the hook that [host] on_failure names; None if it names none that works. A problem is logged now, not at the first
    failure. `environment` is asked at each call of a command; None means this process's own.
    """
    hook, trouble = find_hook(setting, clock, environment)
    if trouble:
        log.error("[host] on_failure: %s", trouble)
    return hook


def find_hook(
    setting: str, clock: Clock, environment: Callable[[], Mapping[str, str]] | None = None, group: str = GROUP
) -> tuple[FailureHook | None, str]:
    """Return the entry point or else the command of this name, and what is wrong with it ("" if nothing).

    A command that cannot be run at present is a hook too, because it may be installed later.
    """
    if not setting:
        return None, ""
    try:
        if len(setting.split()) == 1:
            from importlib_metadata import entry_points

            for point in entry_points(group=group, name=setting):
                return FailureFunction(load_point(point), clock), ""
        command = FailureCommand(setting, environment)
    except Exception as error:  # noqa: BLE001 - around a plugin's import: the host serves without its hook
        told = str(error) if isinstance(error, BothostError) else said(error)
        return None, f"{setting} cannot be used: {told}"
    if shutil.which(command.program) is None:
        return command, f"{setting} is neither an entry point of group {group} nor a command that can be run"
    return command, ""


def _kind(entry: Entry) -> tuple[str, str]:
    """Return the bot and what happened, without the numbers in it: alike failures are told together."""
    return entry.bot, re.sub(r"\d+", "#", entry.error.partition("\n")[0])


def described(entry: Entry, alike: Sequence[Entry] = ()) -> dict[str, Any]:
    """Return the facts that a hook gets. They hold neither body nor token; secrets in the error were replaced when it was stored."""
    error, _, trace = entry.error.partition("\n")
    return {
        "id": entry.id,
        "bot": entry.bot,
        "kind": entry.kind,
        "task": entry.task,
        "error": error,
        "trace": trace,
        "runs": entry.runs,
        "attempts": entry.seen,
        "plugin_version": entry.version,
        "created": entry.created,
        "failed": entry.updated,
        "count": 1 + len(alike),
        "first": min(one.updated for one in (entry, *alike)),
        "last": max(one.updated for one in (entry, *alike)),
        "traceparent": entry.trace,
    }


class FailureNotifier:
    """Tells the hook in the background. Beyond a thousand waiting failures it only counts them. Used on the loop."""

    def __init__(self, hook: FailureHook | None, burst_s: float = BURST_S) -> None:
        self._hook = hook
        self._burst_s = burst_s
        self._waiting: deque[Entry] = deque()
        self._workers = BackgroundTasks()
        self._dropped = 0

    def tell(self, entry: Entry) -> None:
        """Take a failed event. Returns at once."""
        if self._hook is None:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._dropped += 1
            return
        self._waiting.append(entry)
        if len(self._workers) < _AT_ONCE:
            self._workers.spawn(self._work())

    async def stop(self, limit_s: float = 5.0) -> None:
        """Wait up to `limit_s` for what is under way, then end."""
        await self._workers.wait(limit_s)
        await self._workers.stop()

    async def _work(self) -> None:
        # a burst, such as a bad release makes, is told as one
        await asyncio.sleep(self._burst_s)
        while self._waiting:
            entry = self._waiting.popleft()
            alike = [other for other in self._waiting if _kind(other) == _kind(entry)]
            for other in alike:
                self._waiting.remove(other)
            hook = self._hook
            if hook is None:
                return
            try:
                async with asyncio.timeout(LIMIT_S):
                    await hook.tell(described(entry, alike))
            except TimeoutError:
                log.warning(
                    "on_failure took longer than %.0f s for %s",
                    LIMIT_S,
                    entry.id,
                    extra={"bot": entry.bot, "event": entry.id},
                )
            except Exception as error:  # noqa: BLE001 - around a plugin: a broken hook must not hurt the host
                log.warning(
                    "on_failure could not be told of %s: %s",
                    entry.id,
                    said(error),
                    extra={"bot": entry.bot, "event": entry.id},
                )
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.warning("on_failure was not told of %d failed events: they came faster than it works", dropped)
