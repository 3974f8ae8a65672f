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
    """The id, such as `17632`; it grows with each comment."""
    text: str | None
    """The text without formatting, such as `"Please pay"`; None for a change without a text."""
    formatted_text: str | None
    """The text as HTML, such as `"<b>Please</b> pay"`."""
    create_date: datetime | None
    """When it was written: an aware datetime, such as `2026-03-02 06:00:00+00:00`."""
    author: Person
    """Who wrote it; never None: `comment.author.email`."""
    mentions: tuple[int, ...]
    """The ids of persons that the text mentions, such as `(1731,)`."""
    subject: str | None
    """The new subject of the task, such as `"Invoice 7"`."""
    reassigned_to: Person | None
    """The new responsible person: `comment.reassigned_to.name`."""
    field_updates: tuple[Field, ...]
    """The fields that it changed: `{one.name: one.value for one in comment.field_updates}`."""
    approval_choice: str | None
    """What its author decided: `"approved"`, `"rejected"`, `"revoked"` or `"acknowledged"`."""
    approval_step: int | None
    """The step at which its author decided, such as `2`."""
    reset_to_step: int | None
    """The step to which it set the task back, such as `1`."""
    changed_step: int | None
    """The step to which it moved the task, such as `3`."""
    approvals_added: tuple[tuple[Approval, ...], ...]
    """The approvers that it added, by step: `comment.approvals_added[0]` are those of the first."""
    approvals_removed: tuple[tuple[Approval, ...], ...]
    """The approvers that it took out, by step: `comment.approvals_removed[0]`."""
    approvals_rerequested: tuple[tuple[Approval, ...], ...]
    """The approvers that it asked again, by step: `comment.approvals_rerequested[0]`."""
    subscribers_added: tuple[Person, ...]
    """Who follows the task from then on: `[one.name for one in comment.subscribers_added]`."""
    subscribers_removed: tuple[Person, ...]
    """Who follows it no more: `[one.name for one in comment.subscribers_removed]`."""
    subscribers_rerequested: tuple[Person, ...]
    """Who was asked again to acknowledge it: `[one.name for one in comment.subscribers_rerequested]`."""
    participants_added: tuple[Person, ...]
    """Who takes part from then on: `[one.name for one in comment.participants_added]`."""
    participants_removed: tuple[Person, ...]
    """Who takes part no more: `[one.name for one in comment.participants_removed]`."""
    due_date: date | None
    """The new day by which the task is due, such as `date(2026, 3, 2)`."""
    due: datetime | None
    """The new moment by which the task is due, such as `2026-03-02 15:00:00+00:00`."""
    duration: Digits
    """The new length of the event in minutes, such as `30`."""
    cancel_due: bool | None
    """Whether it took the due date away: `if comment.cancel_due`."""
    scheduled_date: date | None
    """The day until which it put the task off, such as `date(2026, 3, 2)`."""
    scheduled_datetime_utc: datetime | None
    """The moment until which it put the task off, such as `2026-03-02 06:00:00+00:00`."""
    cancel_schedule: bool | None
    """Whether it ended the putting off: `if comment.cancel_schedule`."""
    attachments: tuple[File, ...]
    """The files that came with it: `[file.name for file in comment.attachments]`."""
    action: str | None
    """What it did to the task: `"finished"` or `"reopened"`."""
    added_list_ids: tuple[int, ...]
    """The ids of lists to which it added the task, such as `(1522,)`."""
    removed_list_ids: tuple[int, ...]
    """The ids of lists from which it took the task, such as `(1522,)`."""
    channel: Channel | None
    """The outside conversation that it belongs to; None for an internal note: `if comment.channel`."""
    comment_as_roles: tuple[Role, ...]
    """The roles in whose name it was written: `[role.name for role in comment.comment_as_roles]`."""
    reply_note_id: int | None
    """The id of the comment that it answers, such as `17631`."""
    edit_comment_id: int | None
    """The id of the comment that it replaces, such as `17631`."""
    delete_comment_id: int | None
    """The id of the comment that it deletes, such as `17631`."""
    removed_attachment_ids: tuple[int, ...]
    """The ids of files that it took away, such as `(61,)`."""
    spent_minutes: int | None
    """The minutes of work that it notes, such as `45`."""
    skip_satisfaction: bool | None
    """Whether the outside sender is not asked how content they are: `if comment.skip_satisfaction`."""
    sms_info: SmsInfo | None
    """What became of its SMS: `comment.sms_info.status`."""
    source: Hidden
    known_raw: Hidden

    @property
    def raw(self) -> ReadOnlyDict:
        """Return the comment as Pyrus sent it: a read-only dict.

        Example: `comment.raw["text"]`
        """
        if self.known_raw is None:
            fill(self, "known_raw", as_sent(self.source or b"{}"))
        return self.known_raw  # type: ignore[no-any-return]


@forgiving
class Task:
    """A task as it was when the event was sent."""

    sent_id: Annotated[int | None, "id"]
    """The id as sent, for bothost itself: read `id`."""
    text: str | None
    """The text without formatting, such as `"Pay the invoice"`."""
    formatted_text: str | None
    """The text as HTML, such as `"<b>Pay</b> the invoice"`."""
    subject: str | None
    """The subject of a task without a form, such as `"Invoice 7"`."""
    create_date: datetime | None
    """When the task was created: an aware datetime, such as `2026-03-02 06:00:00+00:00`."""
    last_modified_date: datetime | None
    """When the task was changed last, such as `task.last_modified_date > task.create_date`."""
    close_date: datetime | None
    """When the task was closed; None while it is open: `if task.close_date is None`."""
    is_closed: bool | None
    """Whether the task is closed: `if task.is_closed`."""
    author: Person
    """Who created the task; never None, so that `task.author.email` can always be written."""
    responsible: Person | None
    """Who is responsible for a task without a form: `task.responsible.name`."""
    participants: tuple[Person, ...]
    """The other participants of a task without a form: `[one.name for one in task.participants]`."""
    due_date: date | None
    """The day by which the task is due, such as `date(2026, 3, 2)`."""
    due: datetime | None
    """The moment by which the task is due, such as `2026-03-02 15:00:00+00:00`; Pyrus sends this or `due_date`."""
    duration: Digits
    """How many minutes the event of a task with `due` lasts, such as `30`."""
    scheduled_date: date | None
    """The day until which the task is put off, such as `date(2026, 3, 2)`."""
    scheduled_datetime_utc: datetime | None
    """The moment until which the task is put off, such as `2026-03-02 06:00:00+00:00`."""
    cancel_schedule: bool | None
    """Whether the putting off was ended: `if task.cancel_schedule`."""
    list_ids: tuple[int, ...]
    """The ids of the lists that hold the task, such as `(1522,)`."""
    parent_task_id: int | None
    """The id of the task above this one, such as `11613`."""
    linked_task_ids: tuple[int, ...]
    """The ids of linked tasks, such as `(11614, 11615)`."""
    last_note_id: int | None
    """The id of the newest comment, such as `17632`, which registers show instead of comments."""
    attachments: tuple[File, ...]
    """The files of the task itself: `[file.name for file in task.attachments]`; those of comments stand there."""
    subscribers: tuple[Subscriber, ...]
    """Who follows the task: `[one.person.email for one in task.subscribers]`."""
    form_id: int | None
    """The id of the form, such as `321`; None for a task without one."""
    top_fields: Annotated[tuple[Field, ...], "fields"]
    """The fields at the top as sent, for bothost itself: read `fields`."""
    approvals: tuple[tuple[Approval, ...], ...]
    """The approvers by step: `task.approvals[0]` are those of the first step."""
    current_step: int | None
    """The number of the step at which the task stands, such as `2`."""
    steps: tuple[Step, ...]
    """The steps of the route, with gaps in their numbers: `[one.name for one in task.steps]`."""
    comments: Sequence[Comment]
    """The comments that the event shows, oldest first; Pyrus can be told to send only the last: `task.comments[-1]`."""
    deleted: bool | None
    """Whether the task was deleted: `if task.deleted`."""
    close_comment: str | None
    """The text of the comment that closed the task, such as `"Done"`."""
    flat: bool | None
    """Whether fields come in one list although sections hold them: `task.fields` reads both."""
    known_id: Hidden
    known_index: Hidden

    @property
    def id(self) -> int:
        """Return the task's id; if the task shows none, the event's `task_id`.

        Example: `11613`
        """
        return self.sent_id if self.sent_id is not None else self.known_id or 0

    @property
    def fields(self) -> tuple[Field, ...]:
        """Return all fields, those in sections, choices and tables right after the field they lie in.

        Example: `[field.name for field in task.fields]`
        """
        return tuple(walk(self.top_fields, tables=True))

    def field(self, key: int | str) -> Field | None:
        """Return a field by id, code or name, wherever it lies; a table's cell only if one row has it. Raises AmbiguousField
        where the key names several.

        Example: `task.field("Amount")`
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
            raise FieldError(
                f"the field {label(found)} holds {value!r:.80}, which is not of type {kind.__name__ if isinstance(kind, type) else kind}"
            )
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
