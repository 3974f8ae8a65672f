"""Check what a test gives to factories and to the fake Pyrus, so that a slip is an error in the test's own line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from bothost.pyrus.model.lookup import names_something
from bothost.text import nearest

FIELD_TYPES = frozenset(
    {
        "text", "money", "number", "date", "time", "checkmark", "flag", "due_date", "due_date_time", "email", "phone", "step",
        "status", "creation_date", "note", "author", "project", "person", "catalog", "file", "table", "title",
        "multiple_choice", "form_link",
    }
)  # fmt: skip
"""The types of form fields (protocol 3.6)."""


def keys_of(part: Any) -> tuple[str, ...]:
    """Return the keys of JSON that a part of a task is read from."""
    return tuple(name for name in part.__struct_encode_fields__ if not name.startswith("bothost:"))


def wrong(what: str, value: object, right: str) -> NoReturn:
    """Raise TypeError for a value; `right` says what it must be."""
    hint = f": call it, {value.__name__}()" if callable(value) and hasattr(value, "__name__") else ""
    raise TypeError(f"{what} must be {right}, and not {value!r:.80}{hint}")


def whole(what: str, value: Any, least: int = 1) -> Any:
    """Return a number that is whole and not below `least`. Raises TypeError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        wrong(what, value, f"a whole number, {least} or more")
    return value


def duration(what: str, value: Any) -> Any:
    """Return a number of seconds. Raises TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        wrong(what, value, "a number of seconds")
    return value


def text(what: str, value: Any) -> Any:
    """Return a text. Raises TypeError."""
    return value if isinstance(value, str) else wrong(what, value, "a text")


def name_of_field(key: Any) -> Any:
    """Return a field's name or id. Raises TypeError."""
    if not names_something(key):
        wrong("a field's key", key, "its name or its id")
    return key


def form_fields(fields: Any) -> Any:
    """Return the fields of a form's definition. Raises TypeError for a shape that Pyrus does not send."""
    right = 'a list such as [{"id": 1, "name": "Amount", "type": "money"}]'
    if not isinstance(fields, list | tuple):
        wrong("the fields of a form", fields, right)
    for field in fields:
        if not isinstance(field, Mapping) or not {"id", "name", "type"} <= field.keys():
            wrong("a field in the list of fields", field, f"a dict with id, name and type, as in {right}")
        if field["type"] not in FIELD_TYPES:
            raise TypeError(
                f"Pyrus has no field of type {field['type']!r:.80}{nearest(str(field['type']), FIELD_TYPES)}"
            )
    ids = [field["id"] for field in fields]
    if len(set(ids)) < len(ids):
        raise TypeError(f"two fields of the form have one id: {ids}")
    return fields


def catalog_rows(headers: Any, rows: Any) -> None:
    """Raise TypeError for headers and rows that a catalog cannot have: each row has a text for each header."""
    if not isinstance(headers, list | tuple) or not all(isinstance(header, str) for header in headers):
        wrong("the headers of a catalog", headers, 'a list of texts such as ["City", "Days"]')
    if not isinstance(rows, list | tuple):
        wrong("the rows of a catalog", rows, 'a list of rows such as [["Riga", "3"]]')
    for row in rows:
        texts = isinstance(row, list | tuple) and all(isinstance(value, str) for value in row)
        if not texts or len(row) != len(headers):
            wrong("a row of a catalog", row, f"a list of texts, one for each of {list(headers)}")


def json_value(value: Any) -> Any:
    """Return a number, a text, None or a bool. Raises TypeError for what no JSON has: an object, NaN, bytes."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return value
    return wrong("a value", value, "what JSON has: a text, a number, yes or no, a list, a dict")
