"""The child of `bothost rehearse`: run stored events through the installed plugin, at their own time, and give the replies back.

The first line in names the bot. Then each event is one JSON line in and one out. Nothing is posted: the API knows the event's
own task, accepts comments on it without writing them, and refuses everything else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.cli.sandbox import EscapeGuard, take_network_away
from bothost.cli.selection import bot_named, read_existing
from bothost.clock import SystemClock
from bothost.config.secrets import SecretSources
from bothost.errors import BothostError
from bothost.journal.data import ListJobs, ListValues, ReadOnlyData, ReadValue, WaitingJob
from bothost.plugins.discovery import find
from bothost.plugins.event import RunContext
from bothost.plugins.loading import PluginResources, load
from bothost.plugins.store import Store
from bothost.pyrus.envelope import decode
from bothost.pyrus.rest.requests import ApiResponse
from bothost.pyrus_client.api import Pyrus
from bothost.runners.local import LocalRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import IO

    from bothost.config import BotConfig
    from bothost.journal.data import BotData, DataRequest
    from bothost.pyrus.envelope import Envelope
    from bothost.pyrus.rest.requests import ApiRequest


class RehearsedEvent(msgspec.Struct):
    """One event as the journal holds it. `body` in base64; `created` in epoch seconds."""

    id: str
    body: str
    created: float
    rerun: str = ""
    user_id: int | None = None


class RehearsalResult(msgspec.Struct):
    """The result of one event. `reply` is JSON. `left` names the ways out of the process that its handler tried."""

    id: str
    reply: str = "{}"
    error: str = ""
    left: tuple[str, ...] = ()


RESULTS: dict[type, Any] = {
    ReadValue: bytes | None,
    ListValues: list[tuple[str, bytes, float]],
    ListJobs: list[WaitingJob],
}
"""The type of the result, by the request."""


class DataQuestion(msgspec.Struct, frozen=True):
    """A question of the child about the journal, to its parent."""

    space: str
    request: ReadValue | ListValues | ListJobs


@dataclass(frozen=True, slots=True)
class ParentData:
    """The bot's data in a rehearsal; see `BotData`. The parent, which has the journal, is asked in between."""

    lines: IO[bytes]
    out: IO[bytes]

    async def ask(self, space: str, request: DataRequest) -> Any:
        """See `BotData.ask`; only what reads is asked."""
        assert isinstance(request, ReadValue | ListValues | ListJobs)
        self.out.write(msgspec.json.encode(DataQuestion(space, request)) + b"\n")
        self.out.flush()
        value = msgspec.json.decode(self.lines.readline())["value"]
        return msgspec.convert(value, RESULTS[type(request)])


class EventClock(SystemClock):
    """The system's clock, shifted to the time of the event that is rehearsed."""

    def __init__(self) -> None:
        self._shift = timedelta(0)

    def now(self) -> datetime:
        """See `Clock.now`."""
        return super().now() + self._shift

    def epoch(self) -> float:
        """See `Clock.epoch`."""
        return self.now().timestamp()

    def put(self, epoch_s: float) -> None:
        """Set the clock to this moment."""
        self._shift = datetime.fromtimestamp(epoch_s, UTC) - super().now()


@dataclass(frozen=True, slots=True)
class PyrusStub:
    """Replace Pyrus for the handler (see `api.CallSender`). It knows one task."""

    envelope: Envelope | None
    exits: EscapeGuard

    async def send(self, request: ApiRequest, content: Callable[[], AsyncIterator[bytes]] | None = None) -> ApiResponse:
        """Return the event's task to a call that reads it or comments on it. Raises SandboxEscape for every other call."""
        task_id = self.envelope.task_id if self.envelope is not None else 0
        own = {f"GET tasks/{task_id}", f"POST tasks/{task_id}/comments"}
        if self.envelope is None or content is not None or request.title not in own:
            raise self.exits.refuse(request.title)
        task = dict(self.envelope.raw.get("task") or {"id": task_id})
        return ApiResponse(200, body=msgspec.json.encode({"task": task}))

    def stream(self, request: ApiRequest) -> AsyncIterator[bytes]:
        """Refuse, because files are not rehearsed."""
        raise self.exits.refuse(request.title)


class RehearsalRunner:
    """Runs one bot's plugin on the loop of this child."""

    def __init__(self, config: BotConfig, folder: Path, exits: EscapeGuard, data: BotData) -> None:
        self.clock = EventClock()
        self._config = config
        self._exits = exits
        sources = SecretSources(Path(config.file).absolute().parent, os.environ)
        pyrus = Pyrus(PyrusStub(None, exits), self.clock)
        self._store = Store(ReadOnlyData(data), self.clock)
        plugged = load(config, find(), PluginResources(self.clock, folder, pyrus, sources, self._store))
        self.runner = LocalRunner(plugged, config, self.clock)

    async def play(self, stored: RehearsedEvent) -> RehearsalResult:
        """Run the handler for one event."""
        self._exits.tried.clear()
        self.clock.put(stored.created)
        envelope = decode(base64.b64decode(stored.body))
        limit_s = self._config.timeout_s
        context = RunContext(
            id=stored.id,
            bot=self._config.name,
            attempt=1,
            rerun=stored.rerun,
            deadline=self.clock.now() + timedelta(seconds=limit_s),
            clock=self.clock,
            user_id=stored.user_id if envelope.user_id is None else envelope.user_id,
            pyrus=Pyrus(PyrusStub(envelope, self._exits), self.clock),
            rehearsal=True,
            store=self._store,
        )
        ran = await self.runner.run(envelope, context, limit_s, _nothing)
        left = tuple(dict.fromkeys(self._exits.tried))
        if ran.failure is not None:
            return RehearsalResult(stored.id, error=ran.failure.text, left=left)
        return RehearsalResult(stored.id, reply=ran.reply.decode(), left=left)


def _nothing(returned: bytes = b"") -> None:
    del returned


async def rehearse(lines: IO[bytes], out: IO[bytes], config: BotConfig, exits: EscapeGuard) -> None:
    """Open the plugin, run all events that come in one after the other, close it."""
    with tempfile.TemporaryDirectory(prefix="bothost-rehearsal-") as folder:
        runner = RehearsalRunner(config, Path(folder), exits, ParentData(lines, out))
        await runner.runner.open()
        while line := lines.readline():
            told = await runner.play(msgspec.json.decode(line, type=RehearsedEvent))
            out.write(msgspec.json.encode(told) + b"\n")
            out.flush()
        await runner.runner.close()


def main() -> None:
    """Run the program `python -m bothost.cli.rehearse_child`."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing the plugin prints is taken for a result
    asked: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    exits = EscapeGuard()
    try:
        config = bot_named(asked["bot"], read_existing(asked["config"]))
        alone = take_network_away()
        asyncio.run(begin(out, config, exits, alone=alone))
    except BothostError as error:
        out.write(msgspec.json.encode({"error": str(error)}) + b"\n")
        out.flush()
        sys.exit(1)


async def begin(out: IO[bytes], config: BotConfig, exits: EscapeGuard, *, alone: bool) -> None:
    """Say how this child is kept off the network, and rehearse. The hook comes after the loop, which makes sockets of its own."""
    out.write(msgspec.json.encode({"alone": alone}) + b"\n")
    out.flush()
    exits.watch()
    await rehearse(sys.stdin.buffer, out, config, exits)


if __name__ == "__main__":
    main()
