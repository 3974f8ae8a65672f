"""Read texts of bots.ini as numbers, durations, sizes and yes or no. Each ValueError says what would be right."""

from __future__ import annotations

import re
from datetime import timedelta
from zoneinfo import ZoneInfo, available_timezones

from bothost.text import nearest, shown

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[ ]?(?:ms|[smhdw])[ ]?)+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)[ ]?(ms|[smhdw])", re.ASCII)
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)[ ]?(|k|m|g)(?:i?b)?", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_TRUTH = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}
_LONGEST_S = 36525 * 86400.0


def seconds(text: str) -> float:
    """Read `50s`, `15m`, `7d`, `1h 30m`, `500ms` or `2w` as seconds. A bare `0` needs no unit."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a duration{_duration_hint(text)}")
    total = sum(float(number) * _DURATIONS[unit] for number, unit in _DURATION_PART.findall(text))
    if total > _LONGEST_S:
        raise ValueError(f"{shown(text)} is longer than a hundred years")
    return total


def span(given: object) -> float:
    """Return a duration that Python code gives, a timedelta or a text, in seconds. Raises ValueError."""
    if isinstance(given, timedelta):
        in_s = given.total_seconds()
        if in_s > _LONGEST_S:
            raise ValueError("it is longer than a hundred years")
        return in_s
    if not isinstance(given, str):
        raise ValueError("it has no unit: write a text or a timedelta")
    return seconds(given)


def time_zone(name: object) -> ZoneInfo:
    """Return a time zone by its name. Raises ValueError, which names a near one."""
    try:
        return ZoneInfo(name)  # type: ignore[arg-type]
    except (KeyError, ValueError, TypeError, OSError):
        near = nearest(name, available_timezones()) if isinstance(name, str) else ""
        raise ValueError(f"{name!r:.80} is not a time zone{near}: write one such as Europe/Moscow") from None


def _duration_hint(text: str) -> str:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
        return f": it needs a unit, as in {text}s" if len(text) < 9 else ": it needs a unit"
    if _DURATION.fullmatch(text.lower()):
        return f": units are lower-case, {text.lower()}"
    return ": write 50s, 15m, 1h, 7d or 500ms"


def size(text: str) -> int:
    """Read `16M`, `64k`, `1G` or a plain number as bytes. k is 1024."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is not a size: write 64k, 16M, 1G or a number of bytes")
    return int(float(match[1]) * _SIZES[match[2].lower()])


def truth(text: str) -> bool:
    """Read yes, on, true, 1 or no, off, false, 0, in any case."""
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise ValueError(f"{shown(text)} is neither yes nor no") from None


def number(text: str, low: int, high: int) -> int:
    """Read a whole number from `low` to `high`."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a whole number: write one from {low} to {high}")
    value = int(text)
    if not low <= value <= high:
        raise ValueError(f"{value} is out of range: write a number from {low} to {high}")
    return value


def words(text: str) -> tuple[str, ...]:
    """Split a list that is written with commas, blanks or lines."""
    return tuple(text.replace(",", " ").split())


def choice(text: str, allowed: tuple[str, ...]) -> str:
    """Read one of a few words."""
    if text not in allowed:
        raise ValueError(f"{shown(text)} is none of {', '.join(allowed)}{nearest(text, allowed)}")
    return text
