"""Describe a plugin's failure: one line for people, and the traceback without the host's own frames."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from bothost.errors import GiveUp, ReplyError
from bothost.plugins.attribution import innermost_of, is_known
from bothost.pyrus.reply.reply import Reply
from bothost.runners import RunFailure
from bothost.telemetry.host_loggers import RAISED
from bothost.telemetry.traces import trace_text
from bothost.text import SCRUBBED_BEYOND, nearest, said, visible, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

_raised = logging.getLogger(RAISED)
_raised.setLevel(logging.CRITICAL + 1)
"""Silent until `guard` makes it a logger of a serving host: in an author's tests its records would only be noise."""
_UNEXPECTED = re.compile(r"Unexpected keyword argument '(\w+)'")
_LONGEST_LINE = 500
_LONGEST_TRACE = 20_000
_READ = _LONGEST_LINE + SCRUBBED_BEYOND
"""The part of an exception's text that is read: the shown part, and a secret that begins there and ends behind it."""


def failure_of(error: BaseException, what: str, scrub: Callable[[str], str]) -> RunFailure:
    """Return the failure that an exception of a handler means. `what` names bot and handler."""
    place = innermost_of(error.__traceback__)
    where = f" ({place})" if place else ""
    trace = trace_of(error, scrub)
    if isinstance(error, GiveUp):
        text = line_of(f"{what} gave up: {words_of(error, _READ)}", scrub, where)
        return RunFailure("gave up", text, trace, may_rerun=False, error=error)
    if isinstance(error, ReplyError):
        text = line_of(f"{what} made a reply that cannot be used: {words_of(error, _READ)}", scrub, where)
        return RunFailure("unusable", text, trace, may_rerun=False, error=error)
    first = said(error, _READ).partition("\n")[0] + _meant(error)
    return RunFailure("raised", line_of(f"{what} raised {first}", scrub, where), trace, error=error)


def _meant(error: BaseException) -> str:
    """Suggest how a Reply was meant to be made: the error comes from C, which knows no key."""
    told = words_of(error, _LONGEST_LINE) if isinstance(error, TypeError) else ""
    if told == "Extra positional arguments provided":
        return ' (in a Reply only the text stands without its key: Reply("Paid.", approval_choice="approved"))'
    found = _UNEXPECTED.fullmatch(told)
    return nearest(found[1], Reply.__struct_fields__) if found else ""


def reported(error: BaseException, what: str, scrub: Callable[[str], str]) -> RunFailure:
    """Return the failure as `failure_of` does, and show the exception to error trackers that listen to logging.

    The record is for them alone: the host writes a line of its own once it knows what becomes of the event.
    """
    failure = failure_of(error, what, scrub)
    if not isinstance(error, GiveUp):
        _raised.error("%s", failure.text, exc_info=error)
    return failure


def line_of(text: str, scrub: Callable[[str], str], where: str = "") -> str:
    """Return one line without secrets, cut to a length; `where` stands behind the cut."""
    text = scrub(text)
    return visible(text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "…") + where


def trace_of(error: BaseException, scrub: Callable[[str], str]) -> str:
    """Return the traceback from the plugin's first frame on, scrubbed; of a very long one its end."""
    text = visible(scrub(trace_text(error, is_known)), lines=True)
    return text if len(text) <= _LONGEST_TRACE else "…" + text[-_LONGEST_TRACE:]
