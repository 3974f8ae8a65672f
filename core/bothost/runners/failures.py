"""Describe a plugin's failure: one line for people, and the traceback without the host's own frames."""

from __future__ import annotations

import inspect
import logging
import re
from types import ModuleType
from typing import TYPE_CHECKING

import bothost
from bothost.errors import GiveUp, ReplyError
from bothost.plugins.attribution import innermost_of, is_known, place_of_definition
from bothost.pyrus.reply.reply import Reply
from bothost.runners import RunFailure
from bothost.telemetry.host_loggers import RAISED
from bothost.telemetry.traces import trace_text
from bothost.text import LONGEST_TEXT, SCRUBBED_BEYOND, nearest, said, visible, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

_raised = logging.getLogger(RAISED)
_raised.setLevel(logging.CRITICAL + 1)
"""Silent until `guard` makes it a logger of a serving host: in an author's tests its records would only be noise."""
_UNEXPECTED = re.compile(r"Unexpected keyword argument '(\w+)'")
_UNKNOWN_KEY = re.compile(r"(\w+)\.(\w+)\(\) got an unexpected keyword argument '(\w+)'")
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
    """Suggest what was meant where Python's own text does not: a near name, or how a Reply is made."""
    told = words_of(error, _LONGEST_LINE) if isinstance(error, TypeError) else ""
    if told == "Extra positional arguments provided":
        return ' (in a Reply only the text stands without its key: Reply("Paid.", approval_choice="approved"))'
    if found := _UNEXPECTED.fullmatch(told):
        return nearest(found[1], Reply.__struct_fields__)
    if found := _UNKNOWN_KEY.fullmatch(told):
        return nearest(found[3], _keys_of(found[1], found[2]))
    return nearest(error.name, _public(error.obj)) if isinstance(error, AttributeError) and error.name else ""


def _keys_of(owner: str, method: str) -> list[str]:
    """Return the keywords of a method of a class of the plugin API."""
    taken = getattr(getattr(bothost, owner, None), method, None)
    return list(inspect.signature(taken).parameters) if callable(taken) else []


def _public(found: object) -> list[str]:
    """Return the public names of an object or a module. No property of it is read."""
    names = {*vars(found)} if isinstance(found, ModuleType) else {*dir(type(found)), *getattr(found, "__dict__", ())}
    return [name for name in names if isinstance(name, str) and not name.startswith("_")]


def reported(error: BaseException, what: str, scrub: Callable[[str], str]) -> RunFailure:
    """Return the failure as `failure_of` does, and show the exception to error trackers that listen to logging.

    The record is for them alone: the host writes a line of its own once it knows what becomes of the event.
    """
    failure = failure_of(error, what, scrub)
    if not isinstance(error, GiveUp):
        _raised.error("%s", failure.text, exc_info=error)
    return failure


def unusable(error: ReplyError, what: str, call: object, scrub: Callable[[str], str]) -> RunFailure:
    """Return the failure of a reply that cannot be used, which shows only after the handler has returned it: its place is the
    handler's definition.
    """
    place = place_of_definition(call)
    said = f"{what} returned a reply that cannot be used: {words_of(error, LONGEST_TEXT)}"
    text = line_of(said, scrub, f" ({place})" if place else "")
    return RunFailure("unusable", text, may_rerun=False, error=error)


def line_of(text: str, scrub: Callable[[str], str], where: str = "") -> str:
    """Return one line without secrets, cut to a length; `where` stands behind the cut."""
    text = scrub(text)
    return visible(text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "…") + where


def trace_of(error: BaseException, scrub: Callable[[str], str]) -> str:
    """Return the traceback from the plugin's first frame on, scrubbed; of a very long one its end."""
    text = visible(scrub(trace_text(error, is_known)), lines=True)
    return text if len(text) <= _LONGEST_TRACE else "…" + text[-_LONGEST_TRACE:]
