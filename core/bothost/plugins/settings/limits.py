"""Check the limits that an author writes into a type, `Annotated[int, msgspec.Meta(ge=1, le=10)]`, for every type that compares.

The limits of a Secret apply to its text, and the error quotes nothing of it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bothost.config.secrets import SecretText


class UnsupportedSetting(TypeError):
    """A type that no setting can have, or a limit that its type cannot have; the author's mistake, not the operator's."""


def check_limits(value: Any, note: object) -> None:
    """Check a value against its limits. Raises ValueError if it breaks one, and UnsupportedSetting for a limit that such values
    cannot have. Annotations other than `msgspec.Meta` are ignored.
    """
    if not isinstance(note, msgspec.Meta) or value is None:
        return
    try:
        _check(value.reveal() if isinstance(value, SecretText) else value, note)
    except TypeError:
        raise UnsupportedSetting(f"no limit such as {note} fits a {type(value).__name__}") from None


def _check(value: Any, note: msgspec.Meta) -> None:
    for wrong, text in _failures(value, note):
        if wrong:
            raise ValueError(f"{value!s:.60} must be {text}")
    if note.pattern is not None and not re.search(note.pattern, value):
        raise ValueError(f"must match {note.pattern}")
    if note.min_length is not None and len(value) < note.min_length:
        raise ValueError(f"must have at least {note.min_length} {_parts(value)}")
    if note.max_length is not None and len(value) > note.max_length:
        raise ValueError(f"must have at most {note.max_length} {_parts(value)}")


def _failures(value: Any, note: msgspec.Meta) -> list[tuple[bool, str]]:
    return [
        (note.gt is not None and not value > note.gt, f"more than {note.gt}"),
        (note.ge is not None and not value >= note.ge, f"at least {note.ge}"),
        (note.lt is not None and not value < note.lt, f"less than {note.lt}"),
        (note.le is not None and not value <= note.le, f"at most {note.le}"),
        (note.multiple_of is not None and bool(value % note.multiple_of), f"a multiple of {note.multiple_of}"),
    ]


def _parts(value: Any) -> str:
    return "characters" if isinstance(value, str) else "items"
