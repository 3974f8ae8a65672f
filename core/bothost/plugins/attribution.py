"""Tell which code runs, by its frame (bothost's own, a library's, or a plugin's) or by its context.

Every run of a plugin sets the context variable, so that tasks and timers it makes carry it too.
"""

from __future__ import annotations

import gc
import inspect
import sys
import sysconfig
from contextvars import ContextVar
from functools import cache, partial
from itertools import accumulate, chain, repeat, starmap, takewhile
from operator import is_not, methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import FrameType, TracebackType

_OURS = f"{Path(__file__).parents[1]}/"
BOT: ContextVar[str] = ContextVar("bothost_bot", default="")
"""The name of the bot whose code this context belongs to; empty for the host's own."""


class RunSubject(Protocol):
    """Tells what a run is about, as far as a log line needs it."""

    @property
    def id(self) -> str:
        """Return the event's id, or that of a tick, a job or a request."""

    @property
    def task_id(self) -> int:
        """Return the task's id; 0 if the run is about none."""


class SubjectIds(NamedTuple):
    """The ids of a run that no delivery brought."""

    id: str
    task_id: int = 0


RUN: ContextVar[RunSubject | None] = ContextVar("bothost_run", default=None)
"""What the run is about whose code this context belongs to; None outside runs."""


def ids_of_run() -> dict[str, Any]:
    """Return task and event of the run whose code this context belongs to, as fields of a log line; nothing outside runs."""
    about = RUN.get()
    if about is None:
        return {}
    return {"task": about.task_id, "event": about.id} if about.task_id else {"event": about.id}


def whose_line() -> dict[str, Any]:
    """Return the fields of a log line that a library writes, or that is printed: whose code this context belongs to."""
    bot = BOT.get()
    return {"bot": bot, **ids_of_run()} if bot else {}


def stack_of(ident: int) -> list[FrameType]:
    """Return the frames of a running thread, innermost first; empty if it runs no Python.

    To walk along `f_back` of a thread that goes on meanwhile is not safe: under load the walk met another object in place of a
    frame, so it read freed memory. Here the whole walk is one call of C, which keeps the interpreter's lock. No pass of the
    garbage collector comes between; its finalizers would release the lock. Frames that have been read once are objects of their
    own, and safe to keep.
    """
    innermost = map(methodcaller("get", ident), starmap(sys._current_frames, [()]))
    along = accumulate(chain(innermost, repeat("f_back")), getattr)
    collects = gc.isenabled()
    gc.disable()
    try:
        return cast("list[FrameType]", list(takewhile(partial(is_not, None), along)))
    finally:
        if collects:
            gc.enable()


@cache
def is_known(file: str) -> bool:
    """Return True for a file of bothost, Tornado, uvloop or the standard library. Any other is the plugin's concern."""
    if file.startswith(("<", "uvloop/", _OURS)) or "/tornado/" in file:
        return True
    return file.startswith(f"{sysconfig.get_paths()['stdlib']}/") and "-packages/" not in file


def innermost_foreign(stack: Iterable[FrameType], outside: Collection[FrameType] = ()) -> FrameType | None:
    """Return the innermost frame of a plugin, or of a library that it calls; None if all are known up to those `outside`,
    which stood there before any plugin was called.
    """
    frame = next((frame for frame in stack if not is_known(frame.f_code.co_filename)), None)
    return None if frame in outside else frame


def place_of_thread(ident: int) -> str:
    """Return where a plugin's code stands in a thread now, as `file:line in function`; "" if none runs."""
    found = innermost_foreign(stack_of(ident))
    return f"{found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_qualname}" if found is not None else ""


def innermost_of(trace: TracebackType | None) -> str:
    """Return `file:line` where an exception left the innermost frame of a plugin's own code; "" if it left none.

    The plugin's own code is the code outside the installed packages. If everything is installed, it is the package of the
    outermost frame, because the plugin calls the libraries.
    """
    foreign: list[TracebackType] = []
    while trace is not None:
        if not is_known(trace.tb_frame.f_code.co_filename):
            foreign.append(trace)
        trace = trace.tb_next
    if not foreign:
        return ""
    own = [one for one in foreign if "-packages/" not in one.tb_frame.f_code.co_filename]
    last = (own or [one for one in foreign if _package(one) == _package(foreign[0])])[-1]
    return f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}"


def place_of_definition(call: object) -> str:
    """Return `file:line` of the definition of a function, a method or a class; "" for other objects. Of a class it reads the file."""
    if inspect.isclass(call):
        try:
            return f"{inspect.getsourcefile(call)}:{inspect.findsource(call)[1] + 1}"
        except (OSError, TypeError):
            return ""  # made without a file
    inner = inspect.unwrap(getattr(call, "func", call))  # type: ignore[arg-type]
    code = getattr(inner, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def _package(one: TracebackType) -> str:
    return str(one.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
