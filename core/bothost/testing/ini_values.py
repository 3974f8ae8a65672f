"""Write Python values as bots.ini has them, because a test gives settings by keyword."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from bothost.plugins.settings import Secret


def as_ini(value: Any) -> str:
    """Return the text that stands for a value in bots.ini; a string is its own text."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key} = {as_ini(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return "\n".join(as_ini(item) for item in value)
    if isinstance(value, Enum):
        return as_ini(value.value)
    return next((text(value) for kind, text in _TEXTS if isinstance(value, kind)), str(value))


def has_text(value: Any) -> bool:
    """Return whether the text can hold the whole value.

    It cannot for an item with a comma, for a part of a second, and for an object of the plugin's own."""
    return value is None or isinstance(value, _WHOLE)


_WHOLE = (str, int, float, Decimal, date, Enum, Path)
_TEXTS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (type(None), lambda _value: ""),
    (bool, lambda value: "yes" if value else "no"),
    (timedelta, lambda value: f"{value / timedelta(milliseconds=1):.0f}ms"),
    (date, date.isoformat),
    (time, time.isoformat),
    (Secret, Secret.reveal),
)


def section(name: str, keys: Mapping[str, Any]) -> str:
    """Return one section of bots.ini. Values of several lines are continued with blanks."""
    lines = [f"[{name}]"]
    for key, value in keys.items():
        text = as_ini(value)
        lines.append(f"{key} = {text}" if "\n" not in text else f"{key} =\n  " + text.replace("\n", "\n  "))
    return "\n".join(lines) + "\n"
