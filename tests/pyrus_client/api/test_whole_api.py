"""Every call of Pyrus's API: put, delete, bytes, lists, catalogs, and registers filtered in Python's terms."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from bothost.errors import CallRefused, ReplyError
from bothost.testing.fake_pyrus import faults

PDF = b"%PDF-1.7\n\xff\xfe"
FORM = [
    {"id": 1, "type": "money", "name": "Amount"},
    {"id": 2, "type": "multiple_choice", "name": "Status", "code": "state",
     "info": {"options": [{"choice_id": 7, "choice_value": "New"}, {"choice_id": 8, "choice_value": "Open"}]}},
    {"id": 3, "type": "date", "name": "Day"},
    {"id": 4, "type": "checkmark", "name": "Paid"},
    {"id": 5, "type": "catalog", "name": "City", "info": {"catalog_id": 44}},
]  # fmt: skip


def test_a_task_is_deleted(desk: Any) -> None:
    desk.pyrus.add_task(id=5)
    assert desk.run(lambda api: api.delete("tasks/5")) == {"deleted": True}
    with pytest.raises(CallRefused, match="task_not_found"):
        desk.run(lambda api: api.task(5))


def test_a_delete_or_put_whose_answer_is_lost_is_not_sent_twice(desk: Any) -> None:
    desk.pyrus.fail("* x/*", faults.gateway(503), times=9)
    for method in ("delete", "put", "post"):
        with pytest.raises(Exception, match="503"):
            desk.run(lambda api, method=method: getattr(api, method)("x/1"))
    assert len(desk.pyrus.titles("x/1")) == 3


def test_an_answer_that_is_no_json_comes_as_bytes_or_as_a_file(desk: Any, tmp_path: Any) -> None:
    desk.pyrus.add_page("tasks/5/print", PDF)
    desk.pyrus.add_page("forms/321/register", b"\xef\xbb\xbfid;Amount\r\n5;1")
    assert desk.run(lambda api: api.bytes("tasks/5/print")) == PDF
    assert desk.run(lambda api: api.bytes("forms/321/register", format="csv")).startswith(b"\xef\xbb\xbfid")
    saved = desk.run(lambda api: api.download(path="tasks/5/print?form=2", to=tmp_path / "x.pdf"))
    assert saved.read_bytes() == PDF
    with pytest.raises(ValueError, match="not both"):
        desk.run(lambda api: api.download(5, path="tasks/5/print", to=tmp_path / "y"))
    with pytest.raises(ValueError, match="not a path"):
        desk.run(lambda api: api.bytes("https://evil.example/"))


def test_a_catalog_is_changed_by_rows_and_replaced_as_a_whole(desk: Any) -> None:
    desk.pyrus.add_catalog(44, ["City", "Zone"], [["Omsk", "1"], ["Tomsk", "2"]])
    change = desk.run(lambda api: api.catalog_update(44, upsert=[["Omsk", "9"], ["Perm", "3"]], delete=["Tomsk"]))
    assert ([one.values[0] for one in change.added], [one.values[0] for one in change.deleted]) == (["Perm"], ["Tomsk"])
    assert [row["Zone"] for row in desk.run(lambda api: api.catalog(44)).rows] == ["9", "3"]
    desk.run(lambda api: api.catalog_update(44, headers=["City"], items=[["Ufa"]]))
    assert desk.run(lambda api: api.catalog(44)).rows == ({"City": "Ufa"},)
    with pytest.raises(ValueError, match="headers"):
        desk.run(lambda api: api.catalog_update(44, items=[["Ufa"]]))


def test_members_roles_lists_the_inbox_and_announcements_are_typed(desk: Any) -> None:
    desk.pyrus.world.add_person(id=1, first_name="Anna", type="user")
    desk.pyrus.world.add_person(id=2, last_name="Chiefs", type="role")
    desk.pyrus.add_task(id=5, text="Mine", responsible=desk.bot.person, list_ids=[8])
    desk.pyrus.add_task(id=6, text="Not mine")
    assert "Anna" in [one.name for one in desk.run(lambda api: api.members())]
    assert [one.name for one in desk.run(lambda api: api.roles())] == ["Chiefs"]
    assert [one.id for one in desk.run(lambda api: api.inbox(item_count=10)).tasks] == [5]
    assert [one.id for one in desk.run(lambda api: api.lists())] == [8]
    assert [one.id for one in desk.run(lambda api: api.list_tasks(8))] == [5]
    made = desk.run(lambda api: api.announce("Closed on Monday"))
    assert desk.run(lambda api: api.announcement(made.id)).text == "Closed on Monday"


def query(desk: Any, filters: Any) -> dict[str, str]:
    """The filters as Pyrus gets them."""
    asked: list[Any] = []
    desk.pyrus.add_form(321, FORM)
    desk.pyrus.add_catalog(44, ["City"], [["Omsk"], ["Tomsk"]])

    async def work(api: Any) -> Any:
        send = api.sender.send

        async def watched(request: Any, content: Any = None) -> Any:
            asked.append(request)
            return await send(request, content)

        api.sender.send = watched
        return await api.register(321, filters=filters)

    desk.run(work)
    return {key: value for key, value in asked[-1].query if key.startswith("fld")}


@pytest.mark.parametrize(
    ("filters", "sent"),
    [
        ({"Amount": (">", 5)}, {"fld1": "gt5"}),
        ({1: [(">", 5), ("<", 10)]}, {"fld1": "gt5,lt10"}),
        ({"Status": "New"}, {"fld2": "7"}),
        ({"state": ["New", 8]}, {"fld2": "7,8"}),
        ({"Day": (">", date(2026, 1, 5))}, {"fld3": "gt2026-01-05"}),
        ({"Day": None, "Amount": ...}, {"fld3": "empty", "fld1": "*"}),
        ({"Paid": True}, {"fld4": "checked"}),
        ({"City": "Tomsk"}, {"fld5": "2"}),
    ],
)
def test_a_register_is_filtered_in_pythons_terms(desk: Any, filters: Any, sent: dict[str, str]) -> None:
    assert query(desk, filters) == sent


@pytest.mark.parametrize(
    ("filters", "error"),
    [
        ({"Amuont": 5}, "near: 'Amount'"),
        ({"Amount": (">=", 5)}, "no '>='"),
        ({"Status": "Nwe"}, "'New'"),
        ({"City": "Omks"}, "'Omsk'"),
        ({"Amount": []}, "empty list"),
        ({"Amount": {"x": 1}}, "cannot be compared"),
    ],
)
def test_a_wrong_filter_is_an_error_that_says_what_is_right(desk: Any, filters: Any, error: str) -> None:
    with pytest.raises(ReplyError, match=error):
        query(desk, filters)
