"""Apply a comment to a task: the state machine of approvals, steps, closing, fields, persons and files.

The rules are those of the protocol's sections 3 and 4. The whole request is checked before anything changes, so that a
refused one leaves the task as it was.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from bothost.testing.fake_pyrus.fields import field_updates
from bothost.testing.fake_pyrus.world import ApiRefusal, Json

if TYPE_CHECKING:
    from bothost.testing.fake_pyrus.world import PyrusWorld

CHOICES = ("approved", "rejected", "revoked", "acknowledged")
ACTIONS = ("finished", "reopened")
COPIED = (
    "text", "formatted_text", "subject", "due_date", "due", "duration", "scheduled_date", "scheduled_datetime_utc",
    "spent_minutes", "channel", "edit_comment_id", "added_list_ids", "removed_list_ids", "skip_satisfaction",
)  # fmt: skip
ONTO_TASK = ("subject", "due_date", "due", "duration", "scheduled_date", "scheduled_datetime_utc")


def write_comment(world: PyrusWorld, task: Json, request: Json, author: Json) -> Json:
    """Apply a comment request to a task as this person. Return the new comment. Raises ApiRefusal if Pyrus would refuse."""
    check(request)
    check_steps(request)
    draft = copy.deepcopy(task)
    comment: Json = {"id": 0, "create_date": world.stamp(), "author": author}
    for key in COPIED:
        if request.get(key) not in (None, "", []):
            comment[key] = copy.deepcopy(request[key])
    if request.get("attachments"):
        comment["attachments"] = [world.attached(given) for given in request["attachments"]]
    if request.get("field_updates"):
        comment["field_updates"] = field_updates(world, draft, request["field_updates"])
    for key in ONTO_TASK:
        if key in comment:
            draft[key] = comment[key]
    for change in (persons_changed, approvals_changed, choice_made, action_taken, lists_changed, edited):
        change(world, draft, request, comment)
    comment["id"] = world.next_id("comment")
    draft["comments"].append(comment)
    draft["last_modified_date"] = comment["create_date"]
    draft["last_note_id"] = comment["id"]
    task.clear()
    task.update(draft)
    return comment


def check(request: Json) -> None:
    """Refuse a request that no task could take."""
    if request.get("text") and request.get("formatted_text"):
        raise ApiRefusal(400, "both_text_and_formatted_text_specified")
    if request.get("due") and request.get("due_date"):
        raise ApiRefusal(400, "either_due_date_or_due_can_be_set")
    if request.get("duration") is not None and not request.get("due"):
        raise ApiRefusal(400, "due_missing")
    for key, values in (("approval_choice", CHOICES), ("action", ACTIONS)):
        if request.get(key) not in (None, *values):
            raise ApiRefusal(400, f"invalid_{key}", f"{request[key]!r} is none of {', '.join(values)}")
    if request.get("channel") and not (request.get("text") or request.get("formatted_text")):
        raise ApiRefusal(400, "external_comment_empty_text")


def check_steps(request: Json) -> None:
    """Refuse approvers that are not given step by step."""
    for key in ("approvals_added", "approvals_removed", "approvals_rerequested"):
        given = request.get(key) or []
        if not isinstance(given, list) or not all(isinstance(people, list) for people in given):
            raise ApiRefusal(400, "invalid_json", f"{key} is a list of lists: one list of persons for each step")


def persons_changed(world: PyrusWorld, task: Json, request: Json, comment: Json) -> None:
    """Change the responsible, participants and subscribers."""
    if request.get("reassign_to"):
        comment["reassigned_to"] = task["responsible"] = world.person(request["reassign_to"])
    for key in ("participants_added", "participants_removed", "subscribers_added", "subscribers_removed"):
        if not request.get(key):
            continue
        people = comment[key] = [world.person(given) for given in request[key]]
        ids = {person["id"] for person in people}
        wrapped = key.startswith("subscribers")
        kind = "subscribers" if wrapped else "participants"
        kept = [one for one in task.get(kind, []) if (one["person"] if wrapped else one)["id"] not in ids]
        added = [{"person": one} if wrapped else one for one in people] if key.endswith("added") else []
        task[kind] = kept + added


def approvals_changed(world: PyrusWorld, task: Json, request: Json, comment: Json) -> None:
    """Change the approvers of steps. The place of an inner list is the step."""
    for key in ("approvals_added", "approvals_removed", "approvals_rerequested"):
        if not request.get(key):
            continue
        comment[key] = []
        for step, given in enumerate(request[key], start=1):
            people = [world.person(one) for one in given]
            if not people:
                continue
            comment[key].append([{"person": person, "step": step} for person in people])
            row = row_of(task, step)
            ids = {person["id"] for person in people}
            if key != "approvals_rerequested" or step <= len(task["approvals"]):
                row[:] = [one for one in row if one["person"]["id"] not in ids]
            if key != "approvals_removed":
                row.extend({"person": person, "approval_choice": "waiting"} for person in people)
    if any(request.get(key) for key in ("approvals_added", "approvals_rerequested")):
        task.setdefault("current_step", first_open(task, 1) or 1)


def row_of(task: Json, step: int) -> list[Json]:
    """Return a step's approvers; the lists grow as far as needed."""
    rows: list[list[Json]] = task.setdefault("approvals", [])
    while len(rows) < step:
        rows.append([])
    return rows[step - 1]


def choice_made(world: PyrusWorld, task: Json, request: Json, comment: Json) -> None:
    """Apply a decision. It is ignored if the author is asked nowhere. Without `approval_steps` it is for the current step."""
    choice = request.get("approval_choice")
    if not choice:
        return
    steps = request.get("approval_steps") or [task.get("current_step") or 1]
    rows = task.get("approvals", [])
    mine = [
        (step, one)
        for step in steps
        if isinstance(step, int) and 1 <= step <= len(rows)
        for one in rows[step - 1]
        if one["person"]["id"] == comment["author"]["id"]
    ]
    if not mine:
        return
    for _step, one in mine:
        one["approval_choice"] = "waiting" if choice == "revoked" else choice
    comment["approval_choice"], comment["approval_step"] = choice, mine[0][0]
    if choice in ("approved", "acknowledged"):
        move_on(world, task, comment)


def move_on(world: PyrusWorld, task: Json, comment: Json) -> None:
    """Leave steps at which everybody has approved, and close the task after the last one."""
    step = task.get("current_step") or 1
    if step > len(task["approvals"]) or not is_done(task["approvals"][step - 1]):
        return
    following = first_open(task, step + 1)
    if following:
        task["current_step"] = comment["changed_step"] = following
    else:
        close(world, task, comment)


def first_open(task: Json, start: int) -> int:
    """Return the first step from here on at which somebody is awaited; 0 if there is none."""
    rows = task.get("approvals", [])
    return next((step for step in range(start, len(rows) + 1) if rows[step - 1] and not is_done(rows[step - 1])), 0)


def is_done(row: list[Json]) -> bool:
    """Return whether everybody of a step has approved."""
    return all(one.get("approval_choice") in ("approved", "acknowledged") for one in row)


def action_taken(world: PyrusWorld, task: Json, request: Json, comment: Json) -> None:
    """Close or reopen the task. Any comment reopens a closed task unless it says `skip_auto_reopen`."""
    action = request.get("action")
    if action == "finished":
        close(world, task, comment)
    elif task.get("is_closed") and "action" not in comment and (action or not request.get("skip_auto_reopen")):
        task["is_closed"] = False
        task.pop("close_date", None)
        comment["action"] = "reopened"


def close(world: PyrusWorld, task: Json, comment: Json) -> None:
    """Close the task by this comment."""
    task["is_closed"], task["close_date"], comment["action"] = True, world.stamp(), "finished"


def lists_changed(_world: PyrusWorld, task: Json, request: Json, _comment: Json) -> None:
    """Change the lists that hold the task."""
    if request.get("added_list_ids") or request.get("removed_list_ids"):
        ids = dict.fromkeys([*task.get("list_ids", []), *request.get("added_list_ids", [])])
        task["list_ids"] = [one for one in ids if one not in request.get("removed_list_ids", [])]


def edited(_world: PyrusWorld, task: Json, request: Json, _comment: Json) -> None:
    """Change the text of an older comment."""
    if not request.get("edit_comment_id"):
        return
    older = next((one for one in task["comments"] if one.get("id") == request["edit_comment_id"]), None)
    if older is None:
        raise ApiRefusal(400, "invalid_comment_id")
    older["text"] = request.get("text", "")


def create_task(world: PyrusWorld, request: Json, author: Json) -> Json:
    """Make a task, whose first comment repeats the request. Raises ApiRefusal."""
    form_id = request.get("form_id")
    task: Json = {"id": world.next_id("task"), "create_date": world.stamp(), "author": author, "comments": []}
    if form_id is None:
        if not request.get("text"):
            raise ApiRefusal(400, "text_missing")
    else:
        form = world.forms.get(form_id)
        if form is None:
            raise ApiRefusal(400, "invalid_form_id", f"no form {form_id!r}")
        task |= {"form_id": form_id, "current_step": 1, "is_closed": False}
        task["fields"] = [blank(one) for one in form.get("fields", [])]
    if request.get("text"):
        task["text"] = request["text"]
    first = {**request, "field_updates": request.get("fields"), "approvals_added": request.get("approvals")}
    first["reassign_to"] = request.get("responsible")
    first["participants_added"] = request.get("participants")
    first["subscribers_added"] = request.get("subscribers")
    write_comment(world, task, first, author)
    world.add_task(task)
    return world.tasks[task["id"]]


def blank(definition: Json) -> Json:
    """Return an empty field of a new task."""
    kept: Json = {
        key: definition[key] for key in ("id", "type", "name", "code", "info", "parent_id") if key in definition
    }
    if definition.get("type") == "title":
        inner = (definition.get("info") or {}).get("fields", [])
        kept["value"] = {"fields": [{**blank(one), "parent_id": definition["id"]} for one in inner]}
    return kept
