"""Answer requests for a register of the fake Pyrus: choose the tasks of a form, and make their rows."""

from __future__ import annotations

import copy
import csv
import io
import re
from typing import TYPE_CHECKING, Any

from bothost.testing.fake_pyrus.fields import walk
from bothost.testing.fake_pyrus.world import ApiRefusal, Json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bothost.testing.fake_pyrus.world import PyrusWorld

MOST = 20_000
LEFT_OUT = ("form_id", "approvals", "comments")
"""The keys that rows do not have (protocol 5.2)."""
BOUNDS: tuple[tuple[str, str, Callable[[str, str], bool]], ...] = (
    ("created_after", "create_date", str.__ge__),
    ("created_before", "create_date", str.__lt__),
    ("modified_after", "last_modified_date", str.__ge__),
    ("modified_before", "last_modified_date", str.__lt__),
    ("closed_after", "close_date", str.__ge__),
    ("closed_before", "close_date", str.__lt__),
)


def register(world: PyrusWorld, form_id: int, wanted: Mapping[str, Any]) -> Json:
    """Return the answer to a register request. Raises ApiRefusal."""
    if form_id not in world.forms and not any(task.get("form_id") == form_id for task in world.tasks.values()):
        raise ApiRefusal(403, "access_denied_form", f"no form {form_id}")
    count = int(wanted.get("item_count", MOST))
    if not 1 <= count <= MOST:
        raise ApiRefusal(400, "invalid_item_count", f"item_count is 1 to {MOST}")
    found = [task for task in world.tasks.values() if task.get("form_id") == form_id and fits(task, wanted)]
    by_id = wanted.get("sort") == "id"
    found.sort(
        key=lambda task: (task["id"] if by_id else task["last_modified_date"], task["id"]), reverse=world.newest_first
    )
    return {"tasks": [row(task, wanted) for task in found[:count]]}


def fits(task: Json, wanted: Mapping[str, Any]) -> bool:
    """Return whether a task passes all filters."""
    if task.get("is_closed") and not yes(wanted.get("include_archived")):
        return False
    steps, ids = numbers(wanted.get("steps")), numbers(wanted.get("task_ids"))
    if (steps and task.get("current_step") not in steps) or (ids and task["id"] not in ids):
        return False
    for key, member, holds in BOUNDS:
        if key in wanted and not holds(task.get(member) or "", str(wanted[key])):
            return False
    return all(field_fits(task, int(key[3:]), value) for key, value in wanted.items() if re.fullmatch(r"fld\d+", key))


def field_fits(task: Json, field_id: int, wanted: Any) -> bool:
    """Return whether a field passes: `*` for any value, `empty`, `gt…`, `lt…`, or one of a list."""
    value = next((one.get("value") for one, _ in walk(task.get("fields")) if one.get("id") == field_id), None)
    shown = texts(value)
    for part in wanted if isinstance(wanted, list) else str(wanted).split(","):
        text = str(part)
        if text in {"*", "empty"}:
            return (value is None) == (text == "empty")
        if text[:2] in ("gt", "lt"):
            if value is None or not compares(value, text):
                return False
        elif text in shown:
            return True
    return str(wanted)[:2] in ("gt", "lt")


def compares(value: Any, text: str) -> bool:
    """Return whether `gt` or `lt` holds, by number if both are numbers, else by text."""
    bound: Any = text[2:]
    if isinstance(value, int | float):
        bound = float(bound)
    else:
        value = str(value)
    return bool(value > bound if text.startswith("gt") else value < bound)


def texts(value: Any) -> set[str]:
    """Return the texts by which a filter may name a value: its text, or the ids in it."""
    if isinstance(value, dict):
        ids = [value.get(key) for key in ("id", "item_id", "choice_id", "task_id")]
        lists = [one for key in ("item_ids", "choice_ids", "task_ids") for one in value.get(key) or []]
        return {str(one) for one in (*ids, *lists) if one is not None}
    return set() if value is None else {str(value)}


def row(task: Json, wanted: Mapping[str, Any]) -> Json:
    """Return a task as a register shows it."""
    shown = {key: copy.deepcopy(value) for key, value in task.items() if key not in LEFT_OUT}
    field_ids = numbers(wanted.get("field_ids"))
    if field_ids:
        shown["fields"] = [one for one in shown.get("fields", []) if one.get("id") in field_ids]
    return shown


def as_csv(tasks: list[Json], wanted: Mapping[str, Any]) -> bytes:
    """Return a register as text: a line for each task, its number, its step, and its fields by their names."""
    names = list(dict.fromkeys(one.get("name", "") for task in tasks for one in task.get("fields", [])))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=str(wanted.get("delimiter") or ","))
    writer.writerow(["Task", "Step", *names])
    for task in tasks:
        cells = {one.get("name", ""): one.get("value") for one in task.get("fields", [])}
        writer.writerow([task["id"], task.get("current_step", ""), *(cells.get(name) for name in names)])
    return text.getvalue().encode()


def numbers(value: Any) -> set[int]:
    """Return ids with commas, or a list of them."""
    parts = value if isinstance(value, list) else str(value).split(",") if value not in (None, "") else []
    return {int(part) for part in parts}


def yes(value: Any) -> bool:
    """Return whether a flag is set: `y` in a query, true in JSON."""
    return value is True or value in ("y", "true")
