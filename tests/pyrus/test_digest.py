"""Two bodies of one event have one digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bothost.pyrus.digest import digest

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
