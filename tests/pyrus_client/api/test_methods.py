"""What each method of `event.pyrus` sends and returns."""

from __future__ import annotations

import hashlib
import io
import os
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bothost.errors import CallRefused, CallUnclear, CallUnsent, FieldError, MissingField, ReplyError
from bothost.pyrus.reply.reply import Reply
from bothost.testing.fake_pyrus import faults

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.pyrus_client.api import Pyrus

FIELDS = [
    {"id": 1, "type": "text", "name": "Subject"},
    {"id": 2, "type": "money", "name": "Сумма", "code": "amount"},
    {"id": 3, "type": "catalog", "name": "City", "info": {"catalog_id": 9}},
    {
        "id": 4, "type": "title", "name": "More",
        "info": {"fields": [{"id": 5, "type": "checkmark", "name": "Urgent", "info": {"code": "urgent"}}]},
    },
    {
        "id": 6, "type": "multiple_choice", "name": "Kind",
        "info": {"options": [{"choice_id": 1, "choice_value": "A", "fields": [{"id": 7, "type": "text", "name": "Why"}]}]},
    },
    {"id": 8, "type": "table", "name": "Rows", "info": {"columns": [{"id": 10, "type": "money", "name": "Price"}]}},
]  # fmt: skip


def test_a_task_comes_with_its_comments(desk: Any) -> None:
    desk.pyrus.add_task(id=5, text="A task")
    desk.pyrus.say(5, "hello")
    task = desk.run(lambda api: api.task(5))
    assert (task.id, task.text, [comment.text for comment in task.comments]) == (5, "A task", ["hello"])


def test_an_id_that_is_none_is_refused_before_anything_is_sent(desk: Any) -> None:
    for wrong in ("5/../6", "5", 5.0, True, None):
        with pytest.raises(TypeError, match="whole number"):
            desk.run(lambda api, wrong=wrong: api.task(wrong))
    assert not desk.pyrus.requests


@pytest.mark.parametrize("reply", ["done", {"text": "done"}, Reply("done")])
def test_a_comment_is_a_text_a_dict_or_a_reply(desk: Any, reply: Any) -> None:
    desk.pyrus.add_task(id=5)
    task = desk.run(lambda api: api.comment(5, reply))
    assert task.comments[-1].text == "done"
    assert desk.pyrus.titles() == ["POST tasks/5/comments"]


def test_a_comment_finds_fields_by_name_and_code_in_the_task(desk: Any) -> None:
    desk.pyrus.add_task(id=5, form_id=1, fields=[{**field} for field in FIELDS[:2]])
    task = desk.run(lambda api: api.comment(5, Reply("x", field_updates={"amount": Decimal("12.50"), "Subject": "s"})))
    assert task.value("Сумма") == Decimal("12.5")
    assert desk.pyrus.titles() == ["GET tasks/5", "POST tasks/5/comments"]


def test_a_comment_on_an_unknown_field_is_an_error_with_near_names(desk: Any) -> None:
    desk.pyrus.add_task(id=5, form_id=1, fields=[{**field} for field in FIELDS[:2]])
    with pytest.raises((ReplyError, FieldError), match="Сумма"):
        desk.run(lambda api: api.comment(5, {"field_updates": {"Сума": 5}}))
    desk.pyrus.assert_no_comment()


def test_an_empty_comment_is_an_error(desk: Any) -> None:
    with pytest.raises(ReplyError):
        desk.run(lambda api: api.comment(5, " "))


def test_a_task_is_made(desk: Any) -> None:
    task = desk.run(lambda api: api.create(text="Buy paper", responsible={"email": "bot@one"}))
    assert task.text == "Buy paper"
    assert task.responsible.id == 900100
    assert desk.pyrus.task(task.id)


def test_a_form_task_is_made(desk: Any) -> None:
    desk.pyrus.add_form(1, [*FIELDS])
    made = {"form_id": 1, "fields": [{"id": 2, "value": Decimal("9.99")}], "approvals": [[{"id": 900100}]]}
    task = desk.run(lambda api: api.create(made))
    assert (task.form_id, task.value("amount"), task.current_step) == (1, Decimal("9.99"), 1)


def test_a_refused_task_says_why(desk: Any) -> None:
    with pytest.raises(CallRefused, match="text_missing"):
        desk.run(lambda api: api.create({}))


def tasks_of_a_form(desk: Any, count: int, each: timedelta = timedelta(seconds=40)) -> list[int]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    stamps = [(start + each * number).strftime("%Y-%m-%dT%H:%M:%SZ") for number in range(count)]
    return [
        desk.pyrus.add_task(form_id=1, create_date=stamp, current_step=1 + number % 2, comments=[], is_closed=False)[
            "id"
        ]
        for number, stamp in enumerate(stamps)
    ]


async def ids(api: Pyrus, *args: Any, **keys: Any) -> list[int]:
    return [task.id async for task in api.register(1, *args, **keys)]


@pytest.mark.parametrize(
    "each", [timedelta(seconds=40), timedelta(milliseconds=300)], ids=["apart", "several a second"]
)
def test_a_register_comes_whole_and_each_task_once_over_many_pages(desk: Any, each: timedelta) -> None:
    made = tasks_of_a_form(desk, 57, each)
    found = desk.run(lambda api: ids(api, page_size=10))
    assert sorted(found) == made
    assert len(found) == 57
    assert len(desk.pyrus.requests) >= 6


@pytest.mark.parametrize("count", [0, 9, 10, 11, 20])
def test_a_register_ends_where_it_ends(desk: Any, count: int) -> None:
    desk.pyrus.add_form(1)
    made = tasks_of_a_form(desk, count)
    assert sorted(desk.run(lambda api: ids(api, page_size=10))) == made


def test_a_register_read_in_ascending_order_comes_whole_too(desk: Any) -> None:
    made = tasks_of_a_form(desk, 35)
    desk.pyrus.world.newest_first = False
    assert desk.run(lambda api: ids(api, page_size=10)) == made


def test_more_tasks_in_one_second_than_a_page_holds_are_found_with_bigger_pages(desk: Any) -> None:
    made = tasks_of_a_form(desk, 35, timedelta(0))
    assert sorted(desk.run(lambda api: ids(api, page_size=10))) == made


def test_a_registers_limit_stops_the_paging(desk: Any) -> None:
    tasks_of_a_form(desk, 57)
    assert len(desk.run(lambda api: ids(api, limit=15, page_size=10))) == 15
    assert len(desk.pyrus.requests) == 2


def test_a_registers_filters_travel_in_pyrus_form(desk: Any) -> None:
    tasks_of_a_form(desk, 4)
    moscow = timezone(timedelta(hours=3))
    after = datetime(2026, 1, 1, 3, 0, 40, tzinfo=moscow)
    desk.run(
        lambda api: ids(api, steps=[1, 2], include_archived=True, created_after=after, fld2="gt100", task_ids=None)
    )
    query = dict(desk.pyrus.requests[0].query)
    assert query == {
        "steps": "1,2", "include_archived": "y", "created_after": "2026-01-01T00:00:40Z", "fld2": "gt100",
        "sort": "id", "item_count": "1000",
    }  # fmt: skip


def test_a_registers_own_bounds_hold_on_every_page(desk: Any) -> None:
    made = tasks_of_a_form(desk, 40)
    before = datetime(2026, 1, 1, 0, 0, 40 * 0, tzinfo=UTC) + timedelta(seconds=40 * 30)
    found = desk.run(lambda api: ids(api, page_size=10, created_before=before))
    assert sorted(found) == made[:30]


def test_a_lower_bound_of_the_authors_holds_where_a_whole_page_stands_on_it(desk: Any) -> None:
    stamps = ["2026-01-01T00:00:00Z"] * 3 + ["2026-01-01T00:00:01Z"] * 14
    made = [desk.pyrus.add_task(form_id=1, create_date=stamp, is_closed=False)["id"] for stamp in stamps]
    desk.pyrus.world.newest_first = False
    after = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert desk.run(lambda api: ids(api, page_size=10, created_after=after)) == made[3:]


def test_a_register_with_an_order_of_its_own_comes_in_one_answer(desk: Any) -> None:
    tasks_of_a_form(desk, 30)
    desk.run(lambda api: ids(api, page_size=10, sort="tsk"))
    assert desk.pyrus.titles() == ["GET forms/1/register"]


def test_long_filters_travel_in_a_body(desk: Any) -> None:
    made = tasks_of_a_form(desk, 3)
    found = desk.run(lambda api: ids(api, task_ids=[*made, *range(10_000_000, 10_001_000)]))
    assert sorted(found) == made
    assert desk.pyrus.titles() == ["POST forms/1/register"]


def test_a_datetime_without_a_zone_is_refused(desk: Any) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        desk.run(lambda api: ids(api, created_after=datetime(2026, 1, 1)))


def test_a_form_shows_steps_and_nested_fields(desk: Any) -> None:
    desk.pyrus.add_form(1, [*FIELDS], {1: "Ask", 3: "Decide"})
    form = desk.run(lambda api: api.form(1))
    assert form.steps == {1: "Ask", 3: "Decide"}
    assert [field.id for field in form.fields] == [1, 2, 3, 4, 5, 6, 7, 8, 10]
    assert form.field("urgent").name == "Urgent"
    assert form.field("Price").id == 10
    assert form.field("nowhere") is None


def test_a_catalog_shows_rows_by_header(desk: Any) -> None:
    desk.pyrus.add_catalog(9, ["City", "Code"], [["Kazan", "16"], ["Omsk", "55"]])
    catalog = desk.run(lambda api: api.catalog(9))
    assert catalog.rows == ({"City": "Kazan", "Code": "16"}, {"City": "Omsk", "Code": "55"})
    assert catalog.find("City", "Omsk").item_id == 2
    assert catalog.find("City", "Perm") is None
    with pytest.raises(MissingField, match=r"the catalog has no column 'Citi' \(did you mean 'City'\?\)"):
        catalog.find("Citi", "Omsk")
    with pytest.raises(MissingField, match="it has: 'City', 'Code'"):
        catalog.rows[0]["Land"]
    with pytest.raises(FieldError, match="a catalog's column is asked for by its name, and not by None"):
        catalog.find(None, "Omsk")
    with pytest.raises(FieldError, match="a catalog's values are texts: look for '16' and not for 16"):
        catalog.find("Code", 16)


def test_contacts_and_profile(desk: Any) -> None:
    desk.pyrus.add_person(id=77, first_name="Anna", email="anna@example.org", type="user")
    contacts = desk.run(lambda api: api.contacts())
    assert {person.id for person in contacts.persons} == {77, 900100}
    assert desk.run(lambda api: api.profile()).person_id == 900100


def test_any_other_get_and_post(desk: Any) -> None:
    desk.pyrus.add_task(id=5)
    assert desk.run(lambda api: api.get("/tasks/5"))["task"]["id"] == 5
    assert (
        desk.run(lambda api: api.post("tasks", {"text": "x", "due_date": datetime(2026, 1, 1).date()}))["task"]["text"]
        == "x"
    )


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/x",
        "//evil.example/x",
        "../secret",
        "tasks/../../x",
        "",
        "tasks/5?x=1",
        "tasks/5#x",
        "a b",
        "javascript:x",
        "tasks\\5",
    ],
)
def test_a_path_that_would_leave_the_base_url_is_refused(desk: Any, path: str) -> None:
    with pytest.raises(ValueError, match="not a path below"):
        desk.run(lambda api: api.get(path))
    assert not desk.pyrus.requests


def test_bytes_a_path_and_an_open_file_are_sent(desk: Any, tmp_path: Path) -> None:
    content = os.urandom(200_000)
    path = tmp_path / 'счёт "1".pdf'
    path.write_bytes(content)

    async def all_three(api: Pyrus) -> list[Any]:
        with path.open("rb") as file:
            return [await api.upload(content, "a.bin"), await api.upload(path), await api.upload(file, name="c.bin")]

    sent = desk.run(all_three)
    stored = [desk.pyrus.world.files[upload.guid] for upload in sent]
    assert [one.content for one in stored] == [content] * 3
    assert [one.name for one in stored] == ["a.bin", "счёт %221%22.pdf", "c.bin"]
    assert {upload.md5_hash for upload in sent} == {hashlib.md5(content).hexdigest()}


def test_an_upload_goes_into_a_comment(desk: Any) -> None:
    desk.pyrus.add_task(id=5)

    async def both(api: Pyrus) -> Any:
        upload = await api.upload(b"content", "a.txt")
        return await api.comment(5, Reply("see", attachments=[upload]))

    assert desk.run(both).comments[-1].attachments[0].name == "a.txt"


def test_an_upload_after_a_refused_token_sends_the_file_from_its_beginning(desk: Any) -> None:
    desk.pyrus.fail("POST files/upload", faults.limited(1))
    file = io.BytesIO(b"skipped" + b"x" * 100_000)
    file.seek(7)
    upload = desk.run(lambda api: api.upload(file, "a"))
    assert desk.pyrus.world.files[upload.guid].content == b"x" * 100_000


def test_a_file_that_cannot_go_back_is_not_sent_half(desk: Any) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    desk.pyrus.fail("POST files/upload", faults.limited(1))
    with pytest.raises(CallUnsent, match="cannot be read twice"):
        desk.run(lambda api: api.upload(Pipe(b"x"), "a"))


def test_a_missing_file_is_pythons_own_error(desk: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        desk.run(lambda api: api.upload(tmp_path / "none"))


def test_an_empty_file_is_refused(desk: Any) -> None:
    with pytest.raises(CallRefused, match="empty_file"):
        desk.run(lambda api: api.upload(b"", "a"))


def test_a_download_is_iterated(desk: Any) -> None:
    content = os.urandom(300_000)
    file_id = desk.pyrus.add_file("a.bin", content)

    async def whole(api: Pyrus) -> bytes:
        return b"".join([piece async for piece in api.download(file_id)])

    assert desk.run(whole) == content


def test_a_file_of_a_task_is_downloaded_to_a_path(desk: Any, tmp_path: Path) -> None:
    desk.pyrus.add_task(id=5)

    async def up_and_down(api: Pyrus) -> Path:
        await api.comment(5, Reply("see", attachments=[await api.upload(b"content", "a.txt")]))
        file = (await api.task(5)).comments[-1].attachments[0]
        return await api.download(file, to=tmp_path / "b.txt")

    assert desk.run(up_and_down).read_bytes() == b"content"
    assert [one.name for one in tmp_path.iterdir()] == ["b.txt"]


def test_a_download_that_fails_leaves_no_file(desk: Any, tmp_path: Path) -> None:
    with pytest.raises(CallRefused, match="file_not_found"):
        desk.run(lambda api: api.download(1, to=tmp_path / "b.txt"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"task": 5}', b'{"task"', b'{"task": null}'])
def test_an_answer_of_another_shape_is_unclear(desk: Any, answer: bytes) -> None:
    desk.pyrus.fail("GET tasks/5", faults.ApiFault(status=200, body=answer))
    with pytest.raises(CallUnclear):
        desk.run(lambda api: api.task(5))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda api: api.create(form_id=5, feilds={"A": 1}), r"create has no feilds= \(did you mean 'fields'\?\)"),
        (lambda api: api.create(fields={"A": 1}), "fields by name need form_id="),
        (lambda api: api.create(form_id="5", fields={"A": 1}), "form_id is the form's number, and not '5'"),
        (lambda api: api.register(5, step=[2]), r"register has no step= \(did you mean 'steps'\?\)"),
        (lambda api: api.register(5, filters="A > 5"), "filters is a dict by field"),
        (lambda api: api.comment("Paid.", 5), r"a comment is a Reply, a dict or a text, and not 5: write comment\(task_id, reply\)"),
        (lambda api: api.catalog_update(9, upsert=[{"City": "Omsk"}]), "upsert is a list of rows, each a list of texts"),
        (lambda api: api.catalog_update(9, upsert=["Omsk"]), "upsert is a list of rows"),
        (lambda api: api.catalog_update(9, upsert=[["Omsk", 55]]), "upsert is a list of rows"),
        (lambda api: api.catalog_update(9, delete="Omsk"), "delete is a list of texts"),
        (lambda api: api.post("tasks", ["x"]), "the body of a request to Pyrus is a dict"),
        (lambda api: api.announce(None), "an announcement is a text"),
        (lambda api: api.upload(None), "upload takes a path, bytes or a file open for reading bytes"),
    ],
)  # fmt: skip
def test_a_slip_that_pyrus_would_pass_over_is_refused_before_anything_is_sent(desk: Any, call: Any, why: str) -> None:
    before = len(desk.pyrus.requests)
    with pytest.raises(TypeError, match=why):
        desk.run(call)
    assert [one.title for one in desk.pyrus.requests[before:] if one.path != "auth"] == []


def test_a_key_that_only_a_later_pyrus_has_is_sent(desk: Any) -> None:
    made = desk.run(lambda api: api.create(text="Pay", sentiment="good"))
    assert made.id
    assert b'"sentiment":"good"' in desk.pyrus.requests[-1].body
