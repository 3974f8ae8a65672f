"""Convert and check Python values for a comment request (protocol §4.2). A wrong one raises ReplyError, which says what is right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, NoReturn

from bothost.errors import ReplyError
from bothost.text import shown

Convert = Callable[[Any, str], Any]
"""A value and the place it stands at, to what JSON carries. Raises ReplyError."""

_LISTS = (list, tuple, set, frozenset)
_DEEPEST = 64
_LARGEST = 1 << 64
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def wrong(place: str, value: object, right: str) -> NoReturn:
    """Raise the ReplyError: place, the value that stands there, what would be right."""
    said = repr(value) if value is None or isinstance(value, bool | int | float | Decimal) else type(value).__name__
    if isinstance(value, str):
        said = shown(value)
    raise ReplyError(f"{place}: {said} cannot stand here; give {right}")


def plain(value: Any, place: str, depth: int = 0) -> Any:
    """Return any value as JSON carries it. Read-only parts of a task become what Pyrus takes for them."""
    kind = type(value)
    if kind is str:
        return _text(value, place)
    if kind is int:
        return value if -_LARGEST < value < _LARGEST else wrong(place, value, "a number of at most 64 bits")
    if value is None or kind is bool:
        return value
    if isinstance(value, Mapping):
        return _object(value, place, depth)
    if isinstance(value, _LISTS):
        _not_too_deep(place, depth)
        return [plain(item, f"{place}[{number}]", depth + 1) for number, item in enumerate(value)]
    return _scalar(value, place)


def _text(value: str, place: str) -> str:
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:
        raise ReplyError(
            f"{place}: the text holds half of a character (a lone surrogate), which JSON cannot carry"
        ) from None
    return value


def _object(value: Mapping[Any, Any], place: str, depth: int) -> dict[str, Any]:
    _not_too_deep(place, depth)
    for key in value:
        if not isinstance(key, str):
            raise ReplyError(f"{place}: the key {key!r} is not a text; JSON has only texts as keys")
    return {_text(str(key), place): plain(item, f"{place}.{key}", depth + 1) for key, item in value.items()}


def _not_too_deep(place: str, depth: int) -> None:
    if depth >= _DEEPEST:
        raise ReplyError(f"{place[:80]}…: nested deeper than {_DEEPEST}, or it holds itself")


def _scalar(value: Any, place: str) -> Any:
    for kind, convert in _SCALARS:
        if isinstance(value, kind):
            return convert(value, place)
    part = part_of(value)
    if part is not None:
        return _object(part, place, 0)
    if isinstance(value, timedelta):
        return wrong(place, value, "a number of minutes")
    return wrong(place, value, "what JSON can carry: a text, number, bool, date, list or dict")


def _enum(value: Enum, place: str) -> Any:
    return plain(value.value, place)


def _string(value: str, place: str) -> str:
    return _text(str(value), place)


def _whole(value: int, place: str) -> int:
    return plain(int(value), place)  # type: ignore[no-any-return]


def _number(value: float | Decimal, place: str) -> float | Decimal:
    is_signal = isinstance(value, Decimal) and value.is_snan()  # which cannot even be asked whether it is finite
    return wrong(place, value, "a finite number") if is_signal or not isfinite(value) else value


def instant(value: Any, place: str) -> str:
    """Return a moment: UTC in whole seconds (protocol §3.1); a text in ISO form stands as written."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ReplyError(f"{place}: the datetime {value} has no zone; give one, as in {value}+03:00 or tzinfo=UTC")
        try:
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
        except OverflowError:
            wrong(place, value, "a datetime that UTC can express, from the year 1 to 9999")
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            wrong(place, value, "a datetime with a zone, or a text such as 2026-01-05T09:00:00Z")
        return value
    return wrong(place, value, "a datetime with a zone")


def day(value: Any, place: str) -> str:
    """Return a date, `YYYY-MM-DD`."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            date.fromisoformat(value)
        except ValueError:
            return wrong(place, value, "a date that exists")
        return value
    return wrong(place, value, "a date (of a datetime its .date()), or a text such as 2026-01-05")


def clock_time(value: time, place: str) -> str:
    """Return a time of day, `HH:mm`."""
    del place
    return value.strftime("%H:%M")


def _calendar(value: date, place: str) -> str:
    return instant(value, place) if isinstance(value, datetime) else value.isoformat()


_SCALARS: tuple[tuple[Any, Convert], ...] = (
    (Enum, _enum),
    (str, _string),
    (int, _whole),
    (float, _number),
    (Decimal, _number),
    (date, _calendar),
    (time, clock_time),
)
"""In this order: an enum may be a text or number too."""


def part_of(value: Any) -> dict[str, Any] | None:
    """Return the form in which Pyrus takes a part that was read (person, role, file, upload, catalog items, choice); else None.

    Parts are known by what they have, so that an `Upload` of the API and parts of a task pass alike.
    """
    if hasattr(value, "guid"):
        return {"guid": value.guid} if value.guid else None
    if hasattr(value, "first_name") and hasattr(value, "email"):
        return _person(value)
    if hasattr(value, "md5") and getattr(value, "id", None) is not None:
        return {"attachment_id": value.id}
    if hasattr(value, "member_ids") and getattr(value, "id", None) is not None:
        return {"id": value.id}
    if hasattr(value, "ids") and hasattr(value, "rows"):
        return {"item_ids": list(value.ids)}
    if hasattr(value, "ids") and hasattr(value, "names"):
        return {"choice_ids": list(value.ids)}
    return None


def _person(value: Any) -> dict[str, Any] | None:
    if value.id is not None:
        return {"id": value.id}
    return {"email": value.email} if value.email else None


_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_PERSON = "a person's id, e-mail, or a Person of the task that is not empty"


def person(value: Any, place: str) -> Any:
    """Return `{id}` or `{email}`. A dict stays as written."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Mapping):
        return plain(value, place)
    if isinstance(value, int) and not isinstance(value, bool):
        return {"id": _whole(value, place)} if value > 0 else wrong(place, value, _PERSON)
    if isinstance(value, str):
        if not _EMAIL.fullmatch(value.strip()):  # a name would be refused by Pyrus, where nobody reads it
            return wrong(place, value, _PERSON)
        return {"email": _string(value.strip(), place)}
    found = _person(value) if hasattr(value, "first_name") and hasattr(value, "email") else None
    return found or wrong(place, value, _PERSON)


def text(value: Any, place: str) -> str:
    """Return a text."""
    if isinstance(value, Enum):
        value = value.value
    return _string(value, place) if isinstance(value, str) else wrong(place, value, "a text")


def truth(value: Any, place: str) -> bool:
    """Return True or False."""
    return value if isinstance(value, bool) else wrong(place, value, "True or False")


def whole(value: Any, place: str) -> int:
    """Return an id or another whole number that is not negative."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return _whole(value, place)
    return wrong(place, value, "a whole number")


def minutes(value: Any, place: str) -> int:
    """Return minutes, given as a number or a timedelta."""
    if not isinstance(value, timedelta):
        return whole(value, place)
    count, rest = divmod(value, timedelta(minutes=1))
    return count if not rest and count >= 0 else wrong(place, value, "whole minutes")


def one_of(*words: str) -> Convert:
    """Return a converter that takes one of a few words, or an enum with such a value."""

    def convert(value: Any, place: str) -> str:
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, str) and value in words:
            return str(value)
        return wrong(place, value, f"one of {', '.join(words)}")

    return convert


def listed(convert: Convert, right: str) -> Convert:
    """Return a list of such values."""

    def convert_all(value: Any, place: str) -> list[Any]:
        if not isinstance(value, _LISTS):
            return wrong(place, value, f"a list of {right}")
        return [convert(item, f"{place}[{number}]") for number, item in enumerate(value)]

    return convert_all


def by_step(value: Any, place: str) -> list[Any]:
    """Return persons by step, `{2: [5, "chief@corp.ru"]}`, as Pyrus's list by position. A list stays as written."""
    right = "persons by step, as in {2: [5, 'chief@corp.ru']}, or a list of lists"
    if isinstance(value, Mapping):
        for step in value:
            if isinstance(step, bool) or not isinstance(step, int) or not 1 <= step <= 1000:
                raise ReplyError(f"{place}: {step!r} is not a step; give {right}")
        people = listed(person, "persons")
        return [people(value.get(step, ()), f"{place}[{step}]") for step in range(1, max(value, default=0) + 1)]
    if not isinstance(value, _LISTS):
        return wrong(place, value, right)
    return [
        [person(one, f"{place}[{number}]") for one in item]
        if isinstance(item, _LISTS)
        else person(item, f"{place}[{number}]")
        for number, item in enumerate(value)
    ]


def attachment(value: Any, place: str) -> Any:
    """Return an `Upload`, a file of the task, or what Pyrus takes as written."""
    found = plain(value, place)
    if isinstance(found, dict | str):
        return found
    return wrong(place, value, "an Upload, a File of the task, or a dict such as {'guid': …}")


def some_object(value: Any, place: str) -> dict[str, Any]:
    """Return a dict, with its values converted."""
    if isinstance(value, Mapping):
        return plain(value, place)  # type: ignore[no-any-return]
    return wrong(place, value, "a dict, as in {'type': 'email', 'to': {'email': …}}")
