"""Tasks, comments and fields come in the shape that Pyrus sends."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from bothost.testing.factories import body, comment, encode, field, load, task
from bothost.testing.people import BOT_ID, IdNumbering, file, me, numbering, person


def fields_of(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in made["fields"]}


def test_ids_are_fresh_for_each_call() -> None:
    assert task()["id"] == 310_001
    assert task()["id"] == 310_002
    assert comment("x")["id"] != comment("x")["id"]


def test_ids_start_anew_in_each_test() -> None:
    assert task()["id"] == 310_001


def test_a_task_has_its_opening_comment_that_repeats_text_fields_and_approvers() -> None:
    made = task(form_id=321, step=2, fields={"Сумма": Decimal("400.50")}, text="Счёт")
    [opening] = made["comments"]
    assert opening["text"] == "Счёт"
    assert opening["author"] == made["author"]
    assert opening["field_updates"] == made["fields"]
    assert [row[0]["step"] for row in opening["approvals_added"]] == [1, 2]


def test_given_comments_are_all_there_are() -> None:
    made = task(comments=["first", comment("second", author=me())])
    assert [item["text"] for item in made["comments"]] == ["first", "second"]
    assert made["comments"][1]["author"]["id"] == BOT_ID
    assert task(comments=[])["comments"] == []


def test_at_a_step_the_bot_is_the_awaited_approver() -> None:
    made = task(form_id=321, step=3)
    assert made["current_step"] == 3
    assert [row[0]["approval_choice"] for row in made["approvals"]] == ["approved", "approved", "waiting"]
    assert made["approvals"][2][0]["person"]["id"] == BOT_ID


def test_keys_of_pyrus_win_over_what_is_made() -> None:
    moment = datetime(2026, 3, 1, 10, tzinfo=UTC)
    made = task(id=5, subject="Bill", is_closed=True, close_date=moment, author="anna@corp.ru")
    assert made["id"] == 5
    assert made["subject"] == "Bill"
    assert made["close_date"] == "2026-03-01T10:00:00Z"
    assert made["author"]["email"] == "anna@corp.ru"


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "kind", "sent"),
    [
        ("text", "text", "text"),
        (400, "number", 400),
        (1.5, "number", 1.5),
        (Decimal("12345678901234567.89"), "money", Decimal("12345678901234567.89")),
        (True, "checkmark", "checked"),
        (False, "checkmark", "unchecked"),
        (date(2026, 2, 28), "date", "2026-02-28"),
        (time(6, 30), "time", "06:30"),
        (datetime(2026, 4, 1, 12, tzinfo=UTC), "due_date_time", "2026-04-01T12:00:00Z"),
        (Colour.RED, "text", "red"),
        (field(5, type="money"), "money", 5),
        (field(None, type="flag"), "flag", "none"),
        (field("a@b.ru", type="email"), "email", "a@b.ru"),
        (field([309000, 309001], type="form_link"), "form_link", {"task_id": 309000, "task_ids": [309000, 309001], "subject": "Task 309000"}),
    ],
)  # fmt: skip
def test_a_fields_type_follows_its_value_unless_given(value: Any, kind: str, sent: Any) -> None:
    [made] = task(form_id=1, fields={"F": value})["fields"]
    assert made["type"] == kind
    assert made["value"] == sent


def test_an_empty_field_has_no_value() -> None:
    [made] = task(form_id=1, fields={"F": None})["fields"]
    assert made == {"id": 1, "type": "text", "name": "F"}


def test_fields_have_ids_codes_and_keys_as_given() -> None:
    made = task(
        form_id=1, fields={12: "by id", "Сумма": field(5, "money", code="amount", id=30, info={"decimal_places": 2})}
    )
    first, second = made["fields"]
    assert first == {"id": 12, "type": "text", "name": "Field 12", "value": "by id"}
    assert second == {
        "id": 30, "type": "money", "name": "Сумма", "code": "amount", "value": 5, "info": {"decimal_places": 2},
    }  # fmt: skip


def test_a_forms_field_keeps_its_id_in_all_tasks_of_the_form() -> None:
    first, second = (task(form_id=1, fields={"A": 1, "B": 2}) for _ in range(2))
    other = task(form_id=2, fields={"A": 1})
    assert [item["id"] for item in first["fields"]] == [item["id"] for item in second["fields"]]
    assert other["fields"][0]["id"] not in {item["id"] for item in first["fields"]}


def test_persons_files_choices_catalogs_tables_and_sections_have_pyrus_shape() -> None:
    made = fields_of(
        task(
            form_id=1,
            fields={
                "who": person("Пётр Сазонов"),
                "scan": file("scan.pdf"),
                "scans": [file("a.pdf"), file("b.pdf")],
                "how": field("Transfer", type="multiple_choice"),
                "vendor": field({"Name": "Acme", "Tax id": "77"}, type="catalog"),
                "stores": field(["North", "South"], type="catalog"),
                "items": [{"Goods": "Paper", "Count": 30, "Urgent": False}, {"Goods": "Pens", "Urgent": True}],
                "section": {"note": "inside", "ticked": True},
            },
        )
    )
    assert made["who"]["type"] == "person"
    assert made["who"]["value"]["last_name"] == "Сазонов"
    assert made["scan"]["value"][0]["name"] == "scan.pdf"
    assert len(made["scans"]["value"]) == 2
    assert made["how"]["value"] == {"choice_id": 1, "choice_ids": [1], "choice_names": ["Transfer"]}
    assert made["vendor"]["value"]["headers"] == ["Name", "Tax id"]
    assert made["vendor"]["value"]["rows"] == [["Acme", "77"]]
    assert made["vendor"]["value"]["item_id"] == made["vendor"]["value"]["item_ids"][0]
    assert made["stores"]["value"]["rows"] == [["North"], ["South"]]
    first, second = made["items"]["value"]
    assert [cell["name"] for cell in first["cells"]] == ["Goods", "Count"], "an unticked box of a table is left out"
    assert {cell["parent_id"] for cell in first["cells"]} == {made["items"]["id"]}
    assert [cell.get("value") for cell in second["cells"]] == ["Pens", "checked"]
    assert [item["name"] for item in made["section"]["value"]["fields"]] == ["note", "ticked"]


def test_a_role_has_its_title_as_last_name() -> None:
    made = person("Accounting", type="role")
    assert (made["first_name"], made["last_name"], made["email"]) == ("", "Accounting", "")


def test_the_same_person_keeps_its_id() -> None:
    assert person("Anna Gromova")["id"] == person("Anna Gromova")["id"]
    assert person("Anna Gromova")["id"] != person("Ivan Petrov")["id"]


def test_a_person_made_while_a_test_file_is_imported_is_nobody_else_in_its_tests() -> None:
    numbering = IdNumbering()
    of_the_file = numbering.known("person", "system@example.org")
    numbering.restart()
    others = [numbering.known("person", f"{number}@example.org") for number in range(2000)]
    assert len({of_the_file, *others}) == 2001
    assert numbering.known("person", "system@example.org") == of_the_file
    assert max(others) < BOT_ID


def test_times_follow_the_clock_of_the_harness() -> None:
    numbering.now = lambda: datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert comment("x")["create_date"] == "2026-03-01T05:00:00Z"


def test_a_body_is_an_envelope_whose_keys_can_be_left_out() -> None:
    made = body(task(id=7), event=None, bot_settings="{}")
    assert "event" not in made
    assert (made["task_id"], made["user_id"], made["bot_settings"]) == (7, BOT_ID, "{}")


def test_numbers_are_written_exactly() -> None:
    written = encode({"value": Decimal("12345678901234567.89"), "text": "Счёт"})
    assert b"12345678901234567.89" in written
    assert json.loads(written)["text"] == "Счёт"


def test_load_finds_a_file_beside_the_test() -> None:
    assert load("test_factories.py") == Path(__file__).read_bytes()
