"""Make tasks, comments and persons in the shape that Pyrus really sends, as plain dicts that a test may change.

Ids are fresh at each call and start anew in each test (`Numbering.restart`, which the fixture and pytest's plugin call).
A form's field, a person's e-mail and a choice's name keep their ids within one test, as they do in Pyrus.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.plugins.explained import explained
from bothost.pyrus.model.fields import Field
from bothost.pyrus.model.task import Comment, Task
from bothost.pyrus_client.arguments import check_keys
from bothost.testing import checks
from bothost.testing.field_shapes import FieldSpec, check_spec, shape
from bothost.testing.people import BOT_ID, as_person, me, numbering, person, plain_keys, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN = "test-token"  # noqa: S105 - what the tests' bodies carry; the fake Pyrus takes it
_ENCODER = msgspec.json.Encoder(decimal_format="number")


COMMENT_KEYS = ("text", "author", *checks.keys_of(Comment))
FIELD_KEYS = ("value", "type", "code", "id", *checks.keys_of(Field))
TASK_KEYS = ("form_id", "step", "fields", "comments", "author", *checks.keys_of(Task))
BODY_KEYS = ("user_id", "access_token", "event", "task_id", "bot_settings", "task")


@explained
def comment(text: str | None = None, *, author: Mapping[str, Any] | str | None = None, **keys: Any) -> dict[str, Any]:
    """Make a comment; `keys` are Pyrus's own (`approval_choice=`, `channel=`, `attachments=` …)."""
    check_keys("comment", keys, COMMENT_KEYS)
    made: dict[str, Any] = {
        "id": numbering.fresh("comment"),
        "create_date": stamp(numbering.now()),
        "author": as_person(author),
    }
    if text is not None:
        made["text"] = checks.text("text", text)
    return made | plain_keys(keys)


@explained
def field(
    value: Any = None, type: str | None = None, *, code: str | None = None, id: int | None = None, **keys: Any
) -> FieldSpec:
    """Make a form's field for `task(fields={"name": field(…)})`. Without a type its value decides, as without `field`.

    Raises ValueError for a type that Pyrus does not have and for a value that the type cannot hold.
    """
    check_keys("field", keys, FIELD_KEYS)
    return check_spec(FieldSpec(value, type, code, id, keys))


@explained
def task(
    form_id: int | None = None,
    *,
    step: int | None = None,
    fields: Mapping[str, Any] | Mapping[int, Any] | Mapping[str | int, Any] | None = None,
    comments: Iterable[Mapping[str, Any] | str] | None = None,
    author: Mapping[str, Any] | str | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """Make a task. `step=2` makes the bot the awaited approver of step 2. `fields` maps a name or id to a value or `field(…)`.

    `comments` are all comments of the task. Without them it has the opening one, which repeats text, fields and approvers.
    `keys` are Pyrus's own and win (`text=`, `subject=`, `approvals=`, `is_closed=`, `id=` …).
    """
    check_keys("task", keys, TASK_KEYS)
    made: dict[str, Any] = {"id": numbering.fresh("task"), "text": "A form" if form_id else "A task"}
    now = stamp(numbering.now())
    made |= {"create_date": now, "last_modified_date": now, "author": as_person(author), "is_closed": False}
    if form_id is not None:
        made["form_id"] = checks.whole("form_id", form_id)
    if fields is not None:
        if not isinstance(fields, Mapping):
            checks.wrong("fields", fields, 'a dict such as {"Amount": 5}')
        made["fields"] = [shape(checks.name_of_field(key), value, form_id, numbering) for key, value in fields.items()]
    if step is not None:
        made |= {"current_step": checks.whole("step", step), "approvals": _approvals(step)}
    made |= plain_keys(keys)
    checks.text("text", made["text"])
    if comments is None:
        made["comments"] = [_opening(made)]
    else:
        if isinstance(comments, str | Mapping):
            checks.wrong("comments", comments, "a list of texts and of comment(…)")
        made["comments"] = _in_order(list(comments))
    return made


@explained
def body(
    of: Mapping[str, Any], *, user_id: int = BOT_ID, access_token: str | None = TOKEN, **keys: Any
) -> dict[str, Any]:
    """Make the body that Pyrus posts about a task, with `event`, token, ids and settings. A key given as None is left out."""
    if not isinstance(of, Mapping):
        checks.wrong("the task of a body", of, "a task(…)")
    check_keys("body", keys, BODY_KEYS)
    made = {
        "event": "comment",
        "access_token": access_token,
        "task_id": of.get("id"),
        "user_id": user_id,
        "bot_settings": "",
        "task": of,
    }
    return {key: value for key, value in (made | keys).items() if value is not None}


def load(name: str | Path) -> bytes:
    """Return the bytes of a recorded delivery, from a file beside the calling test or at an absolute path."""
    path = Path(name)
    if not path.is_absolute():
        beside = sys._getframe(1).f_globals.get("__file__")
        if beside is not None and (Path(beside).parent / path).exists():
            path = Path(beside).parent / path
        elif not path.exists():
            raise FileNotFoundError(f"there is no file {str(name)!r} beside {beside}, nor in {Path.cwd()}")
    return path.read_bytes()


def encode(value: Mapping[str, Any]) -> bytes:
    """Return JSON as Pyrus writes it, in UTF-8 and with exact numbers."""
    return _ENCODER.encode(value)


def _in_order(given: list[Mapping[str, Any] | str]) -> list[dict[str, Any]]:
    """Return the comments with ascending ids. A text before a made comment gets an id just below that comment's."""
    made: list[dict[str, Any]] = []
    below: int | None = None
    for item in reversed(given):
        if not isinstance(item, str | Mapping):
            checks.wrong("a comment", item, "a text or a comment(…)")
        one = comment(item) if isinstance(item, str) else plain_keys(item)
        if isinstance(item, str) and below is not None:
            one["id"] = below - 1
        below = one["id"] if isinstance(one.get("id"), int) else below
        made.append(one)
    return made[::-1]


def _approvals(step: int) -> list[list[dict[str, Any]]]:
    before = [[{"person": person(), "approval_choice": "approved"}] for _ in range(step - 1)]
    return [*before, [{"person": me(), "approval_choice": "waiting"}]]


def _opening(made: Mapping[str, Any]) -> dict[str, Any]:
    opening = comment(made.get("text"), author=made["author"], create_date=made["create_date"])
    if made.get("fields"):
        opening["field_updates"] = made["fields"]
    if made.get("approvals"):
        opening["approvals_added"] = [
            [{"person": each["person"], "step": number} for each in approvers]
            for number, approvers in enumerate(made["approvals"], start=1)
        ]
    return opening
