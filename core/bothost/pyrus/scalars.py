"""Convert Pyrus's texts and numbers to Python values, and anything else to None. Nothing here raises."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

_LONGEST_ID = 19
BEYOND = 2**63
"""Pyrus's largest ids have 64 bits, and so have the journal's columns."""


def whole(value: object) -> int | None:
    """Return an id or a count: an int of at most 64 bits as it is, ASCII digits as the int they show; never by way of a float."""
    if type(value) is str and len(value) <= _LONGEST_ID and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and -BEYOND <= value < BEYOND else None


def day(value: object) -> date | None:
    """Return a date from `YYYY-MM-DD`, or from a datetime's date."""
    if type(value) is not str:
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None


def instant(value: object) -> datetime | None:
    """Return an aware datetime; UTC if the text names no zone. Fractions beyond µs are cut off."""
    if type(value) is not str:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def time_of_day(value: object) -> time | None:
    """Return a naive time from `HH:mm`; Pyrus means UTC by it."""
    if type(value) is not str:
        return None
    try:
        return time.fromisoformat(value)
    except ValueError:
        return None


def ticked(value: object) -> bool | None:
    """Return a checkmark or flag: `checked`, `unchecked`; None for `none` and anything else."""
    if type(value) is bool:
        return value
    return {"checked": True, "unchecked": False}.get(value) if type(value) is str else None
