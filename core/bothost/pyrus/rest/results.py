"""Type the results of API calls, as forgiving as the parts of an event. A missing or wrong value reads as None."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec

from bothost.errors import CallUnclear, FieldError
from bothost.pyrus.model.descriptors import read
from bothost.pyrus.model.lenient import Digits, Json, forgiving
from bothost.pyrus.model.lookup import check_key
from bothost.pyrus.model.parts import File, Person, Role
from bothost.pyrus.model.task import Task
from bothost.pyrus.model.values import CatalogRow, no_column
from bothost.pyrus.raw_json import read_only, untyped
from bothost.pyrus.rest.forms import Form

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent to Pyrus and belongs to nothing yet: put it into a reply's `attachments` or a file field."""

    guid: str
    md5_hash: str = ""
    name: str = ""


@forgiving
class CatalogHeader:
    """A catalog's column."""

    name: str | None
    type: str | None


@forgiving
class CatalogItem:
    """A catalog's row."""

    item_id: Digits
    values: tuple[str, ...]
    deleted: bool | None


@forgiving
class Catalog:
    """A catalog with its items."""

    catalog_id: Digits
    name: str | None
    version: Digits
    catalog_headers: tuple[CatalogHeader, ...]
    items: tuple[CatalogItem, ...]

    @property
    def headers(self) -> tuple[str, ...]:
        """Return the columns' names."""
        return tuple(header.name or "" for header in self.catalog_headers)

    @property
    def rows(self) -> tuple[Mapping[str, str], ...]:
        """Return each item as a mapping by header."""
        headers = self.headers
        return tuple(CatalogRow(zip(headers, item.values, strict=False)) for item in self.items)

    def find(self, header: str, value: str) -> CatalogItem | None:
        """Return the first item with this value in this column, or None. Raises FieldError if there is no such column."""
        check_key(header, "a catalog's column is asked for by its name")
        headers = self.headers
        if header not in headers:
            raise no_column(header, headers)
        if not isinstance(value, str):
            raise FieldError(f"a catalog's values are texts: look for {str(value)!r:.80} and not for {value!r:.80}")
        place = headers.index(header)
        return next((item for item in self.items if item.values[place : place + 1] == (value,)), None)


@forgiving
class Organization:
    """A company that the bot can see."""

    organization_id: Digits
    name: str | None
    persons: tuple[Person, ...]
    roles: tuple[Role, ...]


@forgiving
class Contacts:
    """All organizations that the bot can see."""

    organizations: tuple[Organization, ...]

    @property
    def persons(self) -> tuple[Person, ...]:
        """Return the persons of all of them."""
        return tuple(person for organization in self.organizations for person in organization.persons)

    @property
    def roles(self) -> tuple[Role, ...]:
        """Return the roles of all of them."""
        return tuple(role for organization in self.organizations for role in organization.roles)


@forgiving
class CatalogChange:
    """The answer to a change of a catalog."""

    apply: bool | None
    added: tuple[CatalogItem, ...]
    updated: tuple[CatalogItem, ...]
    deleted: tuple[CatalogItem, ...]
    catalog_headers: tuple[CatalogHeader, ...]


@forgiving
class TaskList:
    """A list of tasks, with the lists that lie in it."""

    id: Digits
    name: str | None
    color: str | None
    children: Json


@forgiving
class InboxGroup:
    """A group of an inbox, whose tasks Pyrus shows by their heads only."""

    id: Digits
    name: str | None
    has_more: bool | None
    tasks: tuple[Task, ...]


@forgiving
class Inbox:
    """The tasks in the inbox, by their heads only: id, author, responsible, text, dates."""

    tasks: tuple[Task, ...]
    has_more: bool | None
    groups: Annotated[tuple[InboxGroup, ...], "task_groups"]


@forgiving
class AnnouncementComment:
    """A comment on an announcement."""

    id: Digits
    text: str | None
    formatted_text: str | None
    create_date: datetime | None
    author: Person
    attachments: tuple[File, ...]


@forgiving
class Announcement:
    """An announcement with its comments."""

    id: Digits
    text: str | None
    formatted_text: str | None
    create_date: datetime | None
    author: Person
    attachments: tuple[File, ...]
    comments: tuple[AnnouncementComment, ...]


@forgiving
class Profile:
    """The bot's own profile."""

    person_id: Digits
    first_name: str | None
    last_name: str | None
    email: str | None
    locale: str | None
    timezone_offset: int | None
    organization_id: Digits
    organization: Json


@forgiving
class _Members:
    members: tuple[Person, ...]


@forgiving
class _Roles:
    roles: tuple[Role, ...]


@forgiving
class _Lists:
    lists: tuple[TaskList, ...]


@forgiving
class _Announced:
    announcement: Announcement | None


@forgiving
class _Uploaded:
    guid: str | None
    md5_hash: str | None


class _TaskAnswer(msgspec.Struct):
    task: msgspec.Raw = msgspec.Raw(b"null")


class _TasksAnswer(msgspec.Struct):
    tasks: list[msgspec.Raw] | None = None


def task(body: bytes) -> Task:
    """Return the task of an answer `{task}`. All of these raise CallUnclear for an answer that is something else."""
    return _part(Task, bytes(_answer(_TaskAnswer, body).task), "a task")


def tasks(body: bytes) -> tuple[Task, ...]:
    """Return the tasks of a register's answer; an empty register may have no list at all."""
    found = (read(Task, bytes(raw)) for raw in _answer(_TasksAnswer, body).tasks or ())
    return tuple(one for one in found if one is not None)


def form(body: bytes) -> Form:
    """Return a form's definition."""
    return _part(Form, body, "a form")


def catalog(body: bytes) -> Catalog:
    """Return a catalog."""
    return _part(Catalog, body, "a catalog")


def contacts(body: bytes) -> Contacts:
    """Return the contacts."""
    return _part(Contacts, body, "contacts")


def profile(body: bytes) -> Profile:
    """Return the profile."""
    return _part(Profile, body, "a profile")


def catalog_change(body: bytes) -> CatalogChange:
    """Return the answer to a change of a catalog."""
    return _part(CatalogChange, body, "a catalog's change")


def members(body: bytes) -> tuple[Person, ...]:
    """Return the members of the organisation."""
    return _part(_Members, body, "members").members


def roles(body: bytes) -> tuple[Role, ...]:
    """Return the roles of the organisation."""
    return _part(_Roles, body, "roles").roles


def lists(body: bytes) -> tuple[TaskList, ...]:
    """Return the lists that the bot can see."""
    return _part(_Lists, body, "lists").lists


def inbox(body: bytes) -> Inbox:
    """Return the inbox."""
    return _part(Inbox, body, "an inbox")


def announcement(body: bytes) -> Announcement:
    """Return an announcement."""
    found = _part(_Announced, body, "an announcement").announcement
    if found is None:
        raise CallUnclear("Pyrus's answer does not hold an announcement", status=200)
    return found


@lru_cache(maxsize=64)
def known_form(body: bytes) -> Form:
    """Return a form's definition, decoded once for many runs that read the same bytes."""
    return form(body)


@lru_cache(maxsize=16)
def known_catalog(body: bytes) -> Catalog:
    """Return a catalog, decoded once for many runs that read the same bytes."""
    return catalog(body)


def uploaded(body: bytes, name: str) -> Upload:
    """Return the answer to an upload."""
    found = _part(_Uploaded, body, "an uploaded file")
    if not found.guid:
        raise CallUnclear("Pyrus took the file but named no guid for it", status=200)
    return Upload(found.guid, found.md5_hash or "", name)


def json(body: bytes) -> Any:
    """Return any JSON, read-only; an empty answer is None."""
    return read_only(untyped(body)) if body.strip() else None


def _answer(kind: type[P], body: bytes) -> P:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CallUnclear(f"Pyrus's answer cannot be read: {error}", status=200) from None


def _part(kind: type[P], body: bytes, what: str) -> P:
    found = read(kind, body)
    if found is None:
        raise CallUnclear(f"Pyrus's answer does not hold {what}", status=200)
    return found
