"""Make signed HTTP requests of any service into tasks and comments; bots.ini says which value goes where."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bothost import (
    CallError,
    CallRefused,
    CallUnclear,
    Event,
    FieldError,
    FieldName,
    GiveUp,
    Plugin,
    Reply,
    ReplyError,
    Request,
    RequestRefused,
    Secret,
    Settings,
    hook,
    signed,
    token,
)
from inbox.mapping import Pointer, Template, clean, content, fields, filled, plain, task_id

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Inbox", "Pointer", "Template", "Wanted"]


class Wanted(Settings):
    """`key` is shared with the caller; `id` names a request; `task` or `form` says where it goes, `text` and `fields` what."""

    key: Secret
    id: str
    task: Pointer | None = None
    form: int | None = None
    text: Template = Template("")
    fields: dict[FieldName, str] = {}  # noqa: RUF012 - msgspec copies it for each instance
    signature_header: str = "X-Signature"
    digest: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    timestamp_header: str = ""
    token_header: str = "Authorization"  # noqa: S105 - a header's name

    def __post_init__(self) -> None:
        """Raise ValueError for settings that do not go together."""
        if (self.task is None) == (self.form is None):
            raise ValueError("needs either `task`, where the task's id stands, or `form`, of which a task is made")
        if self.form is not None and (self.text or not self.fields):
            raise ValueError("`form` goes with `fields`, because a form's task has no text of its own")
        if not self.text and not self.fields:
            raise ValueError("writes nothing: give `text`, `fields` or both")
        for template in self.fields.values():
            Template.parse(template)


@dataclass(frozen=True, slots=True)
class Message:
    """One request, read: a comment in `task`, or a new task if it is None."""

    id: str
    task: int | None
    text: str
    fields: Mapping[str, Any]


class Inbox(Plugin[Wanted]):
    """Works by its hooks only, so it needs a `login`."""

    async def handle(self, event: Event) -> None:
        """Ignore events."""

    def read(self, request: Request) -> Message:
        """Return what a request asks for. Raises RequestRefused, which tells the caller what is missing."""
        wanted, body = self.settings, content(request)
        key = plain(body, wanted.id) if wanted.id.startswith("/") else request.headers.get(wanted.id, "")
        if not key.strip():
            raise RequestRefused(f"the request has no id: {wanted.id} is missing or empty")
        where = None if wanted.task is None else task_id(body, wanted.task)
        return Message(clean(key), where, filled(body, wanted.text), fields(body, wanted.fields))

    def key_of(self, request: Request) -> str:
        """Return a request's id once all of it was read, so that what cannot be used is 400 and not a failed run."""
        return self.read(request).id

    @hook(
        "signed",
        signed(
            "settings.key",
            header="settings.signature_header",
            digest="settings.digest",
            encoding="settings.encoding",
            prefix="settings.prefix",
            timestamp="settings.timestamp_header",
        ),
        once=key_of,
    )
    async def signed(self, request: Request) -> None:
        """Take a request whose header holds the HMAC of its body."""
        await self._write(request)

    @hook("token", token("settings.key", header="settings.token_header"), once=key_of)
    async def token(self, request: Request) -> None:
        """Take a request whose header holds the key."""
        await self._write(request)

    async def _write(self, request: Request) -> None:
        message = self.read(request)
        try:
            if message.task is None:
                await self._create(request, message)
            else:
                await self._comment(request, message.task, message)
        except (CallRefused, FieldError, ReplyError) as error:
            raise GiveUp(f"request {message.id}: {error}") from error

    async def _comment(self, request: Request, task: int, message: Message) -> None:
        """Comment once: a rerun looks for the comment that the run before it may have written."""

        async def highest() -> int:
            return max((one.id or 0 for one in (await self.pyrus.task(task)).comments), default=0)

        before = await request.once("before", highest)
        if request.rerun and await self._stands_there(task, before, message):
            self.log.info("request %s stands in task %d already", message.id, task)
            return
        await self.pyrus.comment(task, Reply(message.text or None, field_updates=dict(message.fields) or None))

    async def _stands_there(self, task: int, before: int, message: Message) -> bool:
        me = (await self.pyrus.profile()).person_id
        newer = [
            one for one in (await self.pyrus.task(task)).comments if (one.id or 0) > before and one.author.id == me
        ]
        return any((one.text or "").split() == message.text.split() for one in newer)

    async def _create(self, request: Request, message: Message) -> None:
        """Make a task, and never a second one: if nobody knows whether the first was made, a person looks."""
        mark = f"making/{hashlib.sha256(request.id.encode()).hexdigest()}"
        if request.rerun != "manual" and await self.store.get(mark):
            raise GiveUp(
                f"request {message.id}: a run before this one may have made its task in form {self.settings.form}; "
                "look there, and retry the delivery if it did not"
            )
        await self.store.set(mark, value=True, expires="30d")
        try:
            given = {name: value for name, value in message.fields.items() if value is not None}
            made = await self.pyrus.create(form_id=self.settings.form, fields=given)
        except CallUnclear:
            raise  # the mark stays: a task may be there
        except (CallError, FieldError, ReplyError):
            await self.store.delete(mark)  # surely not made
            raise
        self.log.info("request %s is task %d", message.id, made.id)
