"""`event.pyrus` and `self.pyrus`: Pyrus's API for a plugin's author, from async and plain handlers alike.

A method returns a `Call` (see `call.py`) of a typed result. What sends is a narrow `CallSender`, so that the same object works
in the host, and in a child process that asks the host.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol, overload

from bothost.pyrus.model.parts import File
from bothost.pyrus.reply import reply as replies
from bothost.pyrus.rest import requests, results
from bothost.pyrus.rest.results import Catalog, Contacts, Form, Profile, Upload
from bothost.pyrus_client import files
from bothost.pyrus_client.call import Call, CallLoop, Page, Pages, call
from bothost.pyrus_client.paging import LONGEST_PAGE, RegisterWindow

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.pyrus.model.task import Task
    from bothost.pyrus.reply.reply import Reply
    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse

__all__ = ["Call", "CallSender", "Catalog", "Contacts", "Form", "Page", "Pages", "Profile", "Pyrus", "Upload", "call"]

PAGE_SIZE = 1000


class CallSender(Protocol):
    """Makes one call, with token, rate limit and retries; implementations: `PyrusSession`, and a child's connection to the host.

    Both raise CallError, return only 2xx responses, and run on the loop of the `Pyrus` they belong to.
    """

    async def send(self, request: ApiRequest, content: Callable[[], AsyncIterator[bytes]] | None = None) -> ApiResponse:
        """Make the call; `content` makes the pieces of a streamed body, anew for each try."""

    def stream(self, request: ApiRequest) -> AsyncIterator[bytes]:
        """The response's body, piece by piece."""


class Pyrus:
    """Pyrus's API as this bot. In an async handler `await` a call, in a plain one `.wait()` for it."""

    def __init__(self, sender: CallSender, clock: Clock, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.sender = sender
        self._clock = clock
        self._call_loop = CallLoop(clock, loop or asyncio.get_running_loop())

    def __repr__(self) -> str:
        return "<Pyrus API>"

    def give_up(self, why: str) -> None:
        """For the host: refuse every further call, and end those that a thread still waits for."""
        self._call_loop.give_up(why)

    @call
    async def task(self, task_id: int) -> Task:
        """A task with all its comments."""
        return results.task((await self._send(requests.task(task_id))).body)

    @call
    async def comment(self, task_id: int, reply: Reply | Mapping[str, Any] | str) -> Task:
        """Write a comment, and return the task as it is then. Where `field_updates` names fields, the task is read first,
        to find them. Raises ReplyError for a comment that says and changes nothing."""
        task = await self.task(task_id) if replies.needs_task(reply) else None
        body = replies.encode_comment(reply, task)
        return results.task((await self._send(requests.comment(task_id, body))).body)

    @call
    async def create(self, task: Mapping[str, Any] | None = None, /, **keys: Any) -> Task:
        """Make a task of the keys of Pyrus's request: `text` and `responsible`, or `form_id` and `fields`, and so on."""
        body = replies.encode_json({**(task or {}), **keys})
        return results.task((await self._send(requests.create(body))).body)

    def register(
        self, form_id: int, /, *, limit: int | None = None, page_size: int = PAGE_SIZE, **filters: Any
    ) -> Pages[Task]:
        """Tasks of a form, without their comments, page by page: `async for task in self.pyrus.register(321, steps=[2])`.

        Filters are Pyrus's: steps, include_archived, field_ids, task_ids, created_after, modified_before, due_filter,
        `fld12="gt100"` …; lists, datetimes and bools are put into its form.
        """
        wanted = RegisterWindow(form_id, filters, max(1, min(page_size, LONGEST_PAGE)), limit)
        return Pages(self._page_of(wanted), self._call_loop)

    @call
    async def form(self, form_id: int) -> Form:
        """A form's definition: steps and fields."""
        return results.form((await self._send(requests.form(form_id))).body)

    @call
    async def catalog(self, catalog_id: int, *, include_deleted: bool = False) -> Catalog:
        """A catalog with its items."""
        return results.catalog((await self._send(requests.catalog(catalog_id, include_deleted=include_deleted))).body)

    @call
    async def contacts(self) -> Contacts:
        """All persons and roles that this bot can see."""
        return results.contacts((await self._send(requests.contacts())).body)

    @call
    async def profile(self) -> Profile:
        """This bot's own profile."""
        return results.profile((await self._send(requests.profile())).body)

    @call
    async def upload(self, source: files.Source, name: str | None = None) -> Upload:
        """Send a file (a path, bytes, or a file open for reading bytes) and get what a reply's `attachments` take."""
        outgoing = await files.outgoing(self._clock, source, name)
        self._call_loop.begin()
        response = await self.sender.send(outgoing.request, outgoing.content)
        return results.uploaded(response.body, outgoing.name)

    @overload
    def download(self, file: File | int, *, to: None = None) -> Pages[bytes]: ...
    @overload
    def download(self, file: File | int, *, to: str | os.PathLike[str]) -> Call[Path]: ...
    def download(self, file: File | int, *, to: str | os.PathLike[str] | None = None) -> Pages[bytes] | Call[Path]:
        """A file's bytes in pieces, to be iterated; or, with `to`, written to that path, which appears when complete."""
        request = requests.download(id_of(file))
        if to is None:
            return Pages(self._first_piece(request), self._call_loop)
        return self._save(request, to)

    @call
    async def get(self, path: str, /, **query: Any) -> Any:
        """Any other GET, by its path below the base URL; the JSON of the answer."""
        return results.json((await self._send(requests.plain("GET", path, query))).body)

    @call
    async def post(self, path: str, body: Mapping[str, Any] | None = None, /, **query: Any) -> Any:
        """Any other POST; it is never sent twice by itself. The JSON of the answer."""
        request = requests.plain("POST", path, query, replies.encode_json(body or {}))
        return results.json((await self._send(request)).body)

    async def _send(self, request: ApiRequest) -> ApiResponse:
        self._call_loop.begin()
        return await self.sender.send(request)

    @call
    async def _save(self, request: ApiRequest, to: str | os.PathLike[str]) -> Path:
        self._call_loop.begin()
        async with aclosing(self.sender.stream(request)) as pieces:  # type: ignore[type-var]
            return await files.save(self._clock, pieces, to)

    async def _first_piece(self, request: ApiRequest) -> Page[bytes]:
        self._call_loop.begin()
        return await next_piece(self.sender.stream(request))

    async def _page_of(self, window: RegisterWindow) -> Page[Task]:
        found = results.tasks((await self._send(window.request())).body)
        following = window.after(found)
        fresh = window.fresh(found)
        return Page(fresh, None if following is None else lambda: self._page_of(following))


async def next_piece(pieces: AsyncIterator[bytes]) -> Page[bytes]:
    """One piece as a page, which keeps the stream for the next one."""
    piece = await anext(pieces, None)
    return Page(()) if piece is None else Page((piece,), lambda: next_piece(pieces))


def id_of(file: File | int) -> int:
    """A file's id. Raises ValueError for a File that Pyrus sent without one."""
    found = file.id if isinstance(file, File) else file
    if found is None:
        raise ValueError(f"{file!r} has no id to download it by")
    return found
