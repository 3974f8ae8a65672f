"""`field_updates={"Сумма": 5, "amount": …, 12: …}` in Pyrus's shape: the field found in the event's task, the value by its type."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from enum import Enum
from typing import TYPE_CHECKING, Any

from bothost.errors import FieldError, ReplyError
from bothost.pyrus.reply.values import attachment, clock_time, day, instant, part_of, person, plain, wrong

if TYPE_CHECKING:
    from bothost.pyrus.model.fields import Field
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
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ReplyError(f"{place}: {key!r} is not a field; give a name, a code or an id")
        plain(value, f"{place}[{key!r}]")


def resolve(updates: Any, task: Task | None, place: str) -> list[Any]:
    """Pyrus's list. Raises ReplyError for unknown names (with near ones), read-only types and values that do not fit."""
    if not isinstance(updates, Mapping):
        return _as_written(updates, place)
    check(updates, place)
    if task is None and updates:
        raise ReplyError(
            f"{place}: fields by name, code or id need a task to find them in; here write a list as Pyrus has it"
        )
    return [_update(key, value, task, f"{place}[{key!r}]") for key, value in updates.items() if task is not None]


def _as_written(updates: Any, place: str) -> list[Any]:
    if not isinstance(updates, _LISTS):
        return wrong(place, updates, "a dict {name, code or id: value}, or a list as Pyrus has it")
    for item in updates:
        if not isinstance(item, Mapping):
            wrong(place, item, "a list of dicts such as {'id': 12, 'value': 5}")
    return plain(updates, place)  # type: ignore[no-any-return]


def _update(key: str | int, value: Any, task: Task, place: str) -> dict[str, Any]:
    field = _found(key, task, place)
    if field.type in READ_ONLY:
        raise ReplyError(f"{place}: a field of type {field.type} can only be read; Pyrus writes it itself")
    if field.row_id is not None:
        raise ReplyError(f"{place}: stands in a table; write the table's field, with rows by row_id")
    written = None if value is None else _value(field, value, place)
    return {"id": field.id, "value": written} if field.id is not None else {"name": field.name, "value": written}


def _found(key: str | int, task: Task, place: str) -> Field:
    try:
        field = task.field(key)
        if field is None:
            task[key]  # raises, and lists near names
    except FieldError as error:
        raise ReplyError(f"{place}: {error}") from None
    assert field is not None
    return field


def _value(field: Field, value: Any, place: str) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if field.type == "multiple_choice" and not isinstance(value, Mapping):
        return _choice(field, value, place)
    convert = _BY_TYPE.get(field.type or "")
    return plain(value, place) if convert is None or isinstance(value, Mapping) else convert(value, place)


def _checkmark(value: Any, place: str) -> Any:
    if isinstance(value, bool):
        return "checked" if value else "unchecked"
    return value if value in ("checked", "unchecked", "none") else wrong(place, value, "True or False")


def _title(value: Any, place: str) -> Any:
    return {"checkmark": _checkmark(value, place)}


def _number(value: Any, place: str) -> Any:
    if isinstance(value, (bool, *_LISTS, date, time)):
        return wrong(place, value, "a number")
    return plain(value, place)


def _text(value: Any, place: str) -> Any:
    return value if isinstance(value, str) and value.isascii() else _plain_text(value, place)


def _plain_text(value: Any, place: str) -> Any:
    return plain(value, place) if isinstance(value, str) else wrong(place, value, "a text")


def _time(value: Any, place: str) -> Any:
    if isinstance(value, time):
        return clock_time(value, place)
    return value if isinstance(value, str) else wrong(place, value, "a time, or a text such as 09:30")


def _date_time(value: Any, place: str) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return wrong(place, value, "a datetime with a zone")
    return instant(value, place)


def _ids(key: str, by_name: str = "") -> Convert:
    """An id, several, a part that has ids, and by name where Pyrus takes one."""

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


_ROW = "a list of rows as Pyrus has them, {'row_id': 1, 'cells': [{'id': 22, 'value': 5}]}"


def _table(value: Any, place: str) -> Any:
    if not isinstance(value, _LISTS):
        return wrong(place, value, _ROW)
    rows = plain(value, place)
    for row in rows:
        if not isinstance(row, dict) or not ("cells" in row or "row_id" in row):
            wrong(place, row, _ROW)
    return rows


def _choice(field: Field, value: Any, place: str) -> Any:
    """Choices by id; by name only where the task shows that choice, for only the form's definition has the others."""
    items = value if isinstance(value, _LISTS) else [value]
    shown = dict(zip(getattr(field.value, "names", ()), getattr(field.value, "ids", ()), strict=False))
    for item in items:
        if isinstance(item, str) and item not in shown:
            known = ", ".join(repr(name) for name in shown) or "none"
            raise ReplyError(f"{place}: give a choice by its id; of names the task shows {known}, not {item!r}")
    if isinstance(value, _LISTS):
        value = [shown[item] if isinstance(item, str) else item for item in items]
    elif isinstance(value, str):
        value = shown[value]
    return _ids("choice_ids")(value, place)


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
    "table": _table,
}
"""Other types take any value that JSON carries, and so does every type where a dict is given: Pyrus's own shape."""
