"""The messages between the host and a child process, and the connection that carries them at both ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import msgspec

from bothost.journal.data import DataRequest  # noqa: TC001 - msgspec reads the annotation
from bothost.plugins.hook_methods import HookRule  # noqa: TC001 - msgspec reads the annotation
from bothost.runners import HookRun, JobRun  # noqa: TC001 - msgspec reads the annotation
from bothost.runners.process.framing import FrameReader, pack

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 1 << 30


class LoadPlugin(msgspec.Struct, tag="hello", frozen=True):
    """The host's first frame: what a child must know of its bot. `probe`: load, report, end."""

    bot: str
    plugin: str
    settings: dict[str, str]
    lines: dict[str, int]
    line: int
    login: str
    base: str
    """The folder to which paths in the settings are relative."""
    resolved: dict[str, bytes]
    """The values behind env: and file: in this bot's own settings. The child cannot get them in another way."""
    folder: str
    """The bot's own folder under `state`."""
    concurrency: int
    memory: int = 0
    accounts: tuple[str, ...] = ()
    """The names of the accounts that the plugin may call as."""
    probe: bool = False
    log_level: int = logging.INFO
    """From which on the child tells the host what it logs."""


class TimerMessage(msgspec.Struct, frozen=True):
    """A timer of the child's plugin."""

    name: str
    kind: str
    when: str
    tz: str
    period_s: float
    takes_tick: bool


class PluginLoaded(msgspec.Struct, tag="ready", frozen=True):
    """The child has loaded and opened its plugin; or it could not, and `error` says why."""

    version: str = ""
    distribution: str = ""
    timers: tuple[TimerMessage, ...] = ()
    hooks: tuple[HookRule, ...] = ()
    error: str = ""
    trace: str = ""
    """The traceback of the plugin, where it raised the error."""
    problems: tuple[tuple[str, int, str, str], ...] = ()
    """(text, line, section, key) of each wrong setting; which file that is, the child does not know."""
    secrets: tuple[str, ...] = ()
    """The values of settings of type Secret. The host hides them in whatever the child says."""


class StartRun(msgspec.Struct, tag="run", frozen=True):
    """Run a handler (`timer` empty) or a timer method."""

    number: int
    body: bytes = b""
    timer: str = ""
    due: float = 0.0
    id: str = ""
    attempt: int = 1
    rerun: str = ""
    deadline: float = 0.0
    limit_s: float = 0.0
    user_id: int | None = None
    calls: bool = True
    trace: str = ""
    work: JobRun | HookRun | None = None
    """Run this instead of a handler or a timer."""


class CancelRun(msgspec.Struct, tag="cancel", frozen=True):
    """Cancel a run; an async one ends, a plain one's result is dropped."""

    number: int


class RunReturned(msgspec.Struct, tag="ran", frozen=True):
    """Says how a run ended. If `why` is empty, it returned."""

    number: int
    reply: bytes = b"{}"
    why: str = ""
    text: str = ""
    trace: str = ""
    may_rerun: bool = True
    lives: bool = False
    """Its time is up and it has not ended: only the end of the process ends it."""


class WorkEnded(msgspec.Struct, tag="ended", frozen=True):
    """The work of a run has really ended."""

    number: int


class ApiCall(msgspec.Struct, tag="call", frozen=True):
    """A child asks the host for an API call of one of its runs; `run` 0: of the bot itself."""

    number: int
    run: int
    request: dict[str, Any]
    account: str = ""
    """Another account in whose name to call; "": the bot's own."""
    sends: bool = False
    """The body comes in pieces, each when the host pulls."""


class ApiCallResult(msgspec.Struct, tag="answer", frozen=True):
    """A piece of what an API call gave: a response, bytes of a stream, its end, or a failure by class name."""

    number: int
    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""
    more: bool = False
    """A piece of a stream; the child pulls the next one."""
    error: str = ""
    text: str = ""
    code: str = ""
    retry_after_s: float = 0.0


class PullPiece(msgspec.Struct, tag="pull", frozen=True):
    """Ask the other side for the next piece of a call's stream. A piece is sent only if the receiver waits for it."""

    number: int
    anew: bool = False
    """True if the stream must begin anew, because the call is tried again."""


class UploadPiece(msgspec.Struct, tag="piece", frozen=True):
    """A piece of the body that a child sends up; an empty one ends it."""

    number: int
    body: bytes = b""


class DataAsk(msgspec.Struct, tag="data", frozen=True):
    """A child's plugin asks for data of its bot."""

    number: int
    space: str
    request: DataRequest


class DataResult(msgspec.Struct, tag="result", frozen=True):
    """The result of a request for data, or a failure by class name."""

    number: int
    value: Any = None
    error: str = ""
    text: str = ""


Frame = (
    DataAsk
    | DataResult
    | PullPiece
    | UploadPiece
    | LoadPlugin
    | PluginLoaded
    | StartRun
    | CancelRun
    | RunReturned
    | WorkEnded
    | ApiCall
    | ApiCallResult
)
_decoder = msgspec.msgpack.Decoder(Frame)


class FrameConnection(asyncio.Protocol):
    """Carries frames at one end of the socket: calls `received` with each frame, and `lost` once when the other end closes."""

    def __init__(self, received: Callable[[Frame], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost
        self._frames = FrameReader(_decoder, LONGEST)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Follow `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by type

    def data_received(self, data: bytes) -> None:
        """Follow `asyncio.Protocol`."""
        try:
            for frame in self._frames.feed(data):
                self._received(frame)
        except ValueError:  # too long, or no frame: the other end is not to be trusted any more
            self.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Follow `asyncio.Protocol`."""
        self._transport = None
        self._lost()

    def send(self, frame: Frame) -> None:
        """Send a frame. It is dropped if the other side is gone, because `lost` tells that."""
        if self._transport is not None:
            self._transport.write(pack(frame))

    def close(self) -> None:
        """Close this end."""
        if self._transport is not None:
            self._transport.close()
