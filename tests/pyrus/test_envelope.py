"""From verified bytes to an event: what is refused, what is the same event, whose it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bothost.errors import BodyRefused
from bothost.pyrus.envelope import decode, event_key, is_own, waiting_step
from bothost.pyrus.token_mask import without_token

if TYPE_CHECKING:
    from collections.abc import Callable

    Body = Callable[[str], bytes]

TOKEN = "fixture-token-not-a-real-credential"

KEYS = {
    "01": "b:310001:comment:8800001",
    "02": "b:310002:comment:8800101",
    "03": "b:310003:comment:8800204",
    "04": "b:310004:comment:8800301",
    "05": "b:310005:comment:8800400",
    "06": "b:310006:task_received:8800500",
    "07": "b:310007:comment:8800603",
    "08": "b:310008:comment:8800701",
    "10": "b:310010:comment:8800900",
    "12": "b:310012:comment:8801001",
    "13": "b:310013:close:8801101",
    "14": "b:310014:task_translated:9007199254740993",
    "15": "b:310015:comment:8810299",
    "16": "b:5600:comment:12208",
    "17": "b:310017:comment:8801700",
    "20": "b:310004:comment:8800301",
    "21": "b:310010:comment:8800900",
}


def made(**keys: object) -> bytes:
    """A body of these keys."""
    return json.dumps(keys).encode()


@pytest.mark.parametrize(("number", "key"), KEYS.items())
def test_a_delivery_is_known_by_bot_task_kind_and_highest_comment(number: str, key: str, body: Body) -> None:
    assert event_key("b", decode(body(number))) == key


def test_without_a_comment_id_the_digest_makes_the_key(body: Body) -> None:
    for number, start in (("11", "b:310011:comment:sha-"), ("25", "b:310025:comment:sha-")):
        key = event_key("b", decode(body(number)))
        assert key.startswith(start)
        assert len(key) == len(start) + 64


def test_the_envelope_shows_what_stands_around_the_task(body: Body) -> None:
    envelope = decode(body("14"))
    assert (envelope.kind, envelope.task_id, envelope.user_id) == ("task_translated", 310014, 900100)
    assert envelope.token == TOKEN
    assert (envelope.api_url, envelope.files_url) == ("https://api.pyrus.com/v4/", "https://files.pyrus.com/")
    assert envelope.raw["event_id"] == "evt-1"
    assert json.loads(decode(body("17")).bot_settings)
    bare = decode(body("11"))
    assert (bare.kind, bare.user_id, bare.bot_settings, bare.api_url, bare.newest) == ("", None, "", "", None)


def test_the_token_stands_in_no_repr(body: Body) -> None:
    envelope = decode(body("02"))
    assert TOKEN not in repr(envelope) + repr(envelope.task) + repr(envelope.raw) + repr(envelope.newest)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"{}",
        b'{"task": {}}',
        b'{"task": []}',
        b'{"task_id": "x"}',
        b'{"task_id": 1532.0}',
        b'{"task_id": true}',
        b'{"task_id": null, "task": {"id": 5.0}}',
        b'{"task_id": 5',
        b'{"task_id": 5} x',
        b"{'task_id': 5}",
        b"<html>",
        b'\xef\xbb\xbf{"task_id": 5}',
        b'{"task_id": 5, "x": NaN}',
        b'{"task_id": 5, "x": "\n"}',
        b'{"task_id": 5, "x": "\xff"}',
        b'{"task_id": 5, "\xff": 1}',
        b'{"task_id": 5, "task": {"text": "\xff"}}',
        b'{"task_id": 5, "task": {"comments": [{"id": 1, "text": "\xff"}]}}',
        b'{"task_id": 5, "task": {"comments": [{"id": 2, "text": "\xff"}, {"id": 1}]}}',
        b'{"task_id": 5, "task": {"comments": [{"id": 1}, {"id": 2}], "zz": "\xff"}}',
        b'{"task_id": 5, "zz": "\xff", "task": {"comments": [{"id": 1}, {"id": 2}]}}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"\x00",
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_what_is_no_event_is_refused(wrong: bytes) -> None:
    with pytest.raises(BodyRefused):
        decode(wrong)


@pytest.mark.parametrize("depth", [500, 5_000, 200_000, 1_000_000])
def test_what_is_nested_deep_is_refused_or_an_event_like_any_other(depth: int) -> None:
    # how deep is too deep is the interpreter's to say: a thousand levels before Python 3.14, then as many as its stack holds
    body = b'{"task_id": 5, "x": ' + b"[" * depth + b"]" * depth + b"}"
    try:
        envelope = decode(body)
    except BodyRefused:
        assert depth > 500
        return
    assert event_key("b", envelope).startswith("b:5:comment:sha-")
    assert envelope.raw.get("task_id", 5) == 5
    assert b"[" * depth in without_token(body, "a token of at least 24 letters")


def test_a_refusal_shows_nothing_of_the_body() -> None:
    with pytest.raises(BodyRefused) as refused:
        decode(b'{"access_token": "secret-token", "task_id": "secret-token"')
    assert "secret-token" not in str(refused.value)
    assert refused.value.status == 400


def test_the_task_is_named_by_task_id_else_by_its_own() -> None:
    assert decode(made(task_id=5, task={"id": 6})).task_id == 5
    assert decode(made(task_id=5, task={"id": 6})).task.id == 6
    assert decode(made(task_id="x", task={"id": 6})).task_id == 6
    assert decode(made(task_id=5, task={"id": "x"})).task.id == 5
    assert decode(made(task_id="5")).task_id == 5
    nothing = decode(made(task_id=5, task=[]))
    assert nothing.task.id == 5
    assert not nothing.task
    assert nothing.task.author.email is None
    assert decode(made(task_id=5, task={"id": 5})).task


def test_wrong_bytes_in_an_older_comment_read_as_replacement_signs() -> None:
    envelope = decode(
        b'{"task_id": 5, "task": {"comments": [{"id": 1, "text": "a\xffb"}, {"id": 2, "text": "\xd1\x8b"}]}}'
    )
    assert envelope.comment_id == 2
    assert [comment.text for comment in envelope.task.comments] == ["a\ufffdb", "ы"]
    assert envelope.task.comments[0].raw["text"] == "a\ufffdb"
    assert envelope.raw["task"]["comments"][0]["text"] == "a\ufffdb"


@pytest.mark.parametrize("escape", ["\\ud800", "\\uDFFF", "\\udc00\\ud800", "\\\\\\ud83d", "\\ud83dx"])
def test_a_lone_surrogate_reads_as_a_replacement_sign(escape: str) -> None:
    body = f'{{"task_id": 5, "x": "{escape}", "task": {{"text": "{escape}", "comments": [{{"text": "{escape}"}}]}}}}'
    envelope = decode(body.encode())
    text = envelope.task.text
    assert text
    assert "\ufffd" in text
    assert envelope.newest
    assert envelope.newest.text == text == envelope.raw["x"]
    assert envelope.body == body.encode()


def test_pairs_and_backslashes_beside_a_lone_surrogate_stay() -> None:
    envelope = decode(rb'{"task_id": 5, "task": {"text": "\ud83d\ude00 \\ud800 \ud83d \n"}}')
    assert envelope.task.text == "😀 \\ud800 \ufffd \n"


@pytest.mark.parametrize("number", ["1e999", "-1E+400", "1" * 5000])
def test_a_number_nobody_can_hold_loses_no_event(number: str) -> None:
    body = f'{{"task_id": 5, "user_id": {number}, "task": {number}, "x": "1e999"}}'
    envelope = decode(body.encode())
    assert envelope.user_id is None
    assert envelope.raw["x"] == "1e999"


def test_ids_never_pass_through_a_float() -> None:
    big = 9007199254740993
    envelope = decode(made(task_id=big, user_id=big, task={"comments": [{"id": big, "author": {"id": big}}]}))
    assert envelope.task_id == envelope.comment_id == envelope.user_id == big
    assert is_own(envelope, big)
    assert not is_own(envelope, big - 1)
    assert decode(b'{"task_id": 5, "user_id": 1532.0}').user_id is None
    assert decode(made(task_id=2**63, task={"id": 2**63 - 1})).task_id == 2**63 - 1


def test_a_retry_with_another_token_is_the_same_event(body: Body) -> None:
    first, retry = decode(body("04")), decode(body("20"))
    assert first.token != retry.token
    assert event_key("b", first) == event_key("b", retry)
    assert first.digest() == retry.digest()


def test_the_same_value_in_other_bytes_is_the_same_event(body: Body) -> None:
    raw, escaped = decode(body("10")), decode(body("21"))
    assert raw.body != escaped.body
    assert event_key("b", raw) == event_key("b", escaped)
    assert raw.digest() == escaped.digest()
    assert raw.raw == escaped.raw


def test_the_newest_comment_has_the_highest_id_wherever_it_stands() -> None:
    for ids in ([7, 9, 8], [9, 8, 7], [8, 7, 9], [*range(100, 140), 99], [1, 1000, *range(2, 40)]):
        envelope = decode(made(task_id=5, task={"comments": [{"id": number, "text": str(number)} for number in ids]}))
        assert envelope.comment_id == max(ids)
        assert envelope.newest
        assert envelope.newest.text == str(max(ids))


def test_a_last_comment_without_id_makes_the_key_a_digest() -> None:
    comments = [{"id": 8, "text": "old"}, {"id": 8.0, "text": "new"}]
    envelope = decode(made(task_id=5, task={"comments": comments}))
    assert envelope.comment_id is None
    assert envelope.newest
    assert envelope.newest.text == "new"
    older = decode(made(task_id=5, task={"comments": comments[:1]}))
    assert event_key("b", envelope) != event_key("b", older)


def test_own_is_told_by_the_newest_authors_id_alone(body: Body) -> None:
    assert is_own(decode(body("08")), 900100)
    for number in ("04", "12", "15", "03", "11", "25"):
        assert not is_own(decode(body(number)), 900100)
    assert not is_own(decode(body("08")), None)
    assert not is_own(decode(made(task_id=5, task={"comments": [{"id": 1, "author": {"id": None}}]})), None)
    text = decode(made(task_id=5, user_id="900100", task={"comments": [{"id": 1, "author": {"id": "900100"}}]}))
    assert text.user_id == 900100
    assert is_own(text, text.user_id)
    assert not is_own(decode(made(task_id=5, task={"comments": [{"id": 1, "author": {"id": "x"}}]})), 900100)


def test_the_bot_waits_at_the_current_step_or_else_at_its_first(body: Body) -> None:
    expected = {"02": 2, "03": 6, "04": 2, "05": 1, "01": 0, "08": 0, "11": 0, "14": 0, "15": 1, "25": 1}
    assert {number: waiting_step(decode(body(number)), 900100) for number in expected} == expected
    assert waiting_step(decode(body("16")), 21913) == 1
    assert waiting_step(decode(body("02")), None) == 0

    def asked(current: object, *steps: str) -> int:
        approvals = [[{"person": {"id": 9}, "approval_choice": choice}] if choice else "odd" for choice in steps]
        return waiting_step(decode(made(task_id=5, task={"approvals": approvals, "current_step": current})), 9)

    assert asked(2, "waiting", "waiting") == 2
    assert asked(3, "waiting", "approved") == 1
    assert asked(2, "", "waiting", "waiting") == 2
    assert asked(None, "approved", "", "waiting") == 3
    assert asked(1, "approved", "rejected") == 0


def test_the_bots_login_is_learnt_from_a_body_that_shows_it(body: Body) -> None:
    login = "bot@3f1c9c2e-5a55-4d0e-9a9b-6f2f7d0a1c55"
    for number in ("02", "03", "04", "08", "14", "25"):
        assert decode(body(number)).login_of(900100) == login
    assert decode(body("11")).login_of(900100) == ""
    assert decode(body("02")).login_of(1041) == ""
    assert decode(body("02")).login_of(None) == ""


def test_a_kind_of_any_length_gives_a_short_key() -> None:
    envelope = decode(made(task_id=5, event="x" * 100_000))
    assert envelope.kind == "x" * 100_000
    assert len(event_key("b", envelope)) < 200
