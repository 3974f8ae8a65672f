"""Make the built-in sample delivery (the task of Pyrus's help page), and give any body fresh ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

BOT_ID = 21913
AUTHOR_ID = 1731
TRIAL_IDS = 10**14
"""Tasks that `bothost send` and the page make up have ids from here on, which no task of Pyrus has."""
TOKEN = "sample-token-not-a-real-credential"  # noqa: S105 - of the sample
LARGEST_ID = 1 << 53  # ids beyond it are read wrongly by JavaScript, and so by others' tools


def sample(now: datetime, fresh_id: int, form_id: int | None = None) -> dict[str, Any]:
    """Return a whole delivery as Pyrus sends it: a new task at whose first step the bot is asked to decide."""
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
        "access_token": TOKEN,
        "task_id": fresh_id,
        "user_id": BOT_ID,
        "task": task,
    }


def with_fresh_ids(body: dict[str, Any], fresh_id: int) -> dict[str, Any]:
    """Return the body with another task's id, and another id for its newest comment: a new event."""
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
