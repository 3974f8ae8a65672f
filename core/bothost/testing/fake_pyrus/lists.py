"""Answer requests for members, roles, the inbox, lists, announcements and catalog changes of the fake Pyrus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bothost.testing.fake_pyrus.world import ApiAccount, ApiRefusal, Json, PyrusWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.testing.fake_pyrus.question import ApiQuestion

HEAD = ("id", "author", "responsible", "text", "create_date", "last_modified_date", "last_note_id")
"""The keys that a task shows in an inbox."""


def members(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Return all persons that are not roles."""
    return {"members": [one for one in world.persons.values() if one.get("type") != "role"]}


def roles(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Return all roles."""
    found = [one for one in world.persons.values() if one.get("type") == "role"]
    return {"roles": [{"id": one["id"], "name": one.get("last_name", ""), "member_ids": []} for one in found]}


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
    return {"lists": [{"id": one, "name": f"List {one}"} for one in found]}


def list_tasks(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount, list_id: int) -> Json:
    """Return the tasks of a list."""
    found = [task for task in world.tasks.values() if list_id in (task.get("list_ids") or ())]
    return {"tasks": [head(task) for task in found], "has_more": False}


def announce(world: PyrusWorld, asked: ApiQuestion, account: ApiAccount) -> Json:
    """Publish an announcement."""
    given = asked.json()
    made: Json = {"id": world.next_id("task"), "author": account.person, "create_date": world.stamp(), "comments": []}
    made["text"] = given.get("text", "")
    world.announcements[made["id"]] = made
    return {"announcement": made}


def announcement(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Return an announcement."""
    if number not in world.announcements:
        raise ApiRefusal(404, "announcement_not_found")
    return {"announcement": world.announcements[number]}


def change_catalog(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Add, change and delete rows, each known by its first column."""
    catalog = known_catalog(world, number)
    given = asked.json()
    rows = {item["values"][0]: item for item in catalog["items"]}
    changes: dict[str, list[Json]] = {"added": [], "updated": [], "deleted": []}
    for wanted in given.get("upsert") or ():
        found = rows.get(wanted["values"][0])
        if found is None:
            found = {"item_id": max((one["item_id"] for one in catalog["items"]), default=0) + 1}
            catalog["items"].append(found)
        changes["updated" if "values" in found else "added"].append(found)
        found["values"] = wanted["values"]
    for key in given.get("delete") or ():
        if key in rows:
            catalog["items"].remove(rows[key])
            changes["deleted"].append(rows[key])
    return {"apply": True, **changes, "catalog_headers": catalog["catalog_headers"]}


def replace_catalog(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Replace all rows of a catalog."""
    catalog, given = known_catalog(world, number), asked.json()
    items = [{"item_id": at, "values": one["values"]} for at, one in enumerate(given.get("items") or (), start=1)]
    catalog["items"] = items
    catalog["catalog_headers"] = [{"name": name, "type": "text"} for name in given.get("catalog_headers") or ()]
    return {"apply": True, "added": items, "catalog_headers": catalog["catalog_headers"]}


def known_catalog(world: PyrusWorld, number: int) -> Json:
    """Return a catalog. Raises ApiRefusal 403."""
    if number not in world.catalogs:
        raise ApiRefusal(403, "access_denied_catalog", f"no catalog {number}")
    return world.catalogs[number]


LIST_ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", r"members", members),
    ("GET", r"roles", roles),
    ("GET", r"inbox", inbox),
    ("GET", r"lists", lists),
    ("GET", r"lists/(\d+)/tasks", list_tasks),
    ("POST", r"announcements", announce),
    ("GET", r"announcements/(\d+)", announcement),
    ("POST", r"catalogs/(\d+)/diff", change_catalog),
    ("POST", r"catalogs/(\d+)", replace_catalog),
)
WORLDLY = frozenset(act for _, _, act in LIST_ROUTES)
"""The functions that take the world alone."""
