"""The fake Pyrus is a real state machine: what comments do, who may call, what goes wrong when told to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bothost.testing.fake_pyrus import ApiQuestion, ApiRefusal, FakePyrus, faults
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN, KEY = "bot@one", "key-of-the-bot-0001"


class Room:
    """A Pyrus with a bot, a person, and a task of two steps: the person's, then the bot's twice over."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.pyrus = FakePyrus(self.clock)
        self.account = self.pyrus.add_bot(LOGIN, KEY, 900100)
        self.bot = self.account.person
        self.anna = self.pyrus.add_person(id=77, first_name="Anna", email="anna@example.org", type="user")
        self.token = self.pyrus.world.issue_token(self.account)
        self.pyrus.add_task(
            id=5, form_id=1, current_step=1, is_closed=False,
            approvals=[[asked(self.anna)], [], [asked(self.bot)]],
            fields=[
                {"id": 1, "type": "money", "name": "Sum", "code": "sum"},
                {"id": 2, "type": "title", "name": "More", "value": {"fields": [{"id": 3, "type": "checkmark", "name": "Urgent"}]}},
                {"id": 4, "type": "table", "name": "Rows", "value": [{"row_id": 0, "cells": [{"id": 6, "type": "text", "name": "Cell"}]}]},
                {"id": 7, "type": "note", "name": "Hint"},
            ],
        )  # fmt: skip

    def ask(self, method: str, path: str, body: Any = None, token: str | None = "", **query: str) -> tuple[int, Any]:
        sent = json.dumps(body).encode() if body is not None else b""
        asked_ = ApiQuestion(method, path, query, sent, self.token if token == "" else token)
        handled = self.clock.run(self.pyrus.handle(asked_))
        return handled.status, json.loads(handled.body)

    def comment(self, **keys: Any) -> dict[str, Any]:
        status, answer = self.ask("POST", "tasks/5/comments", keys)
        assert status == 200, answer
        comment = answer["task"]["comments"][-1]
        assert isinstance(comment, dict)
        return comment

    def refusal(self, **keys: Any) -> str:
        before = json.dumps(self.task)
        status, answer = self.ask("POST", "tasks/5/comments", keys)
        assert status == 400
        assert json.dumps(self.task) == before, "a refused comment changed the task"
        return str(answer["error_code"])

    @property
    def task(self) -> dict[str, Any]:
        return self.pyrus.task(5)


def asked(person: dict[str, Any]) -> dict[str, Any]:
    return {"person": person, "approval_choice": "waiting"}


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.clock.loop.close()


def test_a_choice_moves_the_task_to_the_next_step_that_has_somebody(room: Room) -> None:
    said = room.pyrus.say(5, "yes", room.anna, approval_choice="approved")
    assert (said["approval_step"], said["changed_step"], room.task["current_step"]) == (1, 3, 3)


def test_the_last_approval_closes_the_task(room: Room) -> None:
    room.pyrus.say(5, "yes", room.anna, approval_choice="approved")
    comment = room.comment(approval_choice="approved")
    assert comment["action"] == "finished"
    assert room.task["is_closed"]
    assert room.task["close_date"]


def test_a_choice_where_nobody_asks_is_ignored(room: Room) -> None:
    assert "approval_choice" not in room.comment(text="x", approval_choice="approved")
    assert room.task["current_step"] == 1


def test_a_choice_may_name_its_step(room: Room) -> None:
    assert room.comment(approval_choice="approved", approval_steps=[3])["approval_step"] == 3
    assert room.task["current_step"] == 1


def test_a_rejection_stops_the_step_and_a_revocation_asks_again(room: Room) -> None:
    room.pyrus.say(5, "no", room.anna, approval_choice="rejected")
    assert (room.task["approvals"][0][0]["approval_choice"], room.task["current_step"]) == ("rejected", 1)
    room.pyrus.say(5, "hm", room.anna, approval_choice="revoked")
    assert room.task["approvals"][0][0]["approval_choice"] == "waiting"


def test_any_comment_reopens_a_closed_task_unless_it_says_not_to(room: Room) -> None:
    room.pyrus.close_task(5)
    room.comment(text="x", skip_auto_reopen=True)
    assert room.task["is_closed"]
    assert room.comment(text="x")["action"] == "reopened"
    assert not room.task["is_closed"]
    assert "close_date" not in room.task


def test_fields_are_written_by_id_code_and_name_in_sections_too(room: Room) -> None:
    comment = room.comment(field_updates=[{"id": 1, "value": 5}, {"name": "Urgent", "value": "checked"}])
    assert [one["id"] for one in comment["field_updates"]] == [1, 3]
    room.comment(field_updates=[{"code": "sum", "value": None}])
    assert "value" not in room.task["fields"][0]


@pytest.mark.parametrize(
    ("updates", "code"),
    [
        ([{"id": 99, "value": 1}], "invalid_field_id"), ([{"name": "No", "value": 1}], "invalid_field_name"),
        ([{"code": "no", "value": 1}], "invalid_field_code"), ([{"id": 6, "value": "x"}], "field_is_in_table"),
        ([{"id": 7, "value": "x"}], "field_is_read_only"), ([{"id": 1, "value": "5"}], "invalid_value_format"),
        ([{"id": 3, "value": True}], "invalid_value_format"), ([{"value": 1}], "invalid_field_id"), ([5], "invalid_json"),
    ],
)  # fmt: skip
def test_wrong_fields_are_refused_with_pyruss_codes(room: Room, updates: list[Any], code: str) -> None:
    assert room.refusal(text="x", field_updates=updates) == code


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"text": "x", "formatted_text": "y"}, "both_text_and_formatted_text_specified"),
        ({"due": "2026-01-01T00:00:00Z", "due_date": "2026-01-01"}, "either_due_date_or_due_can_be_set"),
        ({"duration": 5}, "due_missing"), ({"approval_choice": "maybe"}, "invalid_approval_choice"),
        ({"action": "eaten"}, "invalid_action"), ({"channel": {"type": "email"}}, "external_comment_empty_text"),
        ({"reassign_to": {"id": 1}}, "invalid_person_id"), ({"subscribers_added": [{"email": "no@example.org"}]}, "invalid_email"),
        ({"attachments": [{"guid": "nowhere"}]}, "invalid_guid"),
        ({"attachments": ["0a1b2c3d-0000-4000-8000-00000000000f"]}, "file_missing"),
        ({"approvals_added": [{"id": 1}]}, "invalid_json"),
    ],
)  # fmt: skip
def test_wrong_comments_are_refused_whole(room: Room, keys: dict[str, Any], code: str) -> None:
    assert room.refusal(**keys) == code


def test_persons_approvers_and_lists_change(room: Room) -> None:
    comment = room.comment(
        reassign_to={"email": "ANNA@example.org"}, subscribers_added=[{"id": 77}], participants_added=[{"id": 900100}],
        approvals_added=[[], [{"id": 77}]], added_list_ids=[3], spent_minutes=5,
    )  # fmt: skip
    assert comment["reassigned_to"]["id"] == room.task["responsible"]["id"] == 77
    assert room.task["subscribers"] == [{"person": room.anna}]
    assert room.task["approvals"][1] == [asked(room.anna)]
    assert comment["approvals_added"] == [[{"person": room.anna, "step": 2}]]
    assert room.task["list_ids"] == [3]
    room.comment(subscribers_removed=[{"id": 77}], approvals_removed=[[], [{"id": 77}]], removed_list_ids=[3])
    assert (room.task["subscribers"], room.task["approvals"][1], room.task["list_ids"]) == ([], [], [])


def test_an_older_comment_is_edited(room: Room) -> None:
    first = room.comment(text="x")
    assert room.comment(text="y", edit_comment_id=first["id"])["edit_comment_id"] == first["id"]
    assert room.task["comments"][0]["text"] == "y"


def test_comment_ids_grow_and_go_beyond_those_that_were_given(room: Room) -> None:
    room.pyrus.add_task(id=6, comments=[{"id": 99_000_000}])
    assert room.comment(text="x")["id"] > 99_000_000


@pytest.mark.parametrize(("token", "code"), [(None, "token_not_specified"), ("who", "invalid_token")])
def test_a_call_needs_a_token(room: Room, token: str | None, code: str) -> None:
    assert room.ask("GET", "tasks/5", token=token) == (401, {"error": code.replace("_", " "), "error_code": code})


def test_tokens_are_revoked_and_the_oldest_goes_first(room: Room) -> None:
    for _ in range(room.pyrus.world.token_limit):
        room.pyrus.world.issue_token(room.account)
    assert room.ask("GET", "tasks/5")[1]["error_code"] == "revoked_token"
    status, answer = room.ask("POST", "auth", {"login": LOGIN, "security_key": KEY}, None)
    assert (status, room.ask("GET", "tasks/5", token=answer["access_token"])[0]) == (200, 200)
    room.pyrus.revoke(LOGIN, "expired_token")
    assert room.ask("GET", "tasks/5", token=answer["access_token"])[1]["error_code"] == "expired_token"


def test_a_wrong_key_gets_no_token(room: Room) -> None:
    assert (
        room.ask("POST", "auth", {"login": LOGIN, "security_key": "x"}, None)[1]["error_code"] == "invalid_credentials"
    )


def test_the_rate_limit_counts_down_refuses_and_starts_anew(room: Room) -> None:
    room.pyrus.limit = 2
    handled = [room.clock.run(room.pyrus.handle(ApiQuestion("GET", "tasks/5", token=room.token))) for _ in range(3)]
    assert [one.status for one in handled] == [200, 200, 429]
    assert [one.headers["X-RateLimit-Remaining"] for one in handled] == ["1", "0", "0"]
    room.clock.loop.advance(601)
    assert room.ask("GET", "tasks/5")[0] == 200


def test_a_fault_hits_as_often_as_it_was_told_and_only_its_pattern(room: Room) -> None:
    room.pyrus.fail("POST tasks/*/comments", faults.gateway(502), times=2)
    body = json.dumps({"text": "x"}).encode()
    handled = [
        room.clock.run(room.pyrus.handle(ApiQuestion("POST", "tasks/5/comments", body=body, token=room.token)))
        for _ in range(3)
    ]
    assert [one.status for one in handled] == [502, 502, 200]
    room.pyrus.assert_one_comment(5)


def test_a_lost_answer_leaves_the_comment_and_a_lost_request_does_not(room: Room) -> None:
    body = json.dumps({"text": "x"}).encode()
    for fault in (faults.lose_request(), faults.lose_answer()):
        room.pyrus.fail("POST *", fault)
        assert (
            room.clock.run(
                room.pyrus.handle(ApiQuestion("POST", "tasks/5/comments", body=body, token=room.token))
            ).ending
            == "lost"
        )
    room.pyrus.assert_one_comment(5)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b" ", b"Success", b"[]", b'"x"'])
def test_a_response_with_nothing_in_it_writes_nothing(room: Room, body: bytes) -> None:
    assert room.pyrus.take_response(room.account, 5, body) is None
    room.pyrus.assert_no_comment()


def test_a_response_with_a_comment_writes_it_and_counts(room: Room) -> None:
    room.pyrus.take_response(room.account, 5, b'{"text": "hello"}')
    assert room.pyrus.assert_one_comment(5).door == "response"
    room.comment(text="again")
    with pytest.raises(AssertionError, match="2 comments on task 5 instead of one"):
        room.pyrus.assert_one_comment(5)


def test_an_invalid_response_is_refused(room: Room) -> None:
    with pytest.raises(ApiRefusal, match="invalid_field_id"):
        room.pyrus.take_response(room.account, 5, b'{"field_updates": [{"id": 99, "value": 1}]}')
    room.pyrus.assert_no_comment()


def test_registers_filter_by_step_field_and_state(room: Room) -> None:
    for number, value in enumerate((50, 150, 250)):
        room.pyrus.add_task(
            form_id=1, current_step=2, is_closed=number == 2, fields=[{"id": 1, "type": "money", "value": value}]
        )

    def count(**query: str) -> int:
        return len(room.ask("GET", "forms/1/register", **query)[1]["tasks"])

    assert (count(), count(include_archived="y"), count(steps="2"), count(steps="1")) == (3, 4, 2, 1)
    assert (count(fld1="gt100"), count(fld1="lt100"), count(fld1="150"), count(fld1="50,150")) == (1, 1, 1, 2)
    assert (count(fld1="*"), count(fld1="empty"), count(item_count="1")) == (2, 1, 1)
    row = room.ask("GET", "forms/1/register", field_ids="1")[1]["tasks"][0]
    assert not {"form_id", "approvals", "comments"} & set(row)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "tasks/99", 404),
        ("GET", "forms/99", 403),
        ("GET", "catalogs/9", 403),
        ("GET", "nowhere", 404),
        ("POST", "tasks/5", 404),
    ],
)
def test_what_is_not_there_is_refused(room: Room, method: str, path: str, status: int) -> None:
    assert room.ask(method, path, {})[0] == status
