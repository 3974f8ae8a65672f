"""What a handler returns becomes exactly the comment it means, or an error that names the key."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothost.errors import ReplyError
from bothost.pyrus.model.parts import File, Person
from bothost.pyrus.reply.reply import OFFICIAL, Reply, encode, encode_comment, encode_json, needs_task, warnings

# protocol §4.2
KEYS_OF_PYRUS = [
    "text",
    "formatted_text",
    "subject",
    "approval_choice",
    "approval_steps",
    "action",
    "reassign_to",
    "attachments",
    "field_updates",
    "approvals_added",
    "approvals_removed",
    "approvals_rerequested",
    "subscribers_added",
    "subscribers_removed",
    "subscribers_rerequested",
    "participants_added",
    "participants_removed",
    "due_date",
    "due",
    "duration",
    "cancel_due",
    "scheduled_date",
    "scheduled_datetime_utc",
    "cancel_schedule",
    "added_list_ids",
    "removed_list_ids",
    "channel",
    "spent_minutes",
    "skip_satisfaction",
    "skip_notification",
    "skip_auto_reopen",
    "edit_comment_id",
    "comment_as_roles",
    "reply_note_id",
]


class Word(Enum):
    YES = "approved"


class Upload:
    guid = "0b1d"


def sent(answer: Any) -> Any:
    return json.loads(encode(answer))


def refused(answer: Any) -> str:
    with pytest.raises(ReplyError) as error:
        encode(answer)
    return str(error.value)


def test_a_reply_has_every_key_of_the_comment_request() -> None:
    assert sorted(KEYS_OF_PYRUS) == sorted(OFFICIAL)
    assert sorted(KEYS_OF_PYRUS) == sorted(Reply.__struct_fields__)


def test_only_the_text_may_stand_without_its_name() -> None:
    assert sent(Reply("Hello")) == {"text": "Hello"}
    with pytest.raises(TypeError):
        Reply("Hello", "<b>Hello</b>")  # type: ignore[misc]


def test_keys_that_are_not_given_are_left_out_and_false_and_empty_ones_are_kept() -> None:
    reply = Reply("x", skip_notification=False, attachments=[], added_list_ids=[3])
    assert sent(reply) == {"text": "x", "attachments": [], "added_list_ids": [3], "skip_notification": False}


def test_approve_and_reject_take_a_text_and_any_key() -> None:
    assert sent(Reply.approve("within the limit")) == {"text": "within the limit", "approval_choice": "approved"}
    assert sent(Reply.reject(approval_steps=[2])) == {"approval_choice": "rejected", "approval_steps": [2]}


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (None, b"{}"), ({}, b"{}"), ("", b"{}"), (" \n\t", b"{}"), ({"text": ""}, b"{}"), ({"text": None}, b"{}"),
        (Reply(), b"{}"), (Reply(text=" ", skip_notification=True, attachments=[]), b"{}"),
        ({"skip_auto_reopen": True, "channel": {"type": "email"}, "approval_steps": [1]}, b"{}"),
        (Reply(comment_as_roles=[{"id": 1}], approvals_added={2: []}, field_updates={}), b"{}"),
        (Reply(cancel_due=False), b"{}"),
        ("hi", b'{"text":"hi"}'), ({"text": "hi"}, b'{"text":"hi"}'),
        ({"text": " ", "approval_choice": "approved"}, b'{"approval_choice":"approved"}'),
        ({"text": "", "formatted_text": "<b>x</b>"}, b'{"formatted_text":"<b>x</b>"}'),
        (Reply(cancel_due=True), b'{"cancel_due":true}'), (Reply(spent_minutes=0), b'{"spent_minutes":0}'),
        ({"status": "ok"}, b'{"status":"ok"}'),
    ],
)  # fmt: skip
def test_a_reply_that_would_only_write_an_empty_comment_sends_nothing(answer: Any, body: bytes) -> None:
    assert encode(answer) == body


def test_a_comment_written_on_purpose_must_say_something() -> None:
    assert encode_comment("hi") == b'{"text":"hi"}'
    with pytest.raises(ReplyError, match="says nothing"):
        encode_comment({"skip_notification": True})


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"approval_choice": "yes"}, "approval_choice: 'yes' cannot stand here; give one of approved, rejected, revoked"),
        ({"approval_choice": "waiting"}, "approval_choice"),
        ({"action": "closed"}, "action: 'closed' cannot stand here; give one of finished, reopened"),
        ({"text": 5}, "text: 5 cannot stand here; give a text"),
        ({"text": b"x"}, "text: bytes"),
        ({"text": "a", "formatted_text": "b"}, "text and formatted_text do not go together"),
        ({"due": datetime(2026, 1, 1), "text": "x"}, "due: the datetime 2026-01-01 00:00:00 has no zone"),
        ({"due": date(2026, 1, 1)}, "due: date cannot stand here; give a datetime with a zone"),
        ({"due_date": datetime(2026, 1, 1, tzinfo=UTC)}, "due_date: datetime cannot stand here; give a date"),
        ({"due_date": "2026-02-30"}, "due_date: '2026-02-30'"),
        ({"due_date": "soon"}, "due_date: 'soon'"),
        ({"due_date": "2026-01-01", "due": "2026-01-01T00:00:00Z"}, "due_date and due do not go together"),
        ({"scheduled_date": "2026-01-01", "scheduled_datetime_utc": "2026-01-01T00:00:00Z"}, "do not go together"),
        ({"skip_notification": 1}, "skip_notification: 1 cannot stand here; give True or False"),
        ({"approval_steps": 2}, "approval_steps: 2 cannot stand here; give a list of steps"),
        ({"approval_steps": [True]}, "approval_steps[0]: True"),
        ({"added_list_ids": ["5"]}, "added_list_ids[0]: '5' cannot stand here; give a whole number"),
        ({"duration": -1}, "duration: -1"),
        ({"duration": timedelta(seconds=90)}, "duration: timedelta cannot stand here; give whole minutes"),
        ({"reassign_to": ""}, "reassign_to: ''"),
        ({"reassign_to": "123"}, "reassign_to: '123'"),
        ({"reassign_to": "Anna Gromova"}, "reassign_to: 'Anna Gromova' cannot stand here; give a person's id, e-mail"),
        ({"subscribers_added": [5, "anna"]}, "subscribers_added[1]: 'anna' cannot stand here"),
        ({"reassign_to": True}, "reassign_to: True"),
        ({"reassign_to": Person()}, "reassign_to: Person cannot stand here; give a person's id, e-mail"),
        ({"subscribers_added": 5}, "subscribers_added: 5 cannot stand here; give a list of persons"),
        ({"approvals_added": {0: [5]}}, "approvals_added: 0 is not a step"),
        ({"approvals_added": {"2": [5]}}, "approvals_added: '2' is not a step"),
        ({"approvals_added": 5}, "approvals_added: 5"),
        ({"channel": "email"}, "channel: 'email' cannot stand here; give a dict"),
        ({"attachments": [5]}, "attachments[0]"),
        ({"field_updates": 5}, "field_updates: 5"),
        ({"field_updates": {None: 5}}, "field_updates[None]: a field is asked for by its name, code or id, and not by None"),
        ({"field_updates": {"x": float("nan")}}, "field_updates['x']: nan"),
        ({"edit_comment_id": 1.0}, "edit_comment_id: 1.0"),
    ],
)  # fmt: skip
def test_what_pyrus_would_refuse_is_an_error_that_names_the_key(keys: dict[str, Any], error: str) -> None:
    with pytest.raises(ReplyError) as raised:
        Reply(**keys)
    assert error in str(raised.value)
    assert error in refused(keys)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (5, "not a value of type int"), (True, "not True or False"), ([], "not a value of type list"),
        (b"{}", "not a value of type bytes"), ((1,), "type tuple"), ({1: 2}, "the reply's key 1 is not a text"),
        (object(), "type object"),
    ],
)  # fmt: skip
def test_what_is_no_reply_at_all_is_refused_by_its_type(answer: Any, named: str) -> None:
    assert named in refused(answer)


def test_the_error_is_raised_where_the_reply_is_made() -> None:
    def handler() -> Reply:
        return Reply(approval_choice="aproved")  # type: ignore[arg-type]

    with pytest.raises(ReplyError) as error:
        handler()
    assert "handler" in [entry.name for entry in error.traceback]


def test_python_values_become_those_of_pyrus() -> None:
    moscow = timezone(timedelta(hours=3))
    reply = Reply(
        approval_choice=Word.YES,  # type: ignore[arg-type]
        reassign_to=Person(id=7, email="a@b"),
        attachments=[Upload(), File(id=9, md5="x"), {"url": "u", "name": "n"}, "plain-guid"],
        due=datetime(2026, 1, 1, 9, 30, 15, 999999, tzinfo=moscow),
        duration=timedelta(hours=1),
        scheduled_date=date(2026, 2, 3),
        subscribers_added=(5, "chief@corp.ru", Person(email="c@d"), {"id": 1}),
        channel={"type": "telegram", "price": Decimal("12345678901234567.89"), "at": time(9, 5)},
    )
    assert encode(reply) == (
        b'{"approval_choice":"approved","reassign_to":{"id":7},'
        b'"attachments":[{"guid":"0b1d"},{"attachment_id":9},{"url":"u","name":"n"},"plain-guid"],'
        b'"subscribers_added":[{"id":5},{"email":"chief@corp.ru"},{"email":"c@d"},{"id":1}],'
        b'"due":"2026-01-01T06:30:15Z","duration":60,"scheduled_date":"2026-02-03",'
        b'"channel":{"type":"telegram","price":12345678901234567.89,"at":"09:05"}}'
    )


def test_approvals_by_step_are_padded_and_lists_stand_as_pyrus_has_them() -> None:
    assert sent(Reply(approvals_added={2: [5, "chief@corp.ru"]})) == {
        "approvals_added": [[], [{"id": 5}, {"email": "chief@corp.ru"}]]
    }
    written = [[{"id": 5}], [], [{"email": "x@y"}]]
    assert sent({"approvals_added": written}) == {"approvals_added": written}
    assert sent({"approvals_removed": [{"id": 5}]}) == {"approvals_removed": [{"id": 5}]}


def test_texts_that_are_times_already_stand_as_written() -> None:
    keys = {"due": "2026-01-01T06:30:15Z", "duration": 5, "scheduled_date": "2026-02-03"}
    assert sent(keys) == keys


def test_a_file_by_its_id_alone_is_sent_with_a_warning_for_pyrus_passes_it_over() -> None:
    files = [{"id": 5}, {"guid": "0b1d", "id": 5}, {"attachment_id": 9}, {"url": "u", "id": 5}]
    for answer in (Reply(attachments=files), {"attachments": files}):
        assert sent(answer) == {"attachments": files}
        (warning,) = warnings(answer)
        assert "attachments[0]" in warning
        assert "guid" in warning


def test_a_dict_keeps_its_unofficial_keys_and_each_earns_a_warning() -> None:
    answer = {"txt": "hi", "text": "ho", "x": None, "deep": {"list": [1, 2.5, True]}}
    assert sent(answer) == answer
    assert warnings(answer) == (
        "the reply's key 'txt' is none of Pyrus's (did you mean 'text'?); it is sent as it is",
        "the reply's key 'x' is none of Pyrus's; it is sent as it is",
        "the reply's key 'deep' is none of Pyrus's; it is sent as it is",
    )
    assert warnings(Reply("hi")) == warnings("hi") == warnings(None) == ()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), -float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), b"x", bytearray(b"x"),
        object(), {1: 2}, {"a": {None: 1}}, "\ud800", {"\udfff": 1}, 1 << 64, timedelta(1), 1j, datetime(2026, 1, 1), Person(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_json_cannot_carry_is_an_error_never_null(value: Any) -> None:
    assert refused({"x": [value]}).startswith("x[0]")


def test_values_that_hold_themselves_are_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert "it holds itself" in refused({"x": ring})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text().filter(lambda key: key not in OFFICIAL), JSON, max_size=4))
def test_unofficial_keys_of_any_json_pass_unchanged(answer: dict[str, Any]) -> None:
    try:
        body = encode({"text": "t", **answer})
    except ReplyError as error:
        assert "surrogate" in str(error)  # noqa: PT017 - the other outcome is checked below
        return
    assert msgspec.json.decode(body) == {"text": "t", **answer}


@given(st.dictionaries(st.sampled_from(sorted(OFFICIAL)) | st.text(), JSON | st.binary() | st.datetimes(), max_size=5))
def test_whatever_a_handler_returns_is_sent_or_refused_by_name(answer: dict[str, Any]) -> None:
    try:
        assert isinstance(json.loads(encode(answer)), dict)
    except ReplyError as error:
        assert str(error)  # noqa: PT017


def test_fields_by_name_need_a_task_and_lists_do_not() -> None:
    assert needs_task(Reply(field_updates={"Сумма": 5}))
    assert needs_task({"field_updates": {"Сумма": 5}})
    assert not needs_task(Reply(field_updates=[{"id": 1, "value": 5}]))
    assert not needs_task(Reply(field_updates={}))
    assert not needs_task("text")
    assert "need a task to find them in" in refused({"field_updates": {"Сумма": 5}})


def test_any_request_has_the_same_values() -> None:
    assert encode_json({"due": datetime(2026, 1, 1, tzinfo=UTC), "fields": [{"id": 1, "value": Decimal("1.10")}]}) == (
        b'{"due":"2026-01-01T00:00:00Z","fields":[{"id":1,"value":1.10}]}'
    )


def test_a_reply_shows_only_what_was_given_and_compares_by_it() -> None:
    assert repr(Reply("a", due_date="2026-01-01")) == "Reply(text='a', due_date='2026-01-01')"
    assert Reply("a") == Reply(text="a") != Reply("b")
    with pytest.raises(AttributeError):
        Reply("a").text = "b"  # type: ignore[misc]


def test_a_datetime_beyond_what_utc_can_express_is_named() -> None:
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-3)))
    with pytest.raises(ReplyError, match="due: datetime cannot stand here; give a datetime that UTC can express"):
        Reply(due=last)


def test_half_of_a_character_in_a_key_is_named() -> None:
    with pytest.raises(ReplyError, match="the reply's key: the text holds half of a character"):
        encode({"\ud800": 1})


@given(
    st.none() | st.text(max_size=20),
    st.none() | st.sampled_from(["approved", "rejected", "revoked", "acknowledged"]),
)
def test_a_reply_of_text_and_choice_alone_is_written_as_any_other(text: str | None, choice: Any) -> None:
    keys = {key: value for key, value in (("text", text), ("approval_choice", choice)) if value is not None}
    assert encode(Reply(text=text, approval_choice=choice)) == encode(keys)
    assert encode(Reply(text=text, approval_choice=choice, skip_satisfaction=True)) == (
        encode({**keys, "skip_satisfaction": True})
    )


class Incomparable(dict[str, Any]):
    """As a table of numbers: a comparison has no single answer."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_a_reply_holds_values_that_cannot_be_compared() -> None:
    assert encode(Reply("Paid", channel=Incomparable(type="email", to="a@b.c"))) == (
        b'{"text":"Paid","channel":{"type":"email","to":"a@b.c"}}'
    )
