"""Offer Pyrus's API to a plugin's author as `event.pyrus` and `self.pyrus`, for async and plain handlers alike.

A method returns a `Call` (see `call.py`) of a typed result. A narrow `CallSender` sends it, so that the same object works in
the host, and in a child process that asks the host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload
from urllib.parse import parse_qsl

from bothost.errors import CallRefused, NoLogin, ReplyError, Unauthorized
from bothost.pyrus.model.parts import File, Person, Role
from bothost.pyrus.reply import reply as replies
from bothost.pyrus.reply.field_updates import of_form
from bothost.pyrus.rest import requests, results
from bothost.pyrus.rest.definitions import DefinitionNeeded, Definitions, FieldFinder
from bothost.pyrus.rest.forms import Form
from bothost.pyrus.rest.register_filters import field_filters
from bothost.pyrus.rest.results import (
    Announcement,
    Catalog,
    CatalogChange,
    Contacts,
    Inbox,
    Profile,
    TaskList,
    Upload,
)
from bothost.pyrus_client import arguments, files
from bothost.pyrus_client.call import Call, CallLoop, Page, Pages, call
from bothost.pyrus_client.paging import LONGEST_PAGE, RegisterWindow

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.pyrus.model.task import Task
    from bothost.pyrus.reply.reply import Reply
    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse

__all__ = [
    "Announcement", "Call", "CallSender", "Catalog", "CatalogChange", "Contacts", "Form", "Inbox", "Page", "Pages", "Profile",
    "Pyrus", "TaskList", "Upload", "call",
]  # fmt: skip

PAGE_SIZE = 1000
KEEP_S = 600.0
"""The seconds for which definitions are kept."""

T = TypeVar("T")


class CallSender(Protocol):
    """Makes one call, with token, rate limit and retries. It is a `PyrusSession`, or a child's connection to the host.

    Both raise CallError, return only 2xx responses, and run on the loop of the `Pyrus` that they belong to.
    """

    async def send(self, request: ApiRequest, content: Callable[[], AsyncIterator[bytes]] | None = None) -> ApiResponse:
        """Make the call, and return the response. `content` makes the pieces of a streamed body anew for each try."""

    def stream(self, request: ApiRequest) -> AsyncIterator[bytes]:
        """Yield the response's body, piece by piece."""


class Pyrus:
    """Pyrus's API as this bot. In an async handler `await` a call, in a plain one `.wait()` for it."""

    def __init__(
        self,
        sender: CallSender,
        clock: Clock,
        loop: asyncio.AbstractEventLoop | None = None,
        accounts: Mapping[str, CallSender] | None = None,
    ) -> None:
        """`accounts` holds a sender for each other account that the bot may call as."""
        self.sender = sender
        self._accounts = accounts or {}
        self._clock = clock
        self._call_loop = CallLoop(clock, loop or asyncio.get_running_loop())

    def __repr__(self) -> str:
        return "<Pyrus API>"

    def as_account(self, name: str) -> Pyrus:
        """Return the API as another account of the bot's `accounts`. Raises NoLogin if the bot has no such account."""
        if name not in self._accounts:
            listed = ", ".join(self._accounts) or "none"
            raise NoLogin(f"the bot has no account {name!r}; its key accounts names {listed}")
        return Pyrus(self._accounts[name], self._clock, self._call_loop.loop)

    def give_up(self, why: str) -> None:
        """Refuse every further call, and end those that a thread still waits for. Only the host calls this."""
        self._call_loop.give_up(why)

    @call
    async def task(self, task_id: int) -> Task:
        """Return a task with all its comments."""
        return results.task((await self._send(requests.task(task_id))).body)

    @call
    async def comment(self, task_id: int, reply: Reply | Mapping[str, Any] | str) -> Task:
        """Write a comment, and return the task as it is then. If `field_updates` names fields, the task is read first to
        find them. Raises ReplyError for a comment that says and changes nothing."""
        arguments.check_comment(reply)
        task = await self.task(task_id) if replies.needs_task(reply) else None
        body, _ = await self.with_definitions(lambda known: replies.encode_comment(reply, task, known))
        return results.task((await self._send(requests.comment(task_id, body))).body)

    @call
    async def create(self, task: Mapping[str, Any] | None = None, /, **keys: Any) -> Task:
        """Make a task of the keys of Pyrus's request: `text` and `responsible`, or `form_id` and `fields`, and so on.
        `fields` may be a dict by name, code or id; names are looked up in the form's definition."""
        wanted = {**(task or {}), **keys}
        arguments.check_new_task(wanted)
        fields, form_id = wanted.get("fields"), wanted.get("form_id")
        if isinstance(fields, Mapping) and isinstance(form_id, int):
            wanted["fields"], _ = await self.with_definitions(lambda known: of_form(fields, form_id, known))
        body = replies.encode_json(wanted)
        return results.task((await self._send(requests.create(body))).body)

    def register(
        self,
        form_id: int,
        /,
        *,
        filters: Mapping[str, Any] | Mapping[int, Any] | Mapping[str | int, Any] | None = None,
        limit: int | None = None,
        page_size: int = PAGE_SIZE,
        **keys: Any,
    ) -> Pages[Task]:
        """Return tasks of a form, without their comments, page by page: `async for task in self.pyrus.register(321, steps=[2])`.

        `filters` are by field: `{"Amount": (">", 5), "Status": ["New", "Open"], "Due": None}`. The other keys are Pyrus's: steps,
        include_archived, field_ids, task_ids, created_after, modified_before, due_filter, `fld12="gt100"` …; lists, datetimes and
        bools are put into its form.
        """
        arguments.check_keys("register", keys, arguments.REGISTER_KEYS)
        if not isinstance(filters, Mapping | None):
            raise TypeError(
                f'register: filters is a dict by field such as {{"Amount": (">", 5)}}, and not {filters!r:.80}'
            )
        wanted = RegisterWindow(form_id, keys, max(1, min(page_size, LONGEST_PAGE)), limit)
        return Pages(self._filtered(wanted, filters or {}), self._call_loop)

    @call
    async def form(self, form_id: int) -> Form:
        """Return a form's definition: steps and fields."""
        return results.form((await self._send(requests.form(form_id))).body)

    @call
    async def catalog(self, catalog_id: int, *, include_deleted: bool = False) -> Catalog:
        """Return a catalog with its items."""
        return results.catalog((await self._send(requests.catalog(catalog_id, include_deleted=include_deleted))).body)

    @call
    async def known_form(self, form_id: int) -> Form:
        """Return a form's definition that may be up to ten minutes old: one call serves all runs of the account meanwhile."""
        return results.known_form((await self._send(requests.form(form_id, keep_s=KEEP_S))).body)

    @call
    async def known_catalog(self, catalog_id: int) -> Catalog:
        """Return a catalog that may be up to ten minutes old: one call serves all runs of the account meanwhile."""
        return results.known_catalog((await self._send(requests.catalog(catalog_id, keep_s=KEEP_S))).body)

    @call
    async def catalog_update(
        self,
        catalog_id: int,
        *,
        upsert: Sequence[Sequence[str]] = (),
        delete: Sequence[str] = (),
        items: Sequence[Sequence[str]] | None = None,
        headers: Sequence[str] | None = None,
    ) -> CatalogChange:
        """Add or change rows (`upsert`), and delete rows, both by their first column. Or, with `items` and `headers`,
        replace the whole catalog."""
        body: dict[str, Any]
        if items is None:
            rows = arguments.rows_of("upsert", upsert)
            body = {"upsert": [{"values": row} for row in rows], "delete": arguments.texts_of("delete", delete)}
        elif headers is None or upsert or delete:
            raise ValueError("catalog_update takes items with headers (the whole catalog), or upsert and delete")
        else:
            rows, names = arguments.rows_of("items", items), arguments.texts_of("headers", headers)
            body = {"apply": True, "catalog_headers": names, "items": [{"values": row} for row in rows]}
        request = requests.catalog_update(catalog_id, replies.encode_json(body), whole_catalog=items is not None)
        return results.catalog_change((await self._send(request)).body)

    @call
    async def members(self) -> tuple[Person, ...]:
        """Return all members of the organisation."""
        return results.members((await self._send(requests.listed("members"))).body)

    @call
    async def roles(self) -> tuple[Role, ...]:
        """Return all roles of the organisation."""
        return results.roles((await self._send(requests.listed("roles"))).body)

    @call
    async def inbox(self, *, item_count: int | None = None) -> Inbox:
        """Return this bot's inbox. Its tasks have only id, author, responsible, text and dates."""
        return results.inbox((await self._send(requests.listed("inbox", item_count=item_count))).body)

    @call
    async def lists(self) -> tuple[TaskList, ...]:
        """Return all lists that this bot can see."""
        return results.lists((await self._send(requests.listed("lists"))).body)

    @call
    async def list_tasks(
        self, list_id: int, *, item_count: int | None = None, include_archived: bool = False
    ) -> tuple[Task, ...]:
        """Return the tasks of a list. They have only id, author, responsible, text and dates."""
        path = f"lists/{requests.whole(list_id)}/tasks"
        request = requests.listed(path, item_count=item_count, include_archived=include_archived or None)
        return results.tasks((await self._send(request)).body)

    @call
    async def announcement(self, announcement_id: int) -> Announcement:
        """Return an announcement with its comments."""
        request = requests.listed(f"announcements/{requests.whole(announcement_id)}")
        return results.announcement((await self._send(request)).body)

    @call
    async def announce(self, text: str, *, attachments: Sequence[Any] = ()) -> Announcement:
        """Publish an announcement."""
        if not isinstance(text, str):
            raise TypeError(f"an announcement is a text, and not {text!r:.80}")
        body = replies.encode_json({"text": text, "attachments": list(attachments)} if attachments else {"text": text})
        return results.announcement((await self._send(requests.plain("POST", "announcements", {}, body))).body)

    @call
    async def contacts(self) -> Contacts:
        """Return all persons and roles that this bot can see."""
        return results.contacts((await self._send(requests.contacts())).body)

    @call
    async def profile(self) -> Profile:
        """Return this bot's own profile."""
        return results.profile((await self._send(requests.profile())).body)

    @call
    async def upload(self, source: files.Source, name: str | None = None) -> Upload:
        """Send a file (a path, bytes, or a file open for reading bytes), and return a value for a reply's `attachments`."""
        outgoing = await files.outgoing(self._clock, source, name)
        self._call_loop.begin()
        response = await self.sender.send(outgoing.request, outgoing.content)
        return results.uploaded(response.body, outgoing.name)

    @overload
    def download(self, file: File | int | None = None, *, path: str = "", to: None = None) -> Pages[bytes]: ...
    @overload
    def download(self, file: File | int | None = None, *, path: str = "", to: str | os.PathLike[str]) -> Call[Path]: ...
    def download(
        self, file: File | int | None = None, *, path: str = "", to: str | os.PathLike[str] | None = None
    ) -> Pages[bytes] | Call[Path]:
        """Return a file's bytes in pieces to iterate over. With `to`, write them to that path, which appears when complete.

        `path` asks for the answer to any GET instead of a file, such as a print form or a register as CSV.
        """
        if (file is None) is not bool(path):
            raise ValueError("download takes a file or its id, or path=, and not both")
        found, _, query = path.partition("?")
        asked = requests.raw(found, dict(parse_qsl(query)), streamed=True) if path else None
        request = asked or requests.download(id_of(file or 0))
        if to is None:
            return Pages(self._first_piece(request), self._call_loop)
        return self._save(request, to)

    @call
    async def get(self, path: str, /, **query: Any) -> Any:
        """Make any other GET by its path below the base URL, and return the JSON of the answer."""
        return results.json((await self._send(requests.plain("GET", path, query))).body)

    @call
    async def post(self, path: str, body: Mapping[str, Any] | None = None, /, **query: Any) -> Any:
        """Make any other POST, and return the JSON of the answer. It is never sent again by itself."""
        request = requests.plain("POST", path, query, replies.encode_json(arguments.body_of(body)))
        return results.json((await self._send(request)).body)

    @call
    async def put(self, path: str, body: Mapping[str, Any] | None = None, /, **query: Any) -> Any:
        """Make any PUT, and return the JSON of the answer. It is never sent again by itself."""
        request = requests.plain("PUT", path, query, replies.encode_json(arguments.body_of(body)))
        return results.json((await self._send(request)).body)

    @call
    async def delete(self, path: str, /, **query: Any) -> Any:
        """Make any DELETE, as in `delete("tasks/5")`, and return the answer's JSON or None. It is never sent again by itself."""
        return results.json((await self._send(requests.plain("DELETE", path, query))).body)

    @call
    async def bytes(self, path: str, /, **query: Any) -> builtins.bytes:
        """Return the bytes of any GET whose answer is no JSON: a print form, a register as CSV. At most 128 MB; see `download`."""
        return (await self._send(requests.raw(path, query))).body

    async def with_definitions(self, work: Callable[[Definitions], T]) -> tuple[T, Definitions]:
        """Do work that may need definitions of forms and catalogs. Each one that it lacks is fetched, and the work begins again.

        Return its result and the definitions. Raises ReplyError if Pyrus refuses a definition, and CallError."""
        known = Definitions()
        while True:
            try:
                return work(known), known
            except DefinitionNeeded as needed:
                known = known.adding(await self._definition(needed), needed)

    async def _definition(self, needed: DefinitionNeeded) -> Form | Catalog:
        try:
            return await (self.known_form(needed.id) if needed.kind == "form" else self.known_catalog(needed.id))
        except (CallRefused, NoLogin, Unauthorized) as error:
            raise ReplyError(f"{needed}; and the {needed.kind} {needed.id} cannot be read: {error}") from error

    async def _filtered(self, wanted: RegisterWindow, filters: Mapping[Any, Any]) -> Page[Task]:
        if filters:
            form_id = wanted.form_id
            found, _ = await self.with_definitions(
                lambda known: field_filters(filters, FieldFinder(None, known, form_id))
            )
            wanted = replace(wanted, filters={**wanted.filters, **found})
        return await self._page_of(wanted)

    async def _send(self, request: ApiRequest) -> ApiResponse:
        self._call_loop.begin()
        return await self.sender.send(request)

    @call
    async def _save(self, request: ApiRequest, to: str | os.PathLike[str]) -> Path:
        self._call_loop.begin()
        async with aclosing(self.sender.stream(request)) as pieces:  # type: ignore[type-var]
            return await files.save(self._clock, pieces, to)

    async def _first_piece(self, request: ApiRequest) -> Page[builtins.bytes]:
        self._call_loop.begin()
        return await next_piece(self.sender.stream(request))

    async def _page_of(self, window: RegisterWindow) -> Page[Task]:
        found = results.tasks((await self._send(window.request())).body)
        following = window.after(found)
        fresh = window.fresh(found)
        return Page(fresh, None if following is None else lambda: self._page_of(following))


async def next_piece(pieces: AsyncIterator[bytes]) -> Page[bytes]:
    """Return the next piece as a page, which keeps the stream for the piece after it."""
    piece = await anext(pieces, None)
    return Page(()) if piece is None else Page((piece,), lambda: next_piece(pieces))


def id_of(file: File | int) -> int:
    """Return a file's id. Raises ValueError for a File that Pyrus sent without one."""
    found = file.id if isinstance(file, File) else file
    if found is None:
        raise ValueError(f"{file!r} has no id to download it by")
    return found
