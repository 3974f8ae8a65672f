"""A task and its comments, with every key Pyrus is known to send in them."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Annotated, Any, TypeVar, overload

from bothost.errors import AmbiguousField, FieldError
from bothost.pyrus.model.descriptors import fill
from bothost.pyrus.model.fields import Field, FieldIndex, walk
from bothost.pyrus.model.lenient import Digits, Hidden, forgiving
from bothost.pyrus.model.lookup import label
from bothost.pyrus.model.parts import Approval, Channel, File, Person, Role, SmsInfo, Step, Subscriber
from bothost.pyrus.model.values import as_type
from bothost.pyrus.raw_json import ReadOnlyDict, as_sent

T = TypeVar("T")


@forgiving
class Comment:
    """One change of a task: every change is a comment, with or without a text. `raw` is the whole comment as sent."""

    id: int | None
    text: str | None
    formatted_text: str | None
    create_date: datetime | None
    author: Person
    mentions: tuple[int, ...]
    subject: str | None
    reassigned_to: Person | None
    field_updates: tuple[Field, ...]
    approval_choice: str | None
    approval_step: int | None
    reset_to_step: int | None
    changed_step: int | None
    approvals_added: tuple[tuple[Approval, ...], ...]
    approvals_removed: tuple[tuple[Approval, ...], ...]
    approvals_rerequested: tuple[tuple[Approval, ...], ...]
    subscribers_added: tuple[Person, ...]
    subscribers_removed: tuple[Person, ...]
    subscribers_rerequested: tuple[Person, ...]
    participants_added: tuple[Person, ...]
    participants_removed: tuple[Person, ...]
    due_date: date | None
    due: datetime | None
    duration: Digits
    cancel_due: bool | None
    scheduled_date: date | None
    scheduled_datetime_utc: datetime | None
    cancel_schedule: bool | None
    attachments: tuple[File, ...]
    action: str | None
    added_list_ids: tuple[int, ...]
    removed_list_ids: tuple[int, ...]
    channel: Channel | None
    comment_as_roles: tuple[Role, ...]
    reply_note_id: int | None
    edit_comment_id: int | None
    delete_comment_id: int | None
    removed_attachment_ids: tuple[int, ...]
    spent_minutes: int | None
    skip_satisfaction: bool | None
    sms_info: SmsInfo | None
    source: Hidden
    known_raw: Hidden

    @property
    def raw(self) -> ReadOnlyDict:
        """Return the comment as Pyrus sent it: a read-only dict."""
        if self.known_raw is None:
            fill(self, "known_raw", as_sent(self.source or b"{}"))
        return self.known_raw  # type: ignore[no-any-return]


@forgiving
class Task:
    """A task as it was when the event was sent."""

    sent_id: Annotated[int | None, "id"]
    text: str | None
    formatted_text: str | None
    subject: str | None
    create_date: datetime | None
    last_modified_date: datetime | None
    close_date: datetime | None
    is_closed: bool | None
    author: Person
    responsible: Person | None
    participants: tuple[Person, ...]
    due_date: date | None
    due: datetime | None
    duration: Digits
    scheduled_date: date | None
    scheduled_datetime_utc: datetime | None
    cancel_schedule: bool | None
    list_ids: tuple[int, ...]
    parent_task_id: int | None
    linked_task_ids: tuple[int, ...]
    last_note_id: int | None
    attachments: tuple[File, ...]
    subscribers: tuple[Subscriber, ...]
    form_id: int | None
    top_fields: Annotated[tuple[Field, ...], "fields"]
    approvals: tuple[tuple[Approval, ...], ...]
    current_step: int | None
    steps: tuple[Step, ...]
    comments: Sequence[Comment]
    deleted: bool | None
    close_comment: str | None
    flat: bool | None
    known_id: Hidden
    known_index: Hidden

    @property
    def id(self) -> int:
        """Return the task's id; if the task shows none, the event's `task_id`."""
        return self.sent_id if self.sent_id is not None else self.known_id or 0

    @property
    def fields(self) -> tuple[Field, ...]:
        """Return all fields, those in sections, choices and tables right after the field they lie in."""
        return tuple(walk(self.top_fields, tables=True))

    def field(self, key: int | str) -> Field | None:
        """Return a field by id, code or name, wherever it lies; a table's cell only if one row has it. Raises AmbiguousField
        where the key names several.
        """
        return self._index.find(key)

    @overload
    def value(self, key: int | str) -> Any: ...
    @overload
    def value(self, key: int | str, kind: type[T]) -> T | None: ...
    def value(self, key: int | str, kind: type[Any] = object) -> Any:
        """Return a field's value, or None; with a type, the value as that type, or None."""
        found = self._index.find(key)
        if found is None:
            return None
        return found.value if kind is object else as_type(found.value, kind)

    @overload
    def need(self, key: int | str) -> Any: ...
    @overload
    def need(self, key: int | str, kind: type[T]) -> T: ...
    def need(self, key: int | str, kind: type[Any] = object) -> Any:
        """Return a field's value that must be there, such as `task.need("Amount", Decimal)`.

        Raises MissingField if there is no such field, FieldError if it is empty or holds another type.
        """
        found = self._index.need(key)
        value = found.value
        if value is None or value in ("", ()):
            raise FieldError(f"the field {label(found)} is empty")
        needed = value if kind is object else as_type(value, kind)
        if needed is None:
            raise FieldError(f"the field {label(found)} holds {value!r:.80}, which is not of type {kind.__name__}")
        return needed

    def __getitem__(self, key: int | str) -> Any:
        """Return a field's value. Raises MissingField, which lists near names."""
        return self._index.need(key).value

    def __contains__(self, key: int | str) -> bool:
        try:
            return self._index.find(key) is not None
        except AmbiguousField:
            return True

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("iterate task.fields")

    @property
    def _index(self) -> FieldIndex:
        if self.known_index is None:
            fill(self, "known_index", FieldIndex(self.top_fields))
        return self.known_index  # type: ignore[no-any-return]
