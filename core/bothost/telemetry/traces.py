"""Write tracebacks as text within bounds, because a plugin's exceptions may hold megabytes, or each other by the thousand."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from bothost.text import said

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_TEXT = 4000
"""The longest text of one exception."""
MOST_FRAMES = 100
MOST_LINKS = 8
"""The most exceptions of a chain of causes."""
MOST_MEMBERS = 5
"""The most exceptions of a group."""
DEEPEST = 3
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def trace_text(error: BaseException, passed_over: Callable[[str], bool] = lambda _file: False) -> str:
    """Return the traceback of an exception, its causes and its members. Frames up to the first whose file is not `passed_over`
    are left out."""
    return _trace(error, passed_over, 0)


def _trace(error: BaseException, passed_over: Callable[[str], bool], depth: int) -> str:
    links: list[tuple[BaseException, str]] = [(error, "")]
    while len(links) < MOST_LINKS:
        try:
            before, link = _before(links[-1][0])
        except BaseException:  # noqa: BLE001 - a plugin's own property
            break
        if before is None or any(before is known for known, _ in links):
            break
        links[-1] = (links[-1][0], link)
        links.append((before, ""))
    return "".join(link + _one(each, passed_over, depth) for each, link in reversed(links))


def _before(error: BaseException) -> tuple[BaseException | None, str]:
    if error.__cause__ is not None:
        return error.__cause__, _CAUSE
    return (None, "") if error.__suppress_context__ else (error.__context__, _CONTEXT)


def _one(error: BaseException, passed_over: Callable[[str], bool], depth: int) -> str:
    parts = (
        lambda: _frames(error, passed_over),
        lambda: _last_lines(error),
        lambda: _notes(error),
        lambda: _members(error, passed_over, depth),
    )
    return "".join(map(_told, parts))


def _told(part: Callable[[], str]) -> str:
    """Return a part of a text, or say that it cannot be had, because a plugin's exception may have code of its own everywhere."""
    try:
        return part()
    except BaseException as fault:  # noqa: BLE001 - a plugin's own attributes
        return f"a part of this cannot be had, {type(fault).__name__}\n"


def _frames(error: BaseException, passed_over: Callable[[str], bool]) -> str:
    frames = traceback.extract_tb(error.__traceback__, -MOST_FRAMES)
    first = next((at for at, frame in enumerate(frames) if not passed_over(frame.filename)), 0)
    lines = traceback.StackSummary.from_list(frames[first:]).format()
    return "".join(["Traceback (most recent call last):\n", *lines] if lines else [])


def _last_lines(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and len(error.text or "") < LONGEST_TEXT and error.__traceback__ is None:
        return "".join(traceback.format_exception_only(error))
    return f"{said(error, LONGEST_TEXT)[:LONGEST_TEXT]}\n"


def _notes(error: BaseException) -> str:
    notes = [note for note in getattr(error, "__notes__", ())[:MOST_MEMBERS] if isinstance(note, str)]
    return "".join(f"{note[:LONGEST_TEXT]}\n" for note in notes)


def _members(error: BaseException, passed_over: Callable[[str], bool], depth: int) -> str:
    if not isinstance(error, BaseExceptionGroup) or depth >= DEEPEST:
        return ""
    told = [_trace(member, passed_over, depth + 1) for member in error.exceptions[:MOST_MEMBERS]]
    more = len(error.exceptions) - len(told)
    if more:
        told.append(f"and {more} more\n")
    return "".join(f"  | {line}" for text in told for line in [*text.splitlines(keepends=True), "---\n"])
