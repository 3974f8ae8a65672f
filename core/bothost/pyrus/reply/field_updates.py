"""`field_updates={"Сумма": 5, "amount": …, 12: …}` in Pyrus's shape.

A field is found in the event's task, else in the form's definition; its value is converted by its type."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

from bothost.errors import FieldError, ReplyError
from bothost.pyrus.model.fields import Row
from bothost.pyrus.model.lookup import NameIndex, check_key, missing
from bothost.pyrus.reply.values import attachment, clock_time, day, instant, part_of, person, plain, wrong
from bothost.pyrus.rest.definitions import Definitions, FieldFinder, FieldTarget, named

if TYPE_CHECKING:
    from bothost.pyrus.model.task import Task
    from bothost.pyrus.reply.values import Convert

READ_ONLY = frozenset({"step", "status", "creation_date", "note", "author", "project"})
"""Types of fields that Pyrus writes itself (protocol §3.6)."""

_LISTS = (list, tuple, set, frozenset)


def check(updates: Any, place: str) -> None:
    """Check what needs no task, so that the traceback shows the author's line. Raises ReplyError."""
    if not isinstance(updates, Mapping):
        _as_written(updates, place)
        return
    for key, value in updates.items():
        try:
            check_key(key)
        except FieldError as error:
            raise ReplyError(f"{place}[{key!r}]: {error}") from None
        plain(value, f"{place}[{key!r}]")


def resolve(updates: Any, task: Task | None, place: str, known: Definitions | None = None) -> list[Any]:
    """Return Pyrus's list. Raises ReplyError for unknown names (with near ones), read-only types and values that do not
    fit; DefinitionNeeded if a definition that `known` lacks could tell."""
    if not isinstance(updates, Mapping):
        return _as_written(updates, place)
    check(updates, place)
    finder = FieldFinder(task, known or Definitions())
    return [_update(key, value, finder, f"{place}[{key!r}]") for key, value in updates.items()]


def of_form(values: Any, form_id: int, known: Definitions) -> list[Any]:
    """Return the `fields` of a new task of a form, given by name, code or id. Raises as `resolve` does."""
    check(values, "fields")
    finder = FieldFinder(None, known, form_id)
    return [_update(key, value, finder, f"fields[{key!r}]") for key, value in values.items()]


def _as_written(updates: Any, place: str) -> list[Any]:
    if not isinstance(updates, _LISTS):
        return wrong(place, updates, "a dict {name, code or id: value}, or a list as Pyrus has it")
    for item in updates:
        if not isinstance(item, Mapping):
            wrong(place, item, "a list of dicts such as {'id': 12, 'value': 5}")
    return plain(updates, place)  # type: ignore[no-any-return]


def _update(key: str | int, value: Any, finder: FieldFinder, place: str) -> dict[str, Any]:
    target = finder.find(key, place)
    if target.type in READ_ONLY:
        raise ReplyError(f"{place}: a field of type {target.type} can only be read; Pyrus writes it itself")
    if target.in_table:
        raise ReplyError(f"{place}: stands in a table; write the table's field, with rows by row_id")
    return _written(target, value, finder, place)


def _written(target: FieldTarget, value: Any, finder: FieldFinder, place: str) -> dict[str, Any]:
    value = None if value is None else _value(target, value, finder, place)
    return {"id": target.id, "value": value} if target.id is not None else {"name": target.name, "value": value}


def _value(target: FieldTarget, value: Any, finder: FieldFinder, place: str) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if target.type == "table":
        return _table(target, value, finder, place)
    if isinstance(value, Mapping) and target.type not in _SIMPLE:
        return plain(value, place)
    if target.type == "multiple_choice":
        return _choice(target, value, finder, place)
    if target.type == "catalog" and isinstance(value, _LISTS):
        value = _items(target, value, finder, place)
    convert = _BY_TYPE.get(target.type or "")
    return plain(value, place) if convert is None else convert(value, place)


def _checkmark(value: Any, place: str) -> Any:
    if isinstance(value, bool):
        return "checked" if value else "unchecked"
    return value if value in ("checked", "unchecked", "none") else wrong(place, value, "True or False")


def _title(value: Any, place: str) -> Any:
    return {"checkmark": _checkmark(value, place)}


def _number(value: Any, place: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return wrong(place, value, "a number")
    return plain(value, place)


def _text(value: Any, place: str) -> Any:
    return value if isinstance(value, str) and value.isascii() else _plain_text(value, place)


def _plain_text(value: Any, place: str) -> Any:
    return plain(value, place) if isinstance(value, str) else wrong(place, value, "a text")


def _time(value: Any, place: str) -> Any:
    if isinstance(value, time):
        return clock_time(value, place)
    is_time = isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value)
    return value if is_time else wrong(place, value, "a time, or a text such as 09:30")


def _date_time(value: Any, place: str) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return wrong(place, value, "a datetime with a zone")
    return instant(value, place)


def _ids(key: str, by_name: str = "") -> Convert:
    """Return an id, several, a part that has ids, and by name if Pyrus takes one."""

    def convert(value: Any, place: str) -> Any:
        if isinstance(value, str) and by_name:
            return {by_name: plain(value, place)}
        found = part_of(value)
        if found is not None and key in found:
            return found
        items = value if isinstance(value, _LISTS) else [value]
        return {key: [_id(item, place, by_name) for item in items]}

    return convert


def _id(value: Any, place: str, by_name: str) -> int:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return wrong(place, value, "an id or a list of ids" + (", or one item's name" if by_name else ""))


def _files(value: Any, place: str) -> Any:
    items = value if isinstance(value, _LISTS) else [value]
    return [attachment(item, place) for item in items]


_ROW = "a list of rows: by column, {'Price': 5}, with row_id for a row that is there; or as Pyrus has them, with cells"


def _table(target: FieldTarget, value: Any, finder: FieldFinder, place: str) -> Any:
    if not isinstance(value, _LISTS):
        return wrong(place, value, _ROW)
    ids = [row["row_id"] for row in value if isinstance(row, Mapping) and isinstance(_row_id(row), int)]
    fresh = itertools.count(max([*ids, *finder.row_ids(target)], default=0) + 1)
    return [_row(target, row, finder, (f"{place}[{number}]", fresh)) for number, row in enumerate(value)]


def _row_id(row: Any) -> Any:
    return row.id if isinstance(row, Row) else row.get("row_id")


def _row(target: FieldTarget, row: Any, finder: FieldFinder, at: tuple[str, Iterator[int]]) -> dict[str, Any]:
    """Return a row as Pyrus has it. One without `row_id` is a new one, with the next number."""
    place, fresh = at
    if not isinstance(row, Mapping):
        return wrong(place, row, _ROW)
    own = {key: row[key] for key in ("row_id", "position", "delete") if key in row} if type(row) is not Row else {}
    if "cells" in row or (own and own.keys() == row.keys()):
        return plain(row, place)  # type: ignore[no-any-return]
    number = _row_id(row)
    cells = [_cell(target, key, value, (finder, f"{place}[{key!r}]")) for key, value in row.items() if key not in own]
    return {**plain(own, place), "row_id": next(fresh) if number is None else number, "cells": cells}


def _cell(target: FieldTarget, key: str | int, value: Any, at: tuple[FieldFinder, str]) -> dict[str, Any]:
    finder, place = at
    try:
        column = NameIndex(target.columns).find(key)
        unknown = f"{place}: {missing(key, target.columns, f'the table {target.name!r}')}"
        if column is None and (whole := finder.whole(target, unknown)) is not None:
            column = NameIndex(whole.columns).find(key)
            target = whole
    except FieldError as error:
        raise ReplyError(f"{place}: {error}") from None
    if column is None:
        raise ReplyError(f"{place}: {missing(key, target.columns, f'the table {target.name!r}')}")
    return _written(column, value, finder, place)


def _choice(target: FieldTarget, value: Any, finder: FieldFinder, place: str) -> Any:
    """Return choices by id or by name. Names that the task does not show are looked up in the form."""
    items = value if isinstance(value, _LISTS) else [value]
    shown = target.choices
    unknown = [item for item in items if isinstance(item, str) and item not in shown]
    if unknown:
        listed = ", ".join(map(repr, shown)) or "none"
        why = f"{place}: give a choice by its id; of names the task shows {listed}, not {unknown[0]!r}"
        whole = finder.whole(target, why)
        shown = whole.choices if whole is not None else shown
    ids = [named(shown, item, place, f"choice of {target.name!r}") if isinstance(item, str) else item for item in items]
    return _ids("choice_ids")(ids if isinstance(value, _LISTS) else ids[0], place)


def _items(target: FieldTarget, value: Any, finder: FieldFinder, place: str) -> Any:
    """Catalog items by id, or by the value in the catalog's first column."""
    names = [item for item in value if isinstance(item, str)]
    if not names:
        return value
    if target.catalog_id is None:
        whole = finder.whole(target, f"{place}: the task does not show which catalog the field is of")
        target = whole if whole is not None else target
    if target.catalog_id is None:
        return wrong(place, names[0], "an id: nothing tells which catalog the field is of")
    ids = finder.known.item_ids(target.catalog_id, names, place)
    return [ids[item] if isinstance(item, str) else item for item in value]


_SIMPLE = frozenset(
    {"text", "email", "phone", "money", "number", "date", "due_date", "due_date_time", "time", "checkmark", "flag"}
)
"""The types of fields whose value is a text or a number and never an object."""
_BY_TYPE: dict[str, Convert] = {
    "text": _text,
    "email": _text,
    "phone": _text,
    "money": _number,
    "number": _number,
    "date": day,
    "due_date": day,
    "due_date_time": _date_time,
    "time": _time,
    "checkmark": _checkmark,
    "flag": _checkmark,
    "title": _title,
    "person": person,
    "catalog": _ids("item_ids", "item_name"),
    "form_link": _ids("task_ids"),
    "file": _files,
}
"""The converters by type. Other types take any value that JSON carries, and every type takes a dict in Pyrus's own shape."""
