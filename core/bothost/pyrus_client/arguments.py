"""Check what a call is given where Pyrus would pass over a slip in silence, or take it for something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bothost.pyrus.reply.reply import OFFICIAL, Reply
from bothost.text import SLIP, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

TASK_KEYS = OFFICIAL | {
    "form_id", "fields", "fill_defaults", "approvals", "responsible", "participants", "subscribers", "list_ids",
    "parent_task_id", "linked_task_ids",
}  # fmt: skip
"""The keys of the request that makes a task."""
REGISTER_KEYS = frozenset({
    "steps", "include_archived", "field_ids", "task_ids", "item_count", "created_after", "created_before", "modified_after",
    "modified_before", "closed_after", "closed_before", "due_filter", "sort", "format", "delimiter", "simple_format",
    "encoding", "include_text", "filters", "limit", "page_size",
})  # fmt: skip
"""The keys of a register's request, and those of `register` itself."""
_FIELD = re.compile(r"fld\d+")


def check_keys(what: str, keys: Iterable[str], known: Collection[str]) -> None:
    """Raise TypeError for a key that Pyrus does not have and that is near to one of its own. Any other may be a new one."""
    for key in keys:
        near = nearest(key, known, SLIP) if key not in known and not _FIELD.fullmatch(key) else ""
        if near:
            raise TypeError(f"{what} has no {key}={near}")


def check_comment(reply: Any) -> None:
    """Raise TypeError for what no comment is made of, such as an id in its place."""
    if not isinstance(reply, Reply | Mapping | str):
        raise TypeError(f"a comment is a Reply, a dict or a text, and not {reply!r:.80}: write comment(task_id, reply)")


def check_new_task(wanted: Mapping[str, Any]) -> None:
    """Raise TypeError for keys of a new task that would make another one than was meant."""
    check_keys("create", wanted, TASK_KEYS)
    form_id = wanted.get("form_id")
    if form_id is None and isinstance(wanted.get("fields"), Mapping):
        raise TypeError("create: fields by name need form_id=, the form's number")
    if form_id is not None and (isinstance(form_id, bool) or not isinstance(form_id, int)):
        raise TypeError(f"create: form_id is the form's number, and not {form_id!r:.80}")


def rows_of(name: str, rows: Any) -> list[list[str]]:
    """Return the rows of a catalog. Raises TypeError for rows that are no lists of texts."""
    if isinstance(rows, str | Mapping) or not all(
        isinstance(row, list | tuple) and all(isinstance(value, str) for value in row) for row in rows
    ):
        raise TypeError(f'catalog_update: {name} is a list of rows, each a list of texts such as ["Acme", "Riga"]')
    return [list(row) for row in rows]


def texts_of(name: str, texts: Any) -> list[str]:
    """Return the texts of a list. Raises TypeError for one text, which would be taken for its letters."""
    if isinstance(texts, str) or not all(isinstance(one, str) for one in texts):
        raise TypeError(f'catalog_update: {name} is a list of texts such as ["Acme"], and not {texts!r:.80}')
    return list(texts)


def body_of(body: Any) -> Mapping[str, Any]:
    """Return the object that is sent, {} for None. Raises TypeError for anything else."""
    if body is None:
        return {}
    if not isinstance(body, Mapping):
        raise TypeError(f"the body of a request to Pyrus is a dict, and not {body!r:.80}")
    return body
