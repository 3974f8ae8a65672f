"""Find what bots.ini names in a request, and refuse a request that does not have it. Errors speak to the caller."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bothost import RequestRefused, value_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost import Request

_PLACE = re.compile(r"\{(/[^{}]*)\}")
LONGEST_TEXT = 60_000
LONGEST_DIGITS = 30
"""A number with more digits before or behind its point is written with an exponent, or it could fill the memory."""


class Pointer(str):
    """A JSON pointer such as `/payment/amount`: where a value stands in a request's body."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Pointer:
        """Return the pointer of a text. Raises ValueError."""
        if not text.startswith("/"):
            raise ValueError('is no JSON pointer; write /payment/amount for {"payment": {"amount": …}}')
        return cls(text)


class Template(str):
    """A text with JSON pointers in braces: `Paid {/payment/amount} by {/payer}`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Template:
        """Return the template of a text. Raises ValueError, so that a wrong brace is found at the start."""
        if "{" in _PLACE.sub("", text):
            raise ValueError("has a brace that holds no JSON pointer; write {/payment/amount}")
        return cls(text)


def content(request: Request) -> Any:
    """Return the body's JSON with exact numbers, or its form as an object. Raises RequestRefused."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return dict(request.form)
    try:
        return json.loads(request.body, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RequestRefused("the body is not JSON") from None


def plain(body: Any, pointer: str) -> str:
    """Return the value at a pointer as text. Raises RequestRefused if it is an object or a list."""
    value = value_at(body, pointer)
    if isinstance(value, dict | list):
        raise RequestRefused(f"{pointer} must be a text, a number, true, false or null")
    if value is None:
        return ""
    if isinstance(value, Decimal) and abs(value.adjusted()) < LONGEST_DIGITS:
        return f"{value:f}"  # people read 100000, not 1E+5
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else clean(str(value))


def filled(body: Any, template: str) -> str:
    """Fill a template. Raises RequestRefused."""
    text = _PLACE.sub(lambda place: plain(body, place[1]), template)
    if len(text) > LONGEST_TEXT:
        raise RequestRefused(f"the text would have {len(text)} characters; the most is {LONGEST_TEXT}")
    return text


def fields(body: Any, wanted: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of fields: a bare pointer keeps number, yes/no and nothing as they are. Raises RequestRefused."""
    values: dict[str, Any] = {}
    for name, template in wanted.items():
        value = value_at(body, template) if template.startswith("/") else filled(body, template)
        if isinstance(value, dict | list):
            raise RequestRefused(f"{template} must be a text, a number, true, false or null")
        values[name] = clean(value) if isinstance(value, str) else value
    return values


def task_id(body: Any, pointer: str) -> int:
    """Return the task's id at a pointer. Raises RequestRefused."""
    value = value_at(body, pointer)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) == 0:
        raise RequestRefused(f"{pointer} must be a task's id, a number above 0")
    return int(text)


def clean(text: str) -> str:
    """Replace halves of characters and zeros, which Pyrus refuses."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
