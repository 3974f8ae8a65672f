"""What a plugin did wrong, as a `RunFailure`: one line for people, and the traceback without the host's own frames."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from bothost.errors import GiveUp, ReplyError
from bothost.plugins.attribution import innermost_of, is_known
from bothost.runners import RunFailure
from bothost.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_LINE = 500
_LONGEST_TRACE = 20_000


def failure_of(error: BaseException, what: str, scrub: Callable[[str], str]) -> RunFailure:
    """The failure that an exception of a handler means. `what` names bot and handler."""
    if isinstance(error, GiveUp):
        return RunFailure("gave up", _line(f"{what} gave up: {error}", scrub), may_rerun=False, error=error)
    said = _said(error)
    place = innermost_of(error.__traceback__)
    where = f" ({place})" if place else ""
    trace = trace_of(error, scrub)
    if isinstance(error, ReplyError):
        text = _line(f"{what} made a reply that cannot be used: {error}{where}", scrub)
        return RunFailure("unusable", text, trace, may_rerun=False, error=error)
    return RunFailure("raised", _line(f"{what} raised {said}{where}", scrub), trace, error=error)


def _said(error: BaseException) -> str:
    """The last line of a traceback: type and text, also where the text itself cannot be had."""
    return traceback.format_exception_only(error)[0].strip().partition("\n")[0]


def _line(text: str, scrub: Callable[[str], str]) -> str:
    text = scrub(text)
    return visible(text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "…")


def trace_of(error: BaseException, scrub: Callable[[str], str]) -> str:
    """The traceback from the plugin's first frame on, scrubbed; of a very long one its end."""
    whole = traceback.TracebackException.from_exception(error, limit=-100, compact=True)
    _trim(whole)
    text = visible(scrub("".join(whole.format())), lines=True)
    return text if len(text) <= _LONGEST_TRACE else "…" + text[-_LONGEST_TRACE:]


def _trim(whole: traceback.TracebackException) -> None:
    """Drop the frames that led to the plugin: they are the host's and say nothing to its author."""
    todo: list[traceback.TracebackException | None] = [whole]
    while todo:
        one = todo.pop()
        if one is None:
            continue
        first = next((at for at, frame in enumerate(one.stack) if not is_known(frame.filename)), 0)
        one.stack = traceback.StackSummary.from_list(one.stack[first:])
        todo += [one.__cause__, one.__context__, *(one.exceptions or ())]
