"""Which comments can be what became of a reply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bothost.pyrus.reply.comment_match import comment_written, is_ours

REPLY: dict[str, Any] = {"text": "done"}


@pytest.mark.parametrize(
    ("reply", "comment"),
    [
        ({"text": "done"}, {"text": "done"}),
        ({"text": " done  and\nover "}, {"text": "done and over"}),
        ({"text": "<b>done</b>"}, {"text": "done"}),
        ({"formatted_text": "<p>one &lt; two</p><p>three</p>"}, {"text": "one < two three"}),
        ({"formatted_text": "<p>done</p>"}, {"formatted_text": "<div><p>done</p></div>"}),
        ({"text": "done"}, {"formatted_text": "<p>done</p>"}),
        ({"text": "done", "approval_choice": "approved"}, {"text": "done"}),
        ({"text": "done", "approval_choice": "approved"}, {"text": "done", "approval_choice": "approved", "approval_step": 2}),
        ({"text": "done", "field_updates": [{"id": 1, "value": 5}]}, {"text": "done", "field_updates": [{"id": 1, "value": 5.0}]}),
        ({"text": "done", "field_updates": [{"code": "sum", "value": 5}]}, {"text": "done", "field_updates": [{"id": 1, "info": {"code": "sum"}, "value": 5}]}),
        ({"text": "done", "field_updates": [{"id": 1, "value": {"item_id": 3}}]}, {"text": "done", "field_updates": [{"id": 1, "value": {"item_id": 3, "values": ["x"]}}]}),
        ({"text": "done"}, {"text": "done", "action": "reopened"}),
        ({"text": "done", "attachments": [{"guid": "x"}]}, {"text": "done", "attachments": [{"id": 1}]}),
        ({"text": "done", "channel": {"type": "email"}}, {"text": "done", "channel": {"type": "email", "to": {"email": "x"}}}),
        ({"text": "done", "reassign_to": {"id": 4}}, {"text": "done", "reassigned_to": {"id": 4, "email": ""}}),
        ({"text": "done", "approvals_added": [[{"id": 4}]]}, {"text": "done", "approvals_added": [[{"person": {"id": 4}, "step": 1}]]}),
        ({"approval_choice": "approved"}, {"approval_choice": "approved"}),
        ({"action": "finished"}, {"action": "finished"}),
        ({"field_updates": [{"id": 1, "value": 5}]}, {"field_updates": [{"id": 1, "value": 5}]}),
        ({"text": " ", "action": "finished"}, {"action": "finished"}),
    ],
)  # fmt: skip
def test_it_is_ours(reply: dict[str, Any], comment: dict[str, Any]) -> None:
    assert is_ours(reply, comment)


@pytest.mark.parametrize(
    ("reply", "comment"),
    [
        (REPLY, {"text": "Done"}),
        (REPLY, {"text": "done!"}),
        (REPLY, {}),
        (REPLY, {"text": "done", "approval_choice": "approved"}),
        ({"text": "done", "approval_choice": "approved"}, {"text": "done", "approval_choice": "rejected"}),
        ({"text": "done", "approval_choice": "approved", "approval_steps": [2]}, {"text": "done", "approval_choice": "approved", "approval_step": 3}),
        (REPLY, {"text": "done", "field_updates": [{"id": 1, "value": 5}]}),
        ({"text": "done", "field_updates": [{"id": 1, "value": 5}]}, {"text": "done", "field_updates": [{"id": 2, "value": 5}]}),
        ({"text": "done", "field_updates": [{"id": 1, "value": 5}]}, {"text": "done", "field_updates": [{"id": 1, "value": 6}]}),
        ({"text": "done", "field_updates": [{"id": 1, "value": "a"}]}, {"text": "done", "field_updates": [{"id": 1, "value": "b"}]}),
        (REPLY, {"text": "done", "attachments": [{"id": 1}]}),
        ({"text": "done", "attachments": [1, 2]}, {"text": "done", "attachments": [{"id": 1}]}),
        (REPLY, {"text": "done", "channel": {"type": "email"}}),
        ({"text": "done", "channel": {"type": "sms"}}, {"text": "done", "channel": {"type": "email"}}),
        ({"text": "done", "reassign_to": {"id": 4}}, {"text": "done", "reassigned_to": {"id": 5}}),
        (REPLY, {"text": "done", "subscribers_added": [{"id": 5}]}),
        ({"text": "done", "spent_minutes": 5}, {"text": "done", "spent_minutes": 6}),
        ({"text": "done", "action": "finished"}, {"text": "done", "action": "reopened"}),
        (REPLY, {"text": "done", "added_list_ids": [3]}),
        ({"approval_choice": "approved"}, {"approval_choice": "approved", "text": "said something"}),
        ({"approval_choice": "approved"}, {}),
        ({"action": "finished"}, {"approval_choice": "approved"}),
        ({"field_updates": [{"id": 1, "value": 5}]}, {}),
        ({"skip_notification": True}, {}),
    ],
)  # fmt: skip
def test_it_is_not_ours(reply: dict[str, Any], comment: dict[str, Any]) -> None:
    assert not is_ours(reply, comment)


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, [None], [[5]], [{"id": None}], [{"id": {}}], {"person": 5}])
@pytest.mark.parametrize(
    "key",
    ["text", "formatted_text", "field_updates", "attachments", "channel", "reassigned_to", "approvals_added", "added_list_ids",
     "approval_choice", "approval_step", "action", "author", "id"],
)  # fmt: skip
def test_no_odd_value_in_a_comment_breaks_the_look(key: str, odd: Any) -> None:
    reply = {
        "text": "done",
        "field_updates": [{"id": 1, "value": 5}],
        "reassign_to": {"id": 4},
        "approvals_added": [[{"id": 4}]],
    }
    is_ours(reply, {"text": "done", key: odd})
    is_ours({"text": "done"}, {"text": "done", key: odd})


def thread(*comments: dict[str, Any]) -> bytes:
    return json.dumps({"task": {"id": 5, "comments": [*comments]}}).encode()


BOT, OTHER = {"id": 9}, {"id": 4}


def test_the_comment_just_written_is_the_persons_newest_that_fits() -> None:
    answer = thread(
        {"id": 1, "author": BOT, "text": "done"}, {"id": 2, "author": BOT, "text": "done"},
        {"id": 3, "author": BOT, "text": "by another run"}, {"id": 4, "author": OTHER, "text": "done"},
    )  # fmt: skip
    assert comment_written(b'{"text": "done"}', answer, 9) == 2
    assert comment_written(b'{"text": "done"}', answer, None) == 4
    assert comment_written(b'{"text": "as Pyrus shows nothing like it"}', answer, 9) == 3


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"task": 5}', b'{"task": {"comments": [5, {"id": "x"}]}}', b"\xff"]
)
def test_an_answer_that_shows_no_comment_names_none(answer: bytes) -> None:
    assert comment_written(b'{"text": "done"}', answer, 9) == 0
