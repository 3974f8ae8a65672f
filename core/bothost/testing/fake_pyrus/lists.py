"""Answer requests for the inbox, lists, the calendar and announcements of the fake Pyrus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bothost.testing.fake_pyrus.register import yes
from bothost.testing.fake_pyrus.world import ApiAccount, ApiRefusal, Json, PyrusWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.testing.fake_pyrus.question import ApiQuestion

MOST_LISTED = 200
HEAD = ("id", "author", "responsible", "text", "create_date", "last_modified_date", "last_note_id")
"""The keys that a task shows in an inbox."""


def inbox(world: PyrusWorld, asked: ApiQuestion, account: ApiAccount) -> Json:
    """Return the open tasks that wait for this account, the newest change first."""
    count = int(asked.query.get("item_count", 50))
    mine = [task for task in world.tasks.values() if concerns(task, account.person["id"])]
    mine.sort(key=lambda task: str(task.get("last_modified_date", "")), reverse=True)
    return {"tasks": [head(task) for task in mine[:count]], "has_more": len(mine) > count, "task_groups": []}


def concerns(task: Json, person_id: int) -> bool:
    """Return whether a task is open and this person is in it."""
    if task.get("is_closed"):
        return False
    people = [entry.get("person") for step in task.get("approvals") or () for entry in step]
    people += [one.get("person") for one in task.get("subscribers") or ()]
    people += [task.get("responsible"), *(task.get("participants") or ())]
    return any(isinstance(one, dict) and one.get("id") == person_id for one in people)


def head(task: Json) -> Json:
    """Return a task as an inbox shows it."""
    shown = {key: task[key] for key in HEAD if key in task}
    ids = [comment["id"] for comment in task.get("comments") or () if isinstance(comment.get("id"), int)]
    return {**shown, **({"last_note_id": max(ids)} if ids else {})}


def lists(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Return all lists that a task is in."""
    found = sorted({one for task in world.tasks.values() for one in task.get("list_ids") or ()})
    return {"lists": [list_row(one) for one in found]}


def one_list(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount, list_id: int) -> Json:
    """Return one list. Raises ApiRefusal 403."""
    if not any(list_id in (task.get("list_ids") or ()) for task in world.tasks.values()):
        raise ApiRefusal(403, "access_denied_project", f"no list {list_id}")
    return list_row(list_id)


def list_row(list_id: int) -> Json:
    """Return a list as others show it."""
    return {"id": list_id, "name": f"List {list_id}"}


def list_tasks(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount, list_id: int) -> Json:
    """Return the tasks of a list, the closed ones where they are asked for."""
    wanted = asked.json() if asked.body else asked.query
    count, closed = int(wanted.get("item_count", MOST_LISTED)), yes(wanted.get("include_archived"))
    found = [task for task in world.tasks.values() if list_id in (task.get("list_ids") or ())]
    shown = [task for task in found if closed or not task.get("is_closed")]
    return {"tasks": [head(task) for task in shown[:count]], "has_more": len(shown) > count}


def calendar(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Return the open tasks that are due between two moments, each with its newest comment."""
    begin, end = asked.query.get("start_date_utc", ""), asked.query.get("end_date_utc", "9999")
    count = int(asked.query.get("item_count", 50))
    due = [task for task in world.tasks.values() if not task.get("is_closed") and begin <= due_of(task) <= end]
    shown = [{**task, "comments": task.get("comments", [])[-1:]} for task in due[:count]]
    return {"tasks": shown, "has_more": len(due) > count, "meetings": []}


def due_of(task: Json) -> str:
    """Return when a task is due, "" if it never is: a text that sorts as time does."""
    return str(task.get("due") or task.get("due_date") or "")


def announce(world: PyrusWorld, asked: ApiQuestion, account: ApiAccount) -> Json:
    """Publish an announcement."""
    given = asked.json()
    made: Json = {"id": world.next_id("task"), "author": account.person, "create_date": world.stamp(), "comments": []}
    made["text"] = given.get("text", "")
    world.announcements[made["id"]] = made
    return {"announcement": made}


def announcements(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Return the announcements, the newest first."""
    found = list(reversed(world.announcements.values()))
    return {"announcements": found[: int(asked.query.get("item_count", 100))]}


def announcement(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Return an announcement."""
    if number not in world.announcements:
        raise ApiRefusal(404, "announcement_not_found")
    return {"announcement": world.announcements[number]}


def comment_announcement(world: PyrusWorld, asked: ApiQuestion, account: ApiAccount, number: int) -> Json:
    """Comment on an announcement."""
    shown: Json = announcement(world, asked, account, number)
    comment: Json = {"id": world.next_id("comment"), "create_date": world.stamp(), "author": account.person}
    shown["announcement"]["comments"].append({**comment, "text": asked.json().get("text", "")})
    return shown


LIST_ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", r"inbox", inbox),
    ("GET", r"lists", lists),
    ("GET", r"lists/(\d+)", one_list),
    ("GET", r"lists/(\d+)/tasks", list_tasks),
    ("POST", r"lists/(\d+)/tasks", list_tasks),
    ("GET", r"calendar", calendar),
    ("GET", r"announcements", announcements),
    ("POST", r"announcements", announce),
    ("GET", r"announcements/(\d+)", announcement),
    ("POST", r"announcements/(\d+)/comments", comment_announcement),
)
