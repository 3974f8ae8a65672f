"""`field_updates` by name, code or id: found in the event's task, the value in Pyrus's shape for the field's type."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bothost.errors import ReplyError
from bothost.pyrus.envelope import decode
from bothost.pyrus.model.parts import Person
from bothost.pyrus.reply.reply import Reply, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.pyrus.model.task import Task

FIELDS = [
    {"id": 1, "type": "text", "name": "Note", "code": "note_text", "value": "x"},
    {"id": 2, "type": "money", "name": "Сумма", "code": "amount", "value": 5},
    {"id": 3, "type": "date", "name": "Day"},
    {"id": 4, "type": "time", "name": "Hour"},
    {"id": 5, "type": "due_date_time", "name": "Due"},
    {"id": 6, "type": "checkmark", "name": "Box"},
    {"id": 7, "type": "flag", "name": "Flag"},
    {"id": 8, "type": "person", "name": "Chief"},
    {"id": 9, "type": "catalog", "name": "City", "value": {"item_ids": [1], "headers": ["City"], "rows": [["Moscow"]]}},
    {"id": 10, "type": "multiple_choice", "name": "Colour", "value": {"choice_ids": [3, 4], "choice_names": ["red", "blue"]}},
    {"id": 11, "type": "form_link", "name": "Links"},
    {"id": 12, "type": "file", "name": "Files"},
    {"id": 13, "type": "table", "name": "Rows", "value": [{"row_id": 1, "cells": [
        {"id": 14, "type": "text", "name": "Cell", "row_id": 1, "parent_id": 13, "value": "a"}]}]},
    {"id": 15, "type": "status", "name": "State", "value": "open"},
    {"id": 16, "type": "title", "name": "Section", "value": {"fields": [
        {"id": 17, "type": "number", "name": "Inner", "parent_id": 16, "value": 1}]}},
    {"id": 18, "type": "hologram", "name": "Future"},
    {"id": 19, "type": "text", "name": "Twice"},
    {"id": 20, "type": "text", "name": "Twice"},
]  # fmt: skip


class Upload:
    guid = "0b1d"


@pytest.fixture
def task() -> Task:
    return decode(json.dumps({"task_id": 1, "task": {"id": 1, "form_id": 321, "fields": FIELDS}}).encode()).task


@pytest.fixture
def written(task: Task) -> Callable[[Any], Any]:
    """The `field_updates` that are sent for what a handler gives."""
    return lambda updates: json.loads(encode(Reply(field_updates=updates), task))["field_updates"]


@pytest.fixture
def refused(task: Task) -> Callable[[Any], str]:
    """The error for what a handler gives."""

    def error_of(updates: Any) -> str:
        with pytest.raises(ReplyError) as error:
            encode({"field_updates": updates}, task)
        return str(error.value)

    return error_of


def test_fields_are_found_by_name_code_and_id(written: Callable[[Any], Any]) -> None:
    assert written({"Сумма": 5}) == [{"id": 2, "value": 5}]
    assert written({"amount": Decimal("12.50"), 1: "y"}) == [{"id": 2, "value": 12.5}, {"id": 1, "value": "y"}]
    assert written({"Inner": 3}) == [{"id": 17, "value": 3}]


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("Day", date(2026, 1, 5), "2026-01-05"), ("Day", "2026-01-05", "2026-01-05"), ("Hour", time(9, 30), "09:30"),
        ("Hour", "09:30", "09:30"), ("Due", datetime(2026, 1, 5, 9, tzinfo=UTC), "2026-01-05T09:00:00Z"),
        ("Box", True, "checked"), ("Box", False, "unchecked"), ("Box", "checked", "checked"), ("Flag", True, "checked"),
        ("Flag", "none", "none"), ("Chief", 5, {"id": 5}), ("Chief", "a@b", {"email": "a@b"}),
        ("Chief", Person(id=7), {"id": 7}), ("Chief", {"id": 9}, {"id": 9}), ("City", 5, {"item_ids": [5]}),
        ("City", [5, 6], {"item_ids": [5, 6]}), ("City", "Perm", {"item_name": "Perm"}),
        ("City", {"item_id": 5}, {"item_id": 5}), ("Colour", 3, {"choice_ids": [3]}), ("Colour", "blue", {"choice_ids": [4]}),
        ("Colour", ["red", 4], {"choice_ids": [3, 4]}), ("Links", 5, {"task_ids": [5]}), ("Links", (5, 6), {"task_ids": [5, 6]}),
        ("Files", Upload(), [{"guid": "0b1d"}]), ("Files", [Upload(), {"attachment_id": 5}], [{"guid": "0b1d"}, {"attachment_id": 5}]),
        ("Rows", [{"row_id": 1, "cells": [{"id": 14, "value": Decimal("1.5")}]}], [{"row_id": 1, "cells": [{"id": 14, "value": 1.5}]}]),
        ("Rows", [{"row_id": 1, "delete": True}], [{"row_id": 1, "delete": True}]),
        ("Section", True, {"checkmark": "checked"}), ("Future", {"any": [1]}, {"any": [1]}), ("Note", None, None), ("Box", None, None),
        ("Сумма", 0, 0),
    ],
)  # fmt: skip
def test_a_value_is_written_as_its_field_wants_it(
    written: Callable[[Any], Any], name: str, value: Any, sent: Any
) -> None:
    (update,) = written({name: value})
    assert update["value"] == sent


def test_what_a_field_was_read_as_can_be_written_back(written: Callable[[Any], Any], task: Task) -> None:
    assert written({"City": task.value("City")}) == [{"id": 9, "value": {"item_ids": [1]}}]
    assert written({"Colour": task.value("Colour")}) == [{"id": 10, "value": {"choice_ids": [3, 4]}}]
    assert written({"Сумма": task.value("Сумма")}) == [{"id": 2, "value": 5}]


@pytest.mark.parametrize(
    ("updates", "error"),
    [
        ({"Суммаа": 5}, "field_updates['Суммаа']: the task has no field 'Суммаа'; near: 'Сумма' (id 2, code 'amount')"),
        ({" ": 5}, "field_updates[' ']: a field is asked for by its name, code or id, and not by ' '"),
        ({"Rows": [{"": "b"}]}, "field_updates['Rows'][0]['']: a field is asked for by its name, code or id, and not by ''"),
        ({99: 5}, "field_updates[99]: the task has no field 99"),
        ({"State": "closed"}, "field_updates['State']: a field of type status can only be read"),
        ({"Cell": "b"}, "field_updates['Cell']: stands in a table; write the table's field"),
        ({"Twice": "b"}, "names 2 fields"),
        ({"Colour": "green"}, "give a choice by its id; of names the task shows 'red', 'blue', not 'green'"),
        ({"Note": 5}, "field_updates['Note']: 5 cannot stand here; give a text"),
        ({"Сумма": True}, "give a number"),
        ({"Сумма": "5.50"}, "'5.50' cannot stand here; give a number"),
        ({"Сумма": {"id": 5}}, "give a number"),
        ({"Hour": "half past nine"}, "give a time, or a text such as 09:30"),
        ({"Day": datetime(2026, 1, 5, tzinfo=UTC)}, "give a date"),
        ({"Due": date(2026, 1, 5)}, "give a datetime with a zone"),
        ({"Due": datetime(2026, 1, 5)}, "has no zone"),
        ({"Box": "yes"}, "give True or False"),
        ({"Chief": 0}, "a person's id"),
        ({"City": 1.5}, "an id or a list of ids"),
        ({"Files": 5}, "an Upload"),
        ({"Rows": [{"Cel": "b"}]}, "has no field 'Cel'"),
        ({"Rows": ["b"]}, "a list of rows"),
        ({"Rows": {1: 2}}, "not a text"),
        ({"Future": b"x"}, "what JSON can carry"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_an_error_with_what_would_be_right(
    refused: Callable[[Any], str], updates: Any, error: str
) -> None:
    assert error in refused(updates)


def test_a_list_is_sent_as_written(written: Callable[[Any], Any]) -> None:
    updates = [{"id": 999, "value": {"x": 1}}, {"name": "Nowhere", "value": None}]
    assert written(updates) == updates
