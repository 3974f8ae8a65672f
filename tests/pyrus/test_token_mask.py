"""Stored bodies hold no token."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.pyrus.test_digest import TOKEN, changed

from bothost.pyrus.envelope import decode, event_key
from bothost.pyrus.token_mask import MASK, without_token

if TYPE_CHECKING:
    from tests.pyrus.test_digest import Body


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
