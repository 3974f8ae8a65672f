"""Recognise a reply of ours among a task's comments when the end of its POST was not seen.

Pyrus's API has no idempotency key (protocol 5.2), so the only way is to look for a comment by the bot that says the same
as the reply and, as far as it shows them, makes the same changes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bothost.pyrus.raw_json import untyped

Json = Mapping[str, Any]

TAG = re.compile(r"<[^<>]*>")

AS_SENT = ("subject", "due_date", "scheduled_date", "spent_minutes", "edit_comment_id", "action")
"""Keys that a comment shows as they were sent."""
PERSON_LISTS = (
    "approvals_added", "approvals_removed", "approvals_rerequested",
    "subscribers_added", "subscribers_removed", "subscribers_rerequested",
    "participants_added", "participants_removed",
)  # fmt: skip
ID_LISTS = ("added_list_ids", "removed_list_ids")


def comment_written(reply: bytes, answer: bytes, person_id: int | None) -> int:
    """Return the id of the comment that a request has just written, by the `{task}` that Pyrus answered; 0 if it shows none.

    The newest comment of this person, if it is known, that fits the request; else that person's newest.
    """
    request, shown = untyped(reply), untyped(answer)
    task = shown.get("task") if isinstance(shown, dict) else None
    comments = task.get("comments") if isinstance(task, dict) else None
    found, fitting = 0, 0
    for comment in comments if isinstance(comments, list) else ():
        if not isinstance(comment, dict) or type(comment.get("id")) is not int:
            continue
        author = comment.get("author")
        if person_id is None or not isinstance(author, dict) or author.get("id") == person_id:
            found = max(found, comment["id"])
            if isinstance(request, dict) and is_ours(request, comment):
                fitting = max(fitting, comment["id"])
    return fitting or found


def is_ours(reply: Json, comment: Json) -> bool:
    """Return whether this comment (by the bot, newer than the event, of no other reply) can be the written reply."""
    if contradicts(reply, comment):
        return False
    wanted = texts(reply)
    if wanted:
        return bool(wanted & texts(comment))
    return not texts(comment) and same_deeds(reply, comment)


def texts(words: Json) -> frozenset[str]:
    """Return the texts of a reply or comment, tags dropped and blanks joined; empty if it has none."""
    plain = words.get("text")
    formatted = words.get("formatted_text")
    said = set()
    if isinstance(plain, str):
        said.add(bare(plain))
    if isinstance(formatted, str):
        said.add(bare(html.unescape(TAG.sub(" ", formatted).replace("\xa0", " "))))
        said.add(bare(html.unescape(TAG.sub("", formatted))))
    return frozenset(said - {""})


def bare(text: str) -> str:
    """Text without tags and with single blanks."""
    return " ".join(TAG.sub("", text).split())


def contradicts(reply: Json, comment: Json) -> bool:
    """Return whether a key that the comment shows differs from the reply's."""
    return any(differs(reply, comment) for differs in DIFFERENCES)


def same_deeds(reply: Json, comment: Json) -> bool:
    """Return whether the comment shows each change of a reply without text, of those a comment can show."""
    shown = [(key, comment.get(SHOWN_AS.get(key, key))) for key in reply if key in VISIBLE]
    return bool(shown) and all(value not in (None, "", [], {}) for _key, value in shown)


def choice_differs(reply: Json, comment: Json) -> bool:
    """Return True for a choice that the reply does not make, or that is at another step."""
    choice = comment.get("approval_choice")
    if not isinstance(choice, str):
        return False
    steps = reply.get("approval_steps")
    step = comment.get("approval_step")
    elsewhere = isinstance(steps, list) and bool(steps) and isinstance(step, int) and step not in steps
    return choice != reply.get("approval_choice") or elsewhere


def as_sent_differs(reply: Json, comment: Json) -> bool:
    """Return True for a key that is shown as it was sent, with another value."""
    return any(
        reply.get(key) is not None and comment.get(key) is not None and reply[key] != comment[key] for key in AS_SENT
    )


def fields_differ(reply: Json, comment: Json) -> bool:
    """Return True for changes of fields if the reply makes none, or of none of its fields, or to other values."""
    shown, wanted = keyed(comment.get("field_updates")), keyed(reply.get("field_updates"))
    if not shown:
        return False
    if not wanted:
        return True
    shared = [(wanted[key], shown[key]) for key in wanted.keys() & shown.keys()]
    return not shared or any(plain(a) and plain(b) and not same(a, b) for a, b in shared)


def keyed(updates: Any) -> dict[object, Any]:
    """Field values by each of the names that a field has: id, code, name."""
    found: dict[object, Any] = {}
    for update in updates if isinstance(updates, list) else ():
        if isinstance(update, dict):
            info = update.get("info")
            code = update.get("code") or (info.get("code") if isinstance(info, dict) else None)
            for key in (("id", update.get("id")), ("name", update.get("name")), ("code", code)):
                if isinstance(key[1], int | str):
                    found[key] = update.get("value")
    return found


def plain(value: Any) -> bool:
    """Return whether a field's value is shown as it was written."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    """Return whether two plain values are equal: numbers by value, texts without regard to blanks."""
    if isinstance(one, str) and isinstance(other, str):
        return one.split() == other.split()
    return bool(one == other) if type(one) is not str and type(other) is not str else str(one) == str(other)


def files_differ(reply: Json, comment: Json) -> bool:
    """Return True for files if the reply brings none, or another number of them."""
    shown, wanted = comment.get("attachments"), reply.get("attachments")
    count = len(wanted) if isinstance(wanted, list) else 0
    return isinstance(shown, list) and bool(shown) and len(shown) != count


def channel_differs(reply: Json, comment: Json) -> bool:
    """Return True for a comment into an outside conversation that the reply does not address."""
    shown, wanted = comment.get("channel"), reply.get("channel")
    if not isinstance(shown, dict) or not shown:
        return False
    return not isinstance(wanted, dict) or shown.get("type") != wanted.get("type")


def responsible_differs(reply: Json, comment: Json) -> bool:
    """Return True for another new responsible."""
    shown, wanted = persons(comment.get("reassigned_to")), persons(reply.get("reassign_to"))
    return bool(shown) and not shown & wanted


def persons_differ(reply: Json, comment: Json) -> bool:
    """Return True for persons added or removed whom the reply does not name; names that only Pyrus can resolve pass."""
    for key in PERSON_LISTS:
        shown, wanted = persons(comment.get(key)), persons(reply.get(key))
        if shown and not shown & wanted and not (wanted and all(kind == "name" for kind, _ in wanted)):
            return True
    return False


def persons(value: Any) -> frozenset[tuple[str, object]]:
    """Return all persons in a value, a list or a list of lists, by id and by e-mail."""
    return frozenset(_persons(value))


def _persons(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, list):
        for item in value:
            yield from _persons(item)
    elif isinstance(value, dict) and isinstance(value.get("person"), dict):
        yield from _persons(value["person"])
    elif isinstance(value, dict):
        if isinstance(value.get("id"), int):
            yield "id", value["id"]
        if isinstance(value.get("email"), str) and value["email"]:
            yield "email", value["email"].casefold()
    elif isinstance(value, int):
        yield "id", value


def lists_differ(reply: Json, comment: Json) -> bool:
    """Return True for lists that the reply does not name."""
    return any(
        isinstance(comment.get(key), list)
        and comment[key]
        and not any(one in (reply.get(key) or ()) for one in comment[key])
        for key in ID_LISTS
    )


DIFFERENCES: tuple[Callable[[Json, Json], bool], ...] = (
    choice_differs, as_sent_differs, fields_differ, files_differ, channel_differs, responsible_differs, persons_differ,
    lists_differ,
)  # fmt: skip
VISIBLE = frozenset(
    {"approval_choice", "field_updates", "attachments", "reassign_to", "due", *AS_SENT, *PERSON_LISTS, *ID_LISTS}
)
SHOWN_AS = {"reassign_to": "reassigned_to"}
