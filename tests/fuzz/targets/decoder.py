"""The decoder: a verified body is refused as BodyRefused or becomes an event, of which every part can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fuzz.draw import Draw

from bothost.errors import BodyRefused, FieldError
from bothost.pipeline.attempts import read_attempt
from bothost.pyrus.envelope import Envelope, decode, event_key, is_own, waiting_step
from bothost.pyrus.token_mask import without_token

SAMPLES = Path(__file__).parents[2] / "data" / "deliveries"
KEYS = (
    "task_id", "task", "id", "event", "access_token", "user_id", "bot_settings", "api_url", "fields", "value", "type", "name",
    "code", "info", "comments", "author", "person", "approvals", "approval_choice", "current_step", "steps", "step", "rows",
    "cells", "items", "item_ids", "item_id", "choice_ids", "choice_names", "headers", "values", "channel", "from", "to", "email",
    "attachments", "subscribers", "create_date", "due", "due_date", "duration", "form_id", "field_updates", "task_ids",
    "elapsed_time", "text", "first_name", "last_name", "responsible", "participants", "checkmark", "columns",
)  # fmt: skip
TYPES = (
    "text", "money", "number", "date", "time", "checkmark", "due_date", "due_date_time", "email", "phone", "flag", "step", "status",
    "creation_date", "note", "catalog", "file", "person", "author", "table", "multiple_choice", "title", "form_link", "project", "new",
)  # fmt: skip


def check(data: bytes) -> None:
    """A body as the fuzzer has it, or one built from known keys with wrong values everywhere."""
    draw = Draw(data)
    kind = draw.below(4)
    if kind == 0:
        body = draw.rest()
    elif kind == 1:
        body = draw.pick(_TIMES) * (draw.below(256) << draw.below(10)) + draw.rest()
    else:
        body = json.dumps(_delivery(draw), ensure_ascii=draw.sometimes(2)).encode("utf-8", "surrogatepass")
    examine(body)


def examine(body: bytes) -> None:
    """Decode, compare with the standard library's reading, and read all there is."""
    sure = _surely(body)
    try:
        envelope = decode(body)
    except BodyRefused as error:
        if sure is not None:
            raise AssertionError(f"refused though it is JSON with task_id {sure}") from error
        return
    assert sure is None or envelope.task_id == sure
    _read(envelope)


def seeds() -> list[bytes]:
    """Every captured delivery that is not huge, as it is; and beginnings of built ones."""
    files = sorted(SAMPLES.glob("[0-9]*.json"), key=lambda file: file.stat().st_size)
    samples = [b"\0" + file.read_bytes() for file in files if file.stat().st_size < 30000]
    return samples + [b"\2" + bytes(range(start, 256, 3)) for start in range(8)] + [b"\1\0\xff\x09"]


_TIMES = (
    b"[",
    b'{"task":',
    b'{"task":{"fields":[{"value":',
    b'{"task_id":1,"task":[',
    b'{"":',
    b"\xef\xbb\xbf",
    b" ",
    b"9",
)


def _delivery(draw: Draw) -> Any:
    if draw.sometimes(6):
        return draw.json(KEYS)
    delivery = draw.json(KEYS, 6)
    delivery = delivery if isinstance(delivery, dict) else {}
    task = draw.json(KEYS, 6)
    task = task if isinstance(task, dict) else {}
    task["fields"] = [_field(draw) for _ in range(draw.below(5))]
    task.setdefault("comments", [draw.json(KEYS, 4) for _ in range(draw.below(5))])
    return {"task_id": draw.number() if draw.sometimes(3) else 7, "task": task, **delivery}


def _field(draw: Draw) -> Any:
    return {
        "id": draw.number(),
        "type": draw.pick(TYPES),
        "name": draw.text(),
        "value": draw.json(KEYS, 5),
        "info": draw.json(KEYS, 3),
    }


def _surely(body: bytes) -> int | None:
    """The task's id where nobody could doubt that the body is one."""
    if body.count(b"[") + body.count(b"{") > 300:
        return None
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_none)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or type(value.get("task_id")) is not int:
        return None
    return value["task_id"] if -(2**63) <= value["task_id"] < 2**63 else None


def _none(_name: str) -> None:
    raise ValueError("not JSON")


def _read(envelope: Envelope) -> None:
    assert event_key("bot", envelope).startswith(f"bot:{envelope.task_id}:")
    for user_id in (None, 1, envelope.user_id):
        assert waiting_step(envelope, user_id) >= 0
        assert is_own(envelope, user_id) in (True, False)
        assert isinstance(envelope.login_of(user_id), str)
    assert read_attempt(envelope.bot_settings).number(0) >= 1
    raw = envelope.raw
    assert isinstance(raw, dict)
    if len(envelope.token) >= 24:
        _masked(envelope)
    task = envelope.task
    assert isinstance(task.id, int)
    touch(task)
    touch(envelope.newest)
    for field in task.fields:
        for key in (field.id, field.code, field.name):
            if key is not None:
                _find(task, key)
    _find(task, "nothing of that name")


def _masked(envelope: Envelope) -> None:
    if envelope.body.count(b"[") + envelope.body.count(b"{") > 300:
        return
    masked = without_token(envelope.body, envelope.token)
    assert envelope.token.encode("utf-8", "surrogatepass") not in masked
    assert decode(masked).token == ""


def _find(task: Any, key: int | str) -> None:
    try:
        task.field(key)
        assert task.value(key, str) is None or isinstance(task.value(key, str), str)
        task[key]
    except FieldError:  # absent, one of several, or a blank key, which names nothing
        pass


def touch(top: Any) -> None:
    """Read every public attribute of a part and of all that hangs on it."""
    seen, waiting = 0, [top]
    while waiting and seen < 3000:
        seen += 1
        part = waiting.pop()
        if isinstance(part, tuple | list):
            waiting.extend(part)
            continue
        if not type(part).__module__.startswith("bothost."):
            continue
        repr(part)
        bool(part)
        waiting += [getattr(part, name) for name in dir(type(part)) if not name.startswith("_")]
