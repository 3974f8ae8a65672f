"""What the fake Pyrus knows and does about deliveries: it has sent them, and it reads their responses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bothost.testing.fake_pyrus import Account, Refusal, Wrote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.testing.fake_pyrus import FakePyrus


def tell(pyrus: FakePyrus, body: bytes, bot: Mapping[str, Any], secret: str) -> None:
    """Let Pyrus know what a delivery says, for it comes from there: its task, new comments of it, its token, the bot."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return
    if not isinstance(sent, dict):
        return
    account = account_of(pyrus, sent, bot, secret)
    token = sent.get("access_token")
    if isinstance(token, str) and token:
        account.tokens.setdefault(token, "")
    task_id = _task_id(sent)
    if task_id is None:
        return
    task = sent.get("task")
    told = {**task, "id": task_id} if isinstance(task, dict) else {"id": task_id}
    known = pyrus.world.tasks.get(task_id)
    if known is None:
        told["comments"] = _comments(told)
        pyrus.add_task(told)
        return
    ids = {comment.get("id") for comment in known["comments"]}
    known["comments"] += [comment for comment in _comments(told) if comment.get("id") not in ids]


def account_of(pyrus: FakePyrus, sent: Mapping[str, Any], bot: Mapping[str, Any], secret: str) -> Account:
    """The bot's account: whose id the body names, else the test's own."""
    user_id = sent.get("user_id")
    person_id = user_id if type(user_id) is int else int(bot["id"])
    account = pyrus.world.accounts.get(person_id)
    if account is None:
        email = bot["email"] if person_id == bot["id"] else f"bot@{person_id:08x}-0000-4d0e-9a9b-6f2f7d0a1c55"
        account = pyrus.add_bot(email, secret, person_id)
    return account


def read_response(pyrus: FakePyrus, body: bytes, answer: bytes, account: Account) -> str:
    """Write the comment of a 200, as Pyrus does for each one that says something.

    A comment that Pyrus would refuse counts as written all the same, for nobody knows what Pyrus does with it; why it would
    be refused is returned.
    """
    task_id = _task_id(json.loads(body))
    if task_id is None:
        return ""
    try:
        pyrus.take_response(account, task_id, answer)
    except Refusal as refusal:
        comment_id = pyrus.world.next_id("comment")
        text = str(json.loads(answer).get("text") or "")
        pyrus.written.append(Wrote(task_id, comment_id, account.person["id"], "response", text))
        return str(refusal)
    return ""


def _task_id(sent: Mapping[str, Any]) -> int | None:
    task = sent.get("task")
    inner = task.get("id") if isinstance(task, dict) else None
    return next((value for value in (sent.get("task_id"), inner) if type(value) is int), None)


def _comments(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    comments = task.get("comments")
    return [item for item in comments if isinstance(item, dict)] if isinstance(comments, list) else []
