"""Write form fields: turn the value of a request into the value that a task shows (protocol 3.6)."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from bothost.testing.fake_pyrus.world import ApiRefusal, Json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bothost.testing.fake_pyrus.world import PyrusWorld

READ_ONLY = frozenset({"step", "status", "creation_date", "note", "author", "project"})
BY = (("id", "invalid_field_id"), ("code", "invalid_field_code"), ("name", "invalid_field_name"))


def field_updates(world: PyrusWorld, task: Json, updates: Any) -> list[Json]:
    """Apply updates to a task's fields, and return the comment's fields. Raises ApiRefusal 400."""
    if not isinstance(updates, list):
        raise ApiRefusal(400, "invalid_json", "field_updates is a list")
    return [update(world, task, one) for one in updates]


def update(world: PyrusWorld, task: Json, given: Any) -> Json:
    """Apply one update."""
    if not isinstance(given, dict):
        raise ApiRefusal(400, "invalid_json", "a field update is an object")
    target = target_of(world, task, given)
    if target.get("type") in READ_ONLY:
        raise ApiRefusal(400, "field_is_read_only", f"{target.get('name')} cannot be written")
    value = given.get("value")
    if value is None:
        target.pop("value", None)
    else:
        target["value"] = written(world, target, value)
    if "duration" in given:
        target["duration"] = given["duration"]
    shown: Json = {key: target[key] for key in ("id", "type", "name", "code") if key in target}
    return {**shown, **({"value": copy.deepcopy(target["value"])} if "value" in target else {})}


def target_of(world: PyrusWorld, task: Json, given: Json) -> Json:
    """Find the field that an update is for. Raises ApiRefusal 400.

    A field that was never shown is made, unless the world is strict or knows the definition of the task's form.
    """
    defined = world.forms.get(task.get("form_id") or 0, {}).get("fields", [])
    try:
        return find(task.get("fields", []), given)
    except ApiRefusal as refusal:
        if refusal.code == "field_is_in_table" or (world.strict and not defined):
            raise
    if defined:
        blank = find_blank(defined, given)
        task.setdefault("fields", []).append(blank)
        return blank
    made: Json = {"id": given.get("id") or world.next_id("field"), "name": given.get("name") or "", "type": "unknown"}
    if given.get("code"):
        made["code"] = given["code"]
    task.setdefault("fields", []).append(made)
    return made


def find_blank(defined: list[Json], given: Json) -> Json:
    """Make the empty field of a form's definition that an update names. Raises ApiRefusal 400, also for a table's column."""
    definition = find(list(definitions(defined)), given)
    return {key: definition[key] for key in ("id", "type", "name", "code", "info") if key in definition}


def definitions(defined: list[Json]) -> Iterator[Json]:
    """Yield all fields of a form's definition, those within sections too."""
    for one in defined:
        yield one
        yield from definitions((one.get("info") or {}).get("fields", []))


def find(fields: list[Json], given: Json) -> Json:
    """Return the field an update names, in sections and choices too. Raises ApiRefusal 400."""
    for key, code in BY:
        if given.get(key) is None:
            continue
        for one, in_table in walk(fields):
            info = one.get("info") or {}
            if given[key] == (one.get(key) or (info.get("code") if key == "code" else None)):
                if in_table:
                    raise ApiRefusal(400, "field_is_in_table", f"{given[key]!r} is written through its table")
                return one
        raise ApiRefusal(400, code, f"no field {given[key]!r}")
    raise ApiRefusal(400, "invalid_field_id", "a field update names no field")


def walk(fields: Any, *, in_table: bool = False) -> Iterator[tuple[Json, bool]]:
    """Yield all fields, nested ones too, and whether they are cells."""
    for one in fields if isinstance(fields, list) else []:
        yield one, in_table
        value = one.get("value")
        if isinstance(value, dict):
            yield from walk(value.get("fields"), in_table=in_table)
        elif one.get("type") == "table" and isinstance(value, list):
            for row in value:
                yield from walk(row.get("cells"), in_table=True)


def written(world: PyrusWorld, target: Json, value: Any) -> Any:
    """Return the value as the task will show it. Raises ApiRefusal 400."""
    convert = CONVERTERS.get(target.get("type", ""))
    return copy.deepcopy(value) if convert is None else convert(world, target, value)


def a_number(_world: PyrusWorld, target: Json, value: Any) -> Any:
    """Return a number of a field for money or numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ApiRefusal(400, "invalid_value_format", f"{target.get('name')} takes a number")
    return value


def a_text(_world: PyrusWorld, target: Json, value: Any) -> Any:
    """Return a text of a field for text, e-mail or phone."""
    if not isinstance(value, str):
        raise ApiRefusal(400, "invalid_value_format", f"{target.get('name')} takes a text")
    return value


def matching(pattern: str) -> Callable[[PyrusWorld, Json, Any], Any]:
    """Return a converter of texts that match the pattern."""

    def check(_world: PyrusWorld, target: Json, value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ApiRefusal(400, "invalid_value_format", f"{target.get('name')} does not take {value!r}")
        return value

    return check


def a_person(world: PyrusWorld, target: Json, value: Any) -> Any:
    """Return a person by id or e-mail."""
    if not isinstance(value, dict) or not (isinstance(value.get("id"), int) or isinstance(value.get("email"), str)):
        raise ApiRefusal(400, "invalid_value_format", f"{target.get('name')} takes a person's {{id}} or {{email}}")
    return world.person(value)


def a_section(_world: PyrusWorld, target: Json, value: Any) -> Any:
    """Return a section with its box ticked or not. Fields in it are written by their own ids."""
    if not isinstance(value, dict) or value.get("checkmark") not in ("checked", "unchecked"):
        raise ApiRefusal(400, "invalid_value_format", f"{target.get('name')} is a section and takes a checkmark")
    return {**(target.get("value") or {}), "checkmark": value["checkmark"]}


def files(world: PyrusWorld, _target: Json, value: Any) -> Any:
    """Return uploaded files."""
    if not isinstance(value, list):
        raise ApiRefusal(400, "invalid_value_format", "a file field takes a list")
    return [world.attached(one) for one in value]


def catalog_items(world: PyrusWorld, target: Json, value: Any) -> Any:
    """Return rows of a catalog by `item_id`, `item_ids` or `item_name`."""
    catalog = world.catalogs.get((target.get("info") or {}).get("catalog_id") or target.get("catalog_id") or 0)
    if not isinstance(value, dict):
        raise ApiRefusal(400, "invalid_value_format", "a catalog field takes item_id, item_ids or item_name")
    ids = value.get("item_ids") or [value.get("item_id")]
    if catalog is None:
        return {"item_id": ids[0], "item_ids": ids}
    rows = {item["item_id"]: item["values"] for item in catalog["items"]}
    if value.get("item_name") is not None:
        ids = [key for key, values in rows.items() if values[0] == value["item_name"]][:1] or [value["item_name"]]
    if any(one not in rows for one in ids):
        raise ApiRefusal(400, "invalid_catalog_item_id", f"the catalog has no {ids!r}")
    headers = [header["name"] for header in catalog["catalog_headers"]]
    shown = [rows[one] for one in ids]
    return {"item_id": ids[0], "item_ids": ids, "headers": headers, "values": shown[0], "rows": shown}


def choices(_world: PyrusWorld, target: Json, value: Any) -> Any:
    """Return choices by id, with the names that the form's options tell."""
    if not isinstance(value, dict):
        raise ApiRefusal(400, "invalid_value_format", "a multiple choice takes choice_ids")
    ids = value.get("choice_ids") or [value.get("choice_id")]
    options = {one.get("choice_id"): one.get("choice_value") for one in (target.get("info") or {}).get("options", [])}
    if options and any(one not in options for one in ids):
        raise ApiRefusal(400, "invalid_choice_id", f"{target.get('name')} has no {ids!r}")
    names = [options[one] for one in ids if one in options]
    return {"choice_id": ids[0], "choice_ids": ids, **({"choice_names": names} if names else {})}


def task_links(world: PyrusWorld, _target: Json, value: Any) -> Any:
    """Return tasks by id."""
    if not isinstance(value, dict):
        raise ApiRefusal(400, "invalid_value_format", "a form link takes task_ids")
    ids = value.get("task_ids") or [value.get("task_id")]
    for one in ids:
        world.task(one)
    return {"task_id": ids[0], "task_ids": ids}


def table_rows(world: PyrusWorld, target: Json, value: Any) -> Any:
    """Return the rows by row_id. `delete` removes a row; an unknown row_id or none adds one."""
    if not isinstance(value, list):
        raise ApiRefusal(400, "invalid_value_format", "a table takes a list of rows")
    rows: dict[int, Json] = {row["row_id"]: row for row in target.get("value") or []}
    columns = {column.get("id"): column for column in (target.get("info") or {}).get("columns", [])}
    for given in value:
        if not isinstance(given, dict) or not given.keys() & {"cells", "row_id"}:
            raise ApiRefusal(400, "invalid_value_format", f"a row of {target.get('name')} is an object with cells")
        row_id = given.get("row_id", max(rows, default=-1) + 1)
        if given.get("delete"):
            rows.pop(row_id, None)
            continue
        cells = {cell["id"]: cell for cell in rows.get(row_id, {}).get("cells", [])}
        for cell in given.get("cells", []):
            check_cell(world, columns, cell)
            cells[cell["id"]] = {**cells.get(cell["id"], {}), **cell, "parent_id": target["id"], "row_id": row_id}
        rows[row_id] = {"row_id": row_id, "cells": list(cells.values())}
    return list(rows.values())


def check_cell(world: PyrusWorld, columns: Json, cell: Any) -> None:
    """Raise ApiRefusal 400 for a cell without an id, of no column, or whose value does not fit its column."""
    if not isinstance(cell, dict) or not isinstance(cell.get("id"), int):
        raise ApiRefusal(400, "invalid_field_id", "a cell names its column by id")
    if columns and cell["id"] not in columns:
        raise ApiRefusal(400, "invalid_field_id", f"the table has no column {cell['id']}")
    if columns and cell.get("value") is not None:
        written(world, columns[cell["id"]], cell["value"])


CONVERTERS: dict[str, Callable[[PyrusWorld, Json, Any], Any]] = {
    "money": a_number, "number": a_number, "text": a_text, "email": a_text, "phone": a_text,
    "date": matching(r"\d{4}-\d\d-\d\d"), "due_date": matching(r"\d{4}-\d\d-\d\d"), "time": matching(r"\d\d:\d\d"),
    "due_date_time": matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "checkmark": matching("checked|unchecked"),
    "flag": matching("none|checked|unchecked"), "person": a_person, "file": files, "catalog": catalog_items,
    "multiple_choice": choices, "form_link": task_links, "table": table_rows, "title": a_section,
}  # fmt: skip
