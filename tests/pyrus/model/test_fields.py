"""A form's values in Python's types, found by id, code or name wherever they lie."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bothost.errors import AmbiguousField, FieldError, MissingField
from bothost.pyrus.envelope import decode
from bothost.pyrus.model.parts import File, Person
from bothost.pyrus.model.values import CatalogItems, Choice
from bothost.pyrus.rest import results
from bothost.pyrus.rest.forms import Form

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.pyrus.model.task import Task

    Body = Callable[[str], bytes]


def form(*fields: object) -> Task:
    """A task with these fields."""
    return decode(json.dumps({"task_id": 5, "task": {"id": 5, "form_id": 1, "fields": fields}}).encode()).task


def value(kind: str | None, sent: str, **keys: object) -> Any:
    """The Python value of one field, of the JSON text."""
    field = b'{"id": 1, "type": %b, "value": %b}' % (json.dumps(kind).encode(), sent.encode())
    return decode(b'{"task_id": 5, "task": {"fields": [%b]}}' % field).task[1]


VALUES = {
    1: "Бумага A4, 80 г/м²\nвторая строка",
    2: Decimal("125000.5"),
    3: 40,
    4: Decimal("0.0001"),
    5: date(2026, 2, 28),
    6: time(6, 30),
    7: True,
    8: False,
    9: None,
    10: "seller@example.com",
    11: "79990000000,104",
    12: date(2026, 4, 1),
    13: datetime(2026, 4, 1, 12, 0, tzinfo=UTC),
    21: "40702810000000000001",
    23: (309000, 309001),
    24: True,
    25: "во вложенном поле",
    26: False,
    33: True,
    40: "open",
    41: 2,
    42: datetime(2026, 3, 1, 7, 0, tzinfo=UTC),
    43: "Заполняйте внимательно",
    44: {"projects": [{"id": 71, "name": "Офис", "parent": {"id": 70, "name": "АХО"}}]},
    45: None,
    46: (),
    47: (),
}


@pytest.mark.parametrize(("number", "expected"), VALUES.items())
def test_each_type_of_field_has_its_python_value(number: int, expected: object, body: Body) -> None:
    found = decode(body("02")).task[number]
    assert found == expected
    assert type(found) is type(expected) or isinstance(expected, dict)


def test_persons_files_catalogs_and_choices_are_parts(body: Body) -> None:
    task = decode(body("02")).task
    assert task.value("Куратор", Person)
    assert task["Куратор"].email == "p.sazonov@example.org"
    assert task["Автор"] == task.author
    assert [(file.id, file.version, file.root_id) for file in task["Счёт"]] == [(700100, 2, 700090), (700101, 1, None)]
    assert isinstance(task["Счёт"][0], File)
    vendor = task.value("vendor", CatalogItems)
    assert vendor
    assert (vendor.ids, vendor.names) == ((55001,), ("ООО «Ромашка»",))
    assert vendor.first == {"Название": "ООО «Ромашка»", "ИНН": "7700000000"}
    assert [row["Склад"] for row in task["Склады"].rows] == ["Север", "Юг / 2"]
    payment = task.value("Способ оплаты", Choice)
    assert payment
    assert (payment.ids, payment.names) == ((2,), ("Перевод",))
    assert task["Метки"].ids == (1, 3)
    assert "Перевод" in repr(payment)


def test_older_shapes_show_their_one_item() -> None:
    old = value("catalog", '{"item_id": 7, "headers": ["A", 5, "B"], "values": ["a", "?", "b"]}')
    assert (old.ids, old.rows) == ((7,), ({"A": "a", "B": "b"},))
    assert value("catalog", "{}").first is None
    assert value("multiple_choice", '{"choice_id": 3}').ids == (3,)
    assert value("form_link", '{"task_id": 9}') == (9,)


@pytest.mark.parametrize(
    "sent", ["12345678901234567.89", "0.1", "125000.50", "1e3", "-0.0", "123456789012345678901234567890"]
)
def test_money_is_exact_as_sent(sent: str) -> None:
    assert str(value("money", sent)) == str(Decimal(sent))


def test_numbers_are_ints_only_where_sent_without_a_fraction() -> None:
    assert [(value("number", sent), type(value("number", sent))) for sent in ("40", "40.0", "-1", "1e2")] == [
        (40, int),
        (Decimal("40.0"), Decimal),
        (-1, int),
        (Decimal("1e2"), Decimal),
    ]


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("text", "5"),
        ("money", '"5"'),
        ("money", "true"),
        ("number", "[5]"),
        ("number", "1" * 5000),
        ("date", '"2026-02-31"'),
        ("date", "20260228"),
        ("time", '"25:00"'),
        ("due_date_time", '"soon"'),
        ("creation_date", "5"),
        ("checkmark", '"odd"'),
        ("checkmark", "5"),
        ("flag", '"none"'),
        ("title", "[]"),
        ("title", "{}"),
        ("person", "5"),
        ("catalog", "[]"),
        ("multiple_choice", '"x"'),
        ("status", "{}"),
        ("step", "2.0"),
        ("text", "null"),
        (None, "null"),
    ],
)
def test_a_value_of_the_wrong_type_is_none(kind: str | None, sent: str) -> None:
    assert value(kind, sent) is None


@pytest.mark.parametrize("kind", ["file", "table", "form_link"])
@pytest.mark.parametrize("sent", ["null", "5", "{}", '"x"', "[5]", "[[]]", "true"])
def test_a_list_of_the_wrong_type_is_empty(kind: str, sent: str) -> None:
    assert value(kind, sent) == ()


def test_an_unknown_type_is_the_json_as_sent(body: Body) -> None:
    task = decode(body("14")).task
    assert task["Future"] == {"z": [1, {"q": None}]}
    assert task["No type"] == 5
    assert value("hologram", '[0.1, {"a": "b"}]') == [Decimal("0.1"), {"a": "b"}]
    with pytest.raises(TypeError):
        task["Future"]["z"].append(2)


def test_fields_inside_sections_choices_and_unknown_groups_are_found(body: Body) -> None:
    task = decode(body("14")).task
    assert task["Улица"] == "Ленина, 1"
    assert [field.id for field in task.fields] == [1, 2, 3, 4, 5]
    all_types = decode(body("02")).task
    inside = {field.id: field.fields for field in all_types.fields if field.fields}
    assert {key: [field.id for field in fields] for key, fields in inside.items()} == {
        20: [21],
        24: [25, 26],
        30: [31, 32, 33, 31, 32],
    }
    assert len(all_types.fields) == 32 + 8


def test_a_field_shows_all_that_was_sent(body: Body) -> None:
    task = decode(body("14")).task
    known = task.field("Known")
    assert known
    assert known.raw == {"id": 2, "type": "text", "name": "Known", "value": "still readable", "sensitivity": "high"}
    assert (known.value, known.code, known.parent_id) == ("still readable", None, None)
    due = decode(body("02")).task.field(13)
    assert due
    assert due.duration == 90
    text = form({"id": 1, "duration": "140"}).field(1)
    assert text
    assert text.duration == 140


def test_codes_are_read_from_both_places(body: Body) -> None:
    task = decode(body("17")).task
    codes = {field.code: field.id for field in task.fields if field.code}
    assert len(codes) == 2
    assert all(task.field(code).id == number for code, number in codes.items())  # type: ignore[union-attr]


def test_a_code_goes_before_a_name_and_a_field_before_a_cell() -> None:
    cell = {"id": 31, "type": "text", "name": "Сумма", "value": "cell"}
    task = form(
        {"id": 1, "type": "text", "name": "amount", "value": "by name"},
        {"id": 2, "type": "text", "name": "Сумма", "code": "amount", "value": "by code"},
        {"id": 30, "type": "table", "name": "T", "value": [{"row_id": 0, "cells": [cell]}]},
    )
    assert task["amount"] == "by code"
    assert task["Сумма"] == "by code"
    assert task[1] == "by name"
    assert task[31] == "cell"


def test_a_cell_is_found_only_where_one_row_has_it(body: Body) -> None:
    task = decode(body("02")).task
    assert task["НДС"] is True
    assert task[33] is True
    for key in ("Товар", 31):
        with pytest.raises(AmbiguousField, match=r"names 2 fields: 'Товар' \(id 31, row 0\); 'Товар' \(id 31, row 3\)"):
            task[key]
    with pytest.raises(AmbiguousField):
        task.field("Товар")
    assert "Товар" in task


def test_two_fields_of_one_name_are_ambiguous_and_their_ids_are_not() -> None:
    task = form({"id": 1, "name": "A", "value": 1}, {"id": 2, "name": "A", "value": 2})
    with pytest.raises(LookupError, match=r"id 1.*id 2"):
        task.value("A")
    assert (task[1], task[2]) == (1, 2)


def test_a_missing_field_is_named_with_near_names(body: Body) -> None:
    task = decode(body("02")).task
    assert task.field("Сума") is None
    assert task.value("Сума") is None
    assert "Сума" not in task
    with pytest.raises(MissingField) as missing:
        task["Сума"]
    assert "'Сума'; near: 'Сумма' (id 2, code 'amount')" in str(missing.value)
    assert isinstance(missing.value, KeyError)
    assert isinstance(missing.value, FieldError)
    with pytest.raises(MissingField, match="it has none at all"):
        form()["x"]
    with pytest.raises(MissingField, match="'товар'; near: 'Товар'"):
        task["товар"]
    with pytest.raises(MissingField, match="it has: 'Предмет'"):
        task[999999999999]


@pytest.mark.parametrize("key", [None, "", " \t", True, 1.0, b"A", ["A"]])
def test_a_key_that_could_name_nothing_is_an_error_wherever_a_field_is_asked_for(key: Any) -> None:
    task = form(
        {"id": 1, "name": "A", "value": 1},
        {"id": 2, "type": "table", "value": [{"row_id": 0, "cells": [{"id": 3, "name": "B"}]}]},
    )
    (row,) = task[2]
    asked: list[Callable[[Any], Any]] = [
        task.field, task.value, task.need, task.__getitem__, task.__contains__, row.__getitem__, row.get, Form(**{}).field
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(FieldError, match="a field is asked for by its name, code or id, and not by") as raised:
            ask(key)
        assert not isinstance(raised.value, MissingField)  # a KeyError, which `row.get` would take for an absent column


def test_what_is_no_type_cannot_be_asked_for() -> None:
    task = form({"id": 1, "name": "A", "value": 1})
    for kind in ("Decimal", None, tuple[int]):
        with pytest.raises(FieldError, match="is no type to ask for: write one such as Decimal"):
            task.value("A", kind)  # type: ignore[call-overload]
    with pytest.raises(FieldError, match=r"holds 1, which is not of type str \| bytes"):
        task.need("A", str | bytes)  # type: ignore[call-overload]


def test_a_column_that_a_catalog_does_not_have_is_named_with_a_near_one() -> None:
    task = form(
        {"id": 1, "type": "catalog", "name": "A", "value": {"headers": ["City", "Days"], "rows": [["Riga", "3"]]}}
    )
    first = task["A"].first
    assert (first["City"], first.get("Town")) == ("Riga", None)
    with pytest.raises(
        MissingField, match=r"the catalog has no column 'Citty' \(did you mean 'City'\?\); it has: 'City', 'Days'"
    ):
        first["Citty"]


def test_a_value_comes_as_the_type_asked_for_or_not_at_all(body: Body) -> None:
    task = decode(body("02")).task
    assert task.value("Сумма", Decimal) == Decimal("125000.5")
    quantity = task.value("Количество", Decimal)
    assert (quantity, type(quantity)) == (40, Decimal)
    assert task.value("Количество", float) == 40.0
    assert task.value("Сумма", int) is None
    assert task.value("Сумма", str) is None
    assert task.value("Срочно", int) is None
    assert task.value("Срочно", bool) is True
    assert task.value("Срок точный", date) == date(2026, 4, 1)
    assert task.value("Срок", datetime) is None
    assert task.value("Нет такого", str) is None
    assert form({"id": 1, "type": "money", "value": 400}).value(1, int) == 400
    huge = decode(b'{"task_id": 5, "task": {"fields": [{"id": 1, "type": "number", "value": 1e999999}]}}').task
    assert huge.value(1, int) is None
    assert huge.value(1, float) in (None, float("inf"))


def test_rows_read_by_name_code_or_id_and_an_unticked_box_is_false(body: Body) -> None:
    first, second = decode(body("02")).task["items"]
    assert dict(first) == {"Товар": "Бумага", "Шт": 30, "НДС": True}
    assert dict(second) == {"Товар": "Ручки", "Шт": 10, "НДС": False}
    assert (second["Шт"], second[32], second.get("нет"), "НДС" in second) == (10, 10, None, True)
    assert (first.id, second.id, second.position, second.deleted) == (0, 3, 1, False)
    with pytest.raises(MissingField, match="the table has no field 'Штук'; near: 'Шт'"):
        second["Штук"]


def test_a_column_that_no_row_shows_is_known_from_the_forms_definition() -> None:
    columns = [{"id": 31, "name": "Да", "type": "checkmark"}, {"id": 32, "name": "N", "type": "number", "code": "n"}]
    row = form({"id": 30, "type": "table", "info": {"columns": [*columns, 5]}, "value": [{"row_id": 1, "cells": []}]})[
        30
    ][0]
    assert (row["Да"], row["n"], list(row), len(row)) == (False, None, ["Да", "N"], 2)


def test_two_columns_of_one_name_are_told_by_code_or_id() -> None:
    cells = [{"id": 31, "name": "A", "code": "a", "value": 1}, {"id": 32, "name": "A", "value": 2}]
    (row,) = form({"id": 30, "type": "table", "value": [{"cells": cells}]})[30]
    assert dict(row) == {"a": 1, 32: 2}
    with pytest.raises(AmbiguousField):
        row["A"]


def nested(depth: int, leaf: dict[str, Any]) -> dict[str, Any]:
    """A field in this many sections."""
    for number in range(depth):
        leaf = {"id": 1000 + number, "type": "title", "name": f"S{number}", "value": {"fields": [leaf]}}
    return leaf


def test_fields_are_read_to_a_depth_of_sixteen() -> None:
    leaf = {"id": 1, "type": "text", "name": "leaf", "value": "x"}
    assert form(nested(15, leaf))["leaf"] == "x"
    deep = form(nested(16, leaf))
    assert deep.field("leaf") is None
    assert len(deep.fields) == 16
    deepest = decode(msgspec.json.encode({"task_id": 5, "task": {"fields": [nested(100, leaf)]}})).task
    assert len(deepest.fields) == 16


def test_tables_in_tables_end_at_the_same_depth() -> None:
    field: dict[str, Any] = {"id": 1, "type": "text", "value": "x"}
    for number in range(30):
        field = {"id": 100 + number, "type": "table", "value": [{"row_id": 0, "cells": [field]}]}
    task = form(field)
    assert len(task.fields) == 16
    row, depth = task[129], 0
    while row:
        (row,), depth = [inner.value for inner in row[0].cells], depth + 1
    assert depth < 17


def test_a_fields_value_is_decoded_once_and_kept(body: Body) -> None:
    task = decode(body("02")).task
    assert task["Счёт"] is task["Счёт"]
    assert task.field("items") is task.field("items")
    updates = task.comments[0].field_updates
    assert updates is task.comments[0].field_updates
    assert updates[1].value == Decimal("125000.5")


def test_a_value_that_must_be_there_or_an_error_that_names_the_field() -> None:
    task = form(
        {"id": 1, "type": "money", "name": "Сумма", "value": 5.5},
        {"id": 2, "type": "text", "name": "Note", "value": ""},
        {"id": 3, "type": "person", "name": "Boss"},
        {"id": 4, "type": "file", "name": "Act", "value": []},
    )
    assert task.need("Сумма", Decimal) == Decimal("5.5")
    assert task.need(1) == Decimal("5.5")
    for name in ("Note", "Boss", "Act"):
        with pytest.raises(FieldError, match=rf"the field '{name}' \(id \d\) is empty"):
            task.need(name)
    with pytest.raises(FieldError, match=r"'Сумма' \(id 1\) holds Decimal\('5.5'\), which is not of type date"):
        task.need("Сумма", date)
    with pytest.raises(MissingField, match="near: 'Сумма'"):
        task.need("Сума", Decimal)


def test_the_definition_of_a_field_tells_its_steps() -> None:
    info = {"required_step": 2, "immutable_step": 3}
    found = results.form(json.dumps({"id": 5, "fields": [{"id": 1, "info": info}, {"id": 2}]}).encode()).fields
    assert [(one.required_step, one.immutable_step) for one in found] == [(2, 3), (None, None)]
