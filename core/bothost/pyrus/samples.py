"""The built-in sample delivery (the task of Pyrus's help page), fresh ids for it, and changes to any place of a body."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bothost.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

BOT_ID = 21913
AUTHOR_ID = 1731
LARGEST_ID = 1 << 53  # ids beyond it are read wrongly by JavaScript, and so by others' tools


def sample(now: datetime, fresh_id: int, form_id: int | None = None) -> dict[str, Any]:
    """A whole delivery as Pyrus sends it: a new task at whose first step the bot is asked to decide."""
    instant = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    bot = {"id": BOT_ID, "first_name": "bot", "last_name": "papirus", "email": "bot@pyrus.com", "type": "bot"}
    author = {
        "id": AUTHOR_ID,
        "first_name": "tester",
        "last_name": "papirus",
        "email": "test@pyrus.com",
        "type": "user",
    }
    task: dict[str, Any] = {
        "id": fresh_id,
        "text": "New task",
        "create_date": instant,
        "last_modified_date": instant,
        "author": author,
        "approvals": [
            [{"person": bot, "approval_choice": "waiting"}],
            [{"person": author, "approval_choice": "waiting"}],
        ],
        "comments": [
            {
                "id": fresh_id + 1,
                "create_date": instant,
                "author": author,
                "approvals_added": [[{"person": bot, "step": 1}], [{"person": author, "step": 2}]],
            }
        ],
    }
    if form_id is not None:
        task |= {"form_id": form_id, "current_step": 1, "fields": []}
    return {
        "event": "comment",
        "access_token": "sample-token-not-a-real-credential",
        "task_id": fresh_id,
        "user_id": BOT_ID,
        "task": task,
    }


def with_fresh_ids(body: dict[str, Any], fresh_id: int) -> dict[str, Any]:
    """The body with another task's id, and another id for its newest comment: a new event."""
    fresh = dict(body)
    task = dict(body["task"]) if isinstance(body.get("task"), dict) else None
    if "task_id" in body or task is None:
        fresh["task_id"] = fresh_id
    if task is not None:
        task["id"] = fresh_id
        task["comments"] = _freshly_commented(task.get("comments"), fresh_id + 1)
        if task["comments"] is None:
            del task["comments"]
        fresh["task"] = task
    return fresh


def _freshly_commented(comments: Any, fresh_id: int) -> Any:
    if not isinstance(comments, list):
        return comments
    ids = [comment.get("id") if isinstance(comment, dict) else None for comment in comments]
    known = [value for value in ids if isinstance(value, int)]
    if not known:
        return comments
    newest = ids.index(max(known))
    changed = list(comments)
    changed[newest] = {**comments[newest], "id": max(fresh_id, max(known) + 1)}
    return changed


def change(body: dict[str, Any], assignment: str) -> None:
    """Carry out `task.text=Hello`: the left side is a path of keys and list places, the right JSON or else a text."""
    path, equals, text = assignment.partition("=")
    steps = path.strip().split(".")
    if not equals or not all(steps):
        raise UsageError(f"--set {assignment!r} is not an assignment: write --set task.text=Hello")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    place: Any = body
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        place = _step(place, step, assignment, value, following)


def _step(place: Any, step: str, assignment: str, value: Any, following: str | None) -> Any:
    last = following is None
    if isinstance(place, dict):
        if last:
            place[step] = value
            return None
        return place.setdefault(step, [] if following in ("0", "-1") else {})
    if isinstance(place, list) and step.removeprefix("-").isdecimal():
        index = int(step)
        if index == len(place) or (index == -1 and not place):
            place.append({})
            index = -1
        if -len(place) <= index < len(place):
            if last:
                place[index] = value
            return place[index]
        raise UsageError(f"--set {assignment!r}: the list has {len(place)} items, so there is no place {step}")
    raise UsageError(f"--set {assignment!r}: there is nothing below {step!r}, for what holds it is {_kind(place)}")


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list, whose places are numbers"
    return "empty" if value is None else f"the plain value {json.dumps(value, ensure_ascii=False)}"
