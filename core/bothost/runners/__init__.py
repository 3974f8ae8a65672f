"""Call plugins within limits: on the loop, in a thread of the bot's own pool, or in a child process (`process/`).

Nothing here knows the journal, Pyrus's HTTP or what becomes of a reply. Start reading at `Runner` below, then in `local.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from bothost.plugins.http import RawRequest  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from bothost.plugins.api import Tick
    from bothost.plugins.event import RunContext
    from bothost.pyrus.envelope import Envelope

Why = Literal["raised", "timeout", "died", "unusable", "gave up", "cut", "refused"]


@dataclass(frozen=True, slots=True)
class RunFailure:
    """Holds why a run failed: `text` is one line that names bot, what and where; `trace` is the plugin's own traceback, scrubbed."""

    why: Why
    text: str
    trace: str = ""
    may_rerun: bool = True
    """False for an unusable reply, GiveUp, and a plain handler whose thread still lives."""
    error: BaseException | None = field(default=None, repr=False, compare=False)
    """The plugin's exception if it was raised in this process. The harness shows it."""


class RunResult(msgspec.Struct, frozen=True):
    """Holds how one run ended: `reply` is the encoded comment (`b"{}"`: nothing to say), or there is a failure."""

    reply: bytes = b"{}"
    failure: RunFailure | None = None


def broken(bot: str, error: Exception) -> RunResult:
    """Return a failed result for a run in which bothost failed, not the plugin."""
    text = f"[bot:{bot}] could not be run: {type(error).__name__}: {error}"
    return RunResult(failure=RunFailure("raised", text, error=error))


class JobRun(msgspec.Struct, frozen=True, tag="job"):
    """A job that is due: its task, its encoded data, when it was due (epoch seconds); its name and key stand in its id."""

    task: int
    data: bytes
    due: float


class HookRun(msgspec.Struct, frozen=True, tag="request"):
    """A request to a hook. `admits`: the plugin's functions tell whether it may come in, and by which key (an Admission).
    `answers`: somebody waits for the response."""

    request: RawRequest
    admits: bool = False
    answers: bool = False


class Admission(msgspec.Struct, frozen=True):
    """The judgement of the plugin's functions on a request; `refused` tells the caller why it gets 400."""

    passes: bool
    key: str = ""
    refused: str = ""


class RunEnded(Protocol):
    """Told once, on the loop, when the work of a run has really ended: the permit comes back there."""

    def __call__(self, returned: bytes = b"{}") -> None:
        """`returned`: the encoded reply of a call past its time, which is kept and never sent."""


class Runner(Protocol):
    """Runs one bot's plugin; implementations: on the host's loop and threads (`LocalRunner`), and in a child process."""

    async def open(self) -> None:
        """Open the plugin (its `open`). Raises PluginError with the reason."""

    async def run(self, envelope: Envelope, context: RunContext, limit_s: float, ended: RunEnded) -> RunResult:
        """Run a handler for one event, at most `limit_s`. Never raises but CancelledError (an async handler is cancelled,
        a thread's result dropped). `ended` is called exactly once, when the work has really ended, which for a thread past
        its time is later than the return."""

    async def tick(self, timer: str, tick: Tick, limit_s: float, ended: RunEnded) -> RunResult:
        """Run a timer method once."""

    async def work(self, given: JobRun | HookRun, context: RunContext, limit_s: float, ended: RunEnded) -> RunResult:
        """Run what no delivery brought, as `run` runs a handler. The reply of a request is its response, or its admission, in
        msgpack."""

    async def close(self) -> None:
        """After the last run: the plugin's `close`, the threads or the child."""

    def held(self) -> tuple[str, ...]:
        """Return where threads past their time stand now, `file:line in function` each."""

    def release(self) -> None:
        """Give back the permits of calls past their time, because a new instance of the plugin has taken over."""
