"""What counts as the same event without a comment id, and bodies without their token."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from bothost.pyrus.digest import MASK, digest, without_token
from bothost.pyrus.envelope import decode, event_key

if TYPE_CHECKING:
    from collections.abc import Callable

    Body = Callable[[str], bytes]

TOKEN = "fixture-token-not-a-real-credential"


def changed(body: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The body with a change, written anew."""
    value = json.loads(body)
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(access_token="another"),
        lambda value: value.pop("access_token"),
        lambda value: value.update(api_url="https://api.pyrus.kz/v4/", files_url="https://files"),
        lambda value: value.update(bot_settings="changed"),
        lambda value: value["task"].update(steps=[{"step": 1, "elapsed_time": 5}]),
    ],
)
def test_what_a_fresh_snapshot_changes_is_not_in_the_digest(
    change: Callable[[dict[str, Any]], object], body: Body
) -> None:
    plain = changed(body("25"), lambda value: value["task"].update(steps=[{"step": 1, "elapsed_time": 4}]))
    assert digest(changed(plain, change)) == digest(plain)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(task_id=1),
        lambda value: value["task"].update(text="another"),
        lambda value: value["task"].update(access_token="not on top"),
        lambda value: value["task"]["approvals"][0][0].update(approval_choice="approved"),
        lambda value: value.update(event_id="evt-2"),
    ],
)
def test_what_tells_two_events_apart_is_in_the_digest(change: Callable[[dict[str, Any]], object], body: Body) -> None:
    assert digest(changed(body("25"), change)) != digest(body("25"))


def test_order_of_keys_and_blanks_do_not_matter(body: Body) -> None:
    again = json.dumps(json.loads(body("25")), sort_keys=True, indent=3).encode()
    assert digest(again) == digest(body("25"))


def test_the_digest_of_a_body_nested_deep_does_not_raise() -> None:
    for depth in (200, 400, 800, 900):
        body = b'{"task_id": 5, "access_token": "%b", "x": ' + b'{"elapsed_time":' * depth + b"1" + b"}" * depth + b"}"
        assert digest(body % b"a") == digest(body % b"b")


def test_the_token_is_masked_wherever_it_stands(body: Body) -> None:
    text = changed(body("02"), lambda value: value["task"].update(text=f"my token is {TOKEN}!"))
    for sent in (body("02"), body("15"), body("11"), text):
        stored = without_token(sent, TOKEN)
        assert TOKEN.encode() not in stored
        assert decode(stored).token == ""
        assert event_key("b", decode(stored)) == event_key("b", decode(sent))
    assert decode(without_token(text, TOKEN)).task.text == f"my token is {MASK}!"
    assert len(without_token(body("02"), TOKEN)) == len(body("02")) - len(TOKEN) + len(MASK)


def test_an_escaped_token_is_masked_too() -> None:
    token = "abc/def+ghijklmnopqrstuvwxyz"
    escaped = re.sub("[/+]", lambda found: f"\\u00{ord(found[0]):02x}", token)
    for written in (escaped, token.replace("/", "\\/")):
        body = f'{{"task_id": 5, "access_token": "{written}", "x": [12345678901234567.89, "{written}"]}}'.encode()
        assert decode(body).token == token
        stored = without_token(body, token)
        assert json.loads(stored)["access_token"] == MASK
        assert token not in json.dumps(json.loads(stored))
        assert b"12345678901234567.89" in stored


def test_a_short_token_takes_no_words_with_it() -> None:
    body = b'{"task_id": 5, "access_token": "task", "task": {"id": 5, "text": "task"}}'
    assert json.loads(without_token(body, "task")) == {
        "task_id": 5,
        "access_token": MASK,
        "task": {"id": 5, "text": MASK},
    }
    once = b'{"task_id": 5,  "access_token": "t-1"}'
    assert without_token(once, "t-1") == b'{"task_id": 5,  "access_token": "***"}'


def test_without_a_token_the_bytes_stay(body: Body) -> None:
    assert without_token(body("02"), "") == body("02")
    stored = without_token(body("02"), TOKEN)
    assert without_token(stored, decode(stored).token) == stored


def test_a_body_nested_too_deep_to_be_written_again_loses_its_token_all_the_same() -> None:
    depth = 900
    body = b'{"task_id": 5, "access_token": "a\\/b", "x": ' + b"[" * depth + b"]" * depth + b"}"
    assert b"a\\/b" not in without_token(body, "a/b")
