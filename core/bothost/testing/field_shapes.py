"""Make a form's fields from Python values, with the type and the shape that a value has in Pyrus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from bothost.testing.checks import FIELD_TYPES
from bothost.testing.people import IdNumbering, PersonDict, as_person, file, plain
from bothost.text import nearest


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """The arguments of `field(…)`; the field's name is the key under which it stands."""

    value: Any = None
    type: str | None = None
    code: str | None = None
    id: int | None = None
    keys: dict[str, Any] = dataclass_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _FieldPosition:
    """The position of a field; the parts of its value derive their own ids from it."""

    id: int
    form_id: int | None
    numbering: IdNumbering


def check_spec(spec: FieldSpec) -> FieldSpec:
    """Return the spec with its value in the type's own class: Decimal for money, int for a whole number given as text.

    Raises ValueError for a type that Pyrus does not have and for a value that its type cannot hold.
    """
    if spec.type is None or spec.value is None:
        return spec
    if spec.type not in FIELD_TYPES:
        raise ValueError(f"field(type={spec.type!r}): Pyrus has no such type{nearest(spec.type, FIELD_TYPES)}")
    wanted = _WANTED.get(spec.type)
    if wanted is None:
        return spec
    try:
        return replace(spec, value=wanted(spec.value))
    except (ValueError, TypeError, ArithmeticError):
        raise ValueError(
            f"field({spec.value!r}, type={spec.type!r}): a {spec.type} field cannot hold this value"
        ) from None


def _exact(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError
    return value if isinstance(value, int | float | Decimal) else Decimal(value)


def _whole_day(value: Any) -> Any:
    return value if isinstance(value, date) else date.fromisoformat(value)


def _moment(value: Any) -> Any:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _clock_time(value: Any) -> Any:
    return value if isinstance(value, time) else time.fromisoformat(value)


def _of(*kinds: type) -> Callable[[Any], Any]:
    """Return a check that a value is of one of these types."""

    def checked(value: Any) -> Any:
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise TypeError
        return value

    return checked


def _ticked(value: Any) -> Any:
    if not isinstance(value, bool) and value not in ("checked", "unchecked", "none"):
        raise TypeError
    return value


def _rows(value: Any) -> Any:
    if not isinstance(value, list | tuple) or not all(isinstance(row, Mapping) for row in value):
        raise TypeError
    return value


_WANTED: dict[str, Callable[[Any], Any]] = {
    "money": _exact,
    "number": _exact,
    "date": _whole_day,
    "due_date": _whole_day,
    "due_date_time": _moment,
    "time": _clock_time,
    **dict.fromkeys(("text", "email", "phone", "note", "status"), _of(str)),
    **dict.fromkeys(("checkmark", "flag"), _ticked),
    **dict.fromkeys(("person", "author"), _of(str, Mapping)),
    **dict.fromkeys(("catalog", "multiple_choice", "file"), _of(str, int, list, tuple, Mapping)),
    "form_link": _of(int, list, tuple, Mapping),
    "step": _of(int),
    "table": _rows,
    "title": _of(Mapping),
}


def shape(key: str | int, value: Any, form_id: int | None, numbering: IdNumbering, **keys: Any) -> dict[str, Any]:
    """Return one field of a form as Pyrus sends it. An empty value (None) is absent, as in Pyrus."""
    spec = value if isinstance(value, FieldSpec) else FieldSpec(value)
    name = f"Field {key}" if isinstance(key, int) else key
    number = spec.id or (key if isinstance(key, int) else numbering.known("field", form_id, name))
    kind = spec.type or type_of(spec.value)
    made: dict[str, Any] = {"id": number, "type": kind, "name": name}
    if spec.code is not None:
        made["code"] = spec.code
    made |= keys
    if spec.value is not None or kind == "flag":
        made["value"] = SHAPES.get(kind, _as_it_is)(spec.value, _FieldPosition(number, form_id, numbering))
    return made | spec.keys


def type_of(value: Any) -> str:
    """Return the type of field that a Python value most naturally fills."""
    if isinstance(value, list | tuple) and value:
        first = value[0]
        if isinstance(first, Mapping):
            return "file" if "md5" in first else "table"
        return "multiple_choice"
    if isinstance(value, Mapping):
        return "person" if isinstance(value, PersonDict) else "file" if "md5" in value else "title"
    return next((name for kind, name in _BY_CLASS if isinstance(value, kind)), "text")


_BY_CLASS: tuple[tuple[type, str], ...] = (
    (bool, "checkmark"),
    (Decimal, "money"),
    (int, "number"),
    (float, "number"),
    (datetime, "due_date_time"),
    (date, "date"),
    (time, "time"),
)


def _as_it_is(value: Any, _place: _FieldPosition) -> Any:
    return plain(value)


def _tick(value: Any, _place: _FieldPosition) -> Any:
    if isinstance(value, bool):
        return "checked" if value else "unchecked"
    return "none" if value is None else value


def _time(value: Any, _place: _FieldPosition) -> Any:
    return value.strftime("%H:%M") if isinstance(value, time) else value


def _person(value: Any, _place: _FieldPosition) -> Any:
    return as_person(value) if isinstance(value, str) or value is None else value


def _choice(value: Any, place: _FieldPosition) -> Any:
    if isinstance(value, Mapping):
        return value
    names = [value] if isinstance(value, str | int) else list(value)
    ids = [name if isinstance(name, int) else place.numbering.known("choice", place.id, name) for name in names]
    made: dict[str, Any] = {"choice_ids": ids, "choice_names": [str(name) for name in names]}
    return made if not ids else {"choice_id": ids[0]} | made


def _catalog(value: Any, place: _FieldPosition) -> Any:
    """Return catalog items of a name, a row (`{"Supplier": "Acme", "Tax id": "77"}`) or several. Pyrus's own shape stays."""
    if isinstance(value, Mapping) and "headers" in value:
        return value
    items = [value] if isinstance(value, str | Mapping) else list(value)
    rows: list[Mapping[str, Any]] = [item if isinstance(item, Mapping) else {"Name": item} for item in items]
    headers = list(rows[0]) if rows else []
    cells = [[str(row.get(header, "")) for header in headers] for row in rows]
    ids = [place.numbering.known("item", place.id, tuple(row)) for row in cells]
    made: dict[str, Any] = {"item_ids": ids, "item_names": [row[0] for row in cells if row], "headers": headers}
    return ({"item_id": ids[0]} if ids else {}) | made | {"values": cells[0] if cells else [], "rows": cells}


def _link(value: Any, _place: _FieldPosition) -> Any:
    if isinstance(value, Mapping):
        return (
            {"task_id": value["id"], "task_ids": [value["id"]], "subject": value.get("text", "")}
            if "id" in value
            else value
        )
    ids = [value] if isinstance(value, int) else list(value)
    return {"task_id": ids[0], "task_ids": ids, "subject": f"Task {ids[0]}"} if ids else {"task_ids": []}


def _files(value: Any, _place: _FieldPosition) -> Any:
    items = [value] if isinstance(value, str | Mapping) else list(value)
    return [file(item) if isinstance(item, str) else item for item in items]


def _table(value: Any, place: _FieldPosition) -> Any:
    rows = []
    for position, row in enumerate(value):
        if "cells" in row:
            rows.append(row)
            continue
        cells = [
            shape(key, cell, place.form_id, place.numbering, parent_id=place.id, row_id=position)
            for key, cell in row.items()
            if cell is not False  # Pyrus leaves an unticked box of a table out
        ]
        rows.append({"row_id": position, "position": position, "cells": cells})
    return rows


def _section(value: Any, place: _FieldPosition) -> Any:
    if isinstance(value, Mapping) and "fields" in value and isinstance(value["fields"], list):
        return value
    fields = [shape(key, item, place.form_id, place.numbering, parent_id=place.id) for key, item in value.items()]
    return {"fields": fields}


SHAPES: dict[str, Callable[[Any, _FieldPosition], Any]] = {
    "checkmark": _tick,
    "flag": _tick,
    "time": _time,
    "person": _person,
    "author": _person,
    "multiple_choice": _choice,
    "catalog": _catalog,
    "form_link": _link,
    "file": _files,
    "table": _table,
    "title": _section,
}
