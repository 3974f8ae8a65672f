"""Encode a handler's answer as Pyrus's comment request (protocol §4)."""

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import compress, repeat
from operator import is_not
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import msgspec

from bothost.errors import ReplyError
from bothost.pyrus.model.descriptors import SlotTexts
from bothost.pyrus.model.parts import Person
from bothost.pyrus.reply import field_updates as reply_fields
from bothost.pyrus.reply import values
from bothost.text import nearest

if TYPE_CHECKING:
    from bothost.pyrus.model.task import Task
    from bothost.pyrus.reply.values import Convert
    from bothost.pyrus.rest.definitions import Definitions

NOTHING = b"{}"
"""The body that writes no comment."""

LARGEST_REPLY = 16 << 20
"""Bytes of a reply. Pyrus's own limit is lower; a larger one is a slip that would fill the journal and the memory."""
Choice = Literal["approved", "rejected", "revoked", "acknowledged"]
PersonLike: TypeAlias = int | str | Person | Mapping[str, Any]
"""A person by id, by e-mail, a Person of the task, or Pyrus's `{id}` or `{email}`."""
Answer: TypeAlias = "Reply | Mapping[str, Any] | str | None"


class _ReplyFields(msgspec.Struct, frozen=True):
    text: str | None = None
    """The text, the only key that may stand first: `Reply("Paid.")`."""


class Reply(_ReplyFields, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True, dict=True):
    """A comment, with every key of Pyrus's request; None leaves a key out. Wrong values raise ReplyError when it is made."""

    formatted_text: str | None = None
    """The text as HTML, such as `"<b>Paid</b>"`; not together with `text`."""
    subject: str | None = None
    """A new subject of the task, such as `"Invoice 7"`."""
    approval_choice: Choice | None = None
    """What the bot decides: `"approved"`, `"rejected"`, `"revoked"` or `"acknowledged"`."""
    approval_steps: Sequence[int] | None = None
    """The steps at which it decides, such as `[2]`; without it, at those where it is asked."""
    action: Literal["finished", "reopened"] | None = None
    """`"finished"` closes the task, `"reopened"` opens it."""
    reassign_to: PersonLike | None = None
    """The new responsible person, such as `"chief@example.com"`."""
    attachments: Sequence[Any] | None = None
    """Uploads, files of the task, or Pyrus's own `{guid}`, `{attachment_id}`, `{url, name}`: `[await event.pyrus.upload("a.pdf")]`."""
    field_updates: (
        Mapping[str, Any] | Mapping[int, Any] | Mapping[str | int, Any] | Sequence[Mapping[str, Any]] | None
    ) = None
    """Values by name, code or id of the field, None to clear it, such as `{"Amount": Decimal("5.50")}`; or a list as Pyrus has it."""
    approvals_added: Mapping[int, Sequence[PersonLike]] | Sequence[Any] | None = None
    """Persons by step, such as `{2: ["chief@example.com"]}`; or lists by position as Pyrus has them."""
    approvals_removed: Mapping[int, Sequence[PersonLike]] | Sequence[Any] | None = None
    """Approvers to take out, by step, such as `{2: [1731]}`."""
    approvals_rerequested: Mapping[int, Sequence[PersonLike]] | Sequence[Any] | None = None
    """Approvers to ask again, by step, such as `{2: [1731]}`."""
    subscribers_added: Sequence[PersonLike] | None = None
    """Who is to follow the task, such as `["chief@example.com"]`."""
    subscribers_removed: Sequence[PersonLike] | None = None
    """Who is to follow it no more, such as `[1731]`."""
    subscribers_rerequested: Sequence[PersonLike] | None = None
    """Who is asked again to acknowledge it, such as `[1731]`."""
    participants_added: Sequence[PersonLike] | None = None
    """Who is to take part in a task without a form, such as `[1731]`."""
    participants_removed: Sequence[PersonLike] | None = None
    """Who is to take part no more, such as `[1731]`."""
    due_date: date | str | None = None
    """The day by which the task is due, such as `date(2026, 3, 2)`."""
    due: datetime | str | None = None
    """The moment by which the task is due: an aware datetime, such as `self.now() + timedelta(hours=3)`."""
    duration: int | timedelta | None = None
    """Minutes or a timedelta, such as `30`; goes with `due`."""
    cancel_due: bool | None = None
    """`True` takes the due date away."""
    scheduled_date: date | str | None = None
    """The day until which the task is put off, such as `date(2026, 3, 2)`."""
    scheduled_datetime_utc: datetime | str | None = None
    """The moment until which it is put off, such as `self.now() + timedelta(days=1)`."""
    cancel_schedule: bool | None = None
    """`True` ends the putting off."""
    added_list_ids: Sequence[int] | None = None
    """Lists to add the task to, such as `[1522]`."""
    removed_list_ids: Sequence[int] | None = None
    """Lists to take it from, such as `[1522]`."""
    channel: Mapping[str, Any] | None = None
    """Sends the comment to the outside, such as `{"type": "email", "to": {"email": "you@example.com"}}`."""
    spent_minutes: int | timedelta | None = None
    """Minutes of work to note, or a timedelta, such as `45`."""
    skip_satisfaction: bool | None = None
    """`True` does not ask the outside sender how content they are."""
    skip_notification: bool | None = None
    """`True` notifies nobody."""
    skip_auto_reopen: bool | None = None
    """`True` leaves a closed task closed."""
    edit_comment_id: int | None = None
    """The id of an own comment that this one replaces, such as `17632`."""
    comment_as_roles: Sequence[Any] | None = None
    """The roles in whose name it is written, such as `[{"id": 7}]`."""
    reply_note_id: int | None = None
    """The id of the comment that it answers, such as `17632`."""

    def __post_init__(self) -> None:
        if _is_short(self):
            if self.text is not None and not self.text.isascii():
                values.text(self.text, "text")
            self.__dict__[_SHORT] = True
        else:
            _together(_converted(_given(self), None, resolving=False))

    @classmethod
    def approve(cls, text: str | None = None, **keys: Any) -> Self:
        """Make a comment that approves the step."""
        return cls(text, approval_choice="approved", **keys)

    @classmethod
    def reject(cls, text: str | None = None, **keys: Any) -> Self:
        """Make a comment that rejects the step."""
        return cls(text, approval_choice="rejected", **keys)


for _declared in (_ReplyFields, Reply):
    setattr(_declared, "__slots__", SlotTexts(_declared))  # noqa: B010 - the type of a class does not have it

_SHORT = "is_short"
"""Noted beside the keys of a reply when it is made, because it is frozen: then it is not looked through when it is encoded."""
_CHOICES = ("approved", "rejected", "revoked", "acknowledged")
_people = values.listed(values.person, "persons")
_numbers = values.listed(values.whole, "ids")

_KEYS: dict[str, "Convert"] = {
    "text": values.text,
    "formatted_text": values.text,
    "subject": values.text,
    "approval_choice": values.one_of(*_CHOICES),
    "approval_steps": values.listed(values.whole, "steps"),
    "action": values.one_of("finished", "reopened"),
    "reassign_to": values.person,
    "attachments": values.listed(values.attachment, "Uploads, files or dicts"),
    "approvals_added": values.by_step,
    "approvals_removed": values.by_step,
    "approvals_rerequested": values.by_step,
    "subscribers_added": _people,
    "subscribers_removed": _people,
    "subscribers_rerequested": _people,
    "participants_added": _people,
    "participants_removed": _people,
    "due_date": values.day,
    "due": values.instant,
    "duration": values.minutes,
    "cancel_due": values.truth,
    "scheduled_date": values.day,
    "scheduled_datetime_utc": values.instant,
    "cancel_schedule": values.truth,
    "added_list_ids": _numbers,
    "removed_list_ids": _numbers,
    "channel": values.some_object,
    "spent_minutes": values.minutes,
    "skip_satisfaction": values.truth,
    "skip_notification": values.truth,
    "skip_auto_reopen": values.truth,
    "edit_comment_id": values.whole,
    "comment_as_roles": values.listed(values.plain, "roles"),
    "reply_note_id": values.whole,
}
OFFICIAL = frozenset(Reply.__struct_fields__)
"""Every key of the comment request."""

_TEXTS = ("text", "formatted_text", "subject")
_WEIGHTLESS = frozenset(
    {"skip_satisfaction", "skip_notification", "skip_auto_reopen", "channel", "approval_steps", "comment_as_roles"}
)
"""Keys that change nothing by themselves: a reply of these only would write an empty comment."""
_EXCLUSIVE = (
    ("text", "formatted_text"),
    ("due_date", "due"),
    ("scheduled_date", "scheduled_datetime_utc"),
)
"""Pyrus refuses these together (protocol §4.2)."""
_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(answer: Any, task: "Task | None" = None, known: "Definitions | None" = None) -> bytes:
    """Return a handler's answer as the body of the response; `b"{}"` if it would only write an empty comment.

    `field_updates` by name are looked for in `task`, then in `known`. Raises ReplyError, which names the key and what would be
    right, and DefinitionNeeded for a name that only a definition that `known` lacks can tell.
    """
    if answer is None:
        return NOTHING
    if type(answer) is Reply and _SHORT in answer.__dict__:
        body = _encoded_short(answer)
    else:
        request = _converted(_given(answer), task, resolving=True, known=known)
        _together(request)
        for key in ("text", "formatted_text"):
            if key in request and _is_blank(request[key]):
                del request[key]
        body = _encoder.encode(request) if any(_says(key, value) for key, value in request.items()) else NOTHING
    if body[LARGEST_REPLY:]:
        raise ReplyError(f"it has {len(body)} bytes, and no comment is so long: cut it, the most is {LARGEST_REPLY}")
    return body


def _is_short(reply: Reply) -> bool:
    """Return whether it has a text and a choice at most, as most replies have: then no other key needs a look."""
    text, choice = reply.text, reply.approval_choice
    if not ((text is None or type(text) is str) and (choice is None or (type(choice) is str and choice in _CHOICES))):
        return False
    # by identity because a value of the plugin's own may fail when it is compared
    given = sum(map(is_not, msgspec.structs.astuple(reply), repeat(None)))
    return given == (text is not None) + (choice is not None)


def _encoded_short(reply: Reply) -> bytes:
    request = {}
    if reply.text is not None and reply.text.strip():
        request["text"] = reply.text
    if reply.approval_choice is not None:
        request["approval_choice"] = str(reply.approval_choice)
    return _encoder.encode(request) if request else NOTHING


def encode_comment(answer: Any, task: "Task | None" = None, known: "Definitions | None" = None) -> bytes:
    """Encode a comment that is written on purpose: one that says nothing is a ReplyError."""
    body = encode(answer, task, known)
    if body == NOTHING:
        raise ReplyError("the comment says nothing and changes nothing; give it a text or another key")
    return body


def encode_json(value: Any) -> bytes:
    """Return any request's body, with the same conversions of values. Raises ReplyError."""
    return _encoder.encode(values.plain(value, "body"))


def needs_task(answer: Any) -> bool:
    """Return whether it names fields, so that their task has to be known to write it."""
    updates = answer.field_updates if isinstance(answer, Reply) else None
    if isinstance(answer, Mapping):
        updates = answer.get("field_updates")
    return isinstance(updates, Mapping) and bool(updates)


def warnings(answer: Any) -> tuple[str, ...]:
    """Return a line for each key that is none of Pyrus's, and for each file that Pyrus would ignore. Both are sent as they are."""
    if type(answer) is Reply and answer.attachments is None:
        return ()
    if isinstance(answer, Reply):
        return () if answer.attachments is None else tuple(_passed_over(answer.attachments))
    if not isinstance(answer, Mapping):
        return ()
    unknown = (
        f"the reply's key {key!r} is none of Pyrus's{nearest(key, OFFICIAL)}; it is sent as it is"
        for key in answer
        if isinstance(key, str) and key not in OFFICIAL
    )
    return (*unknown, *_passed_over(answer.get("attachments")))


def _passed_over(attachments: Any) -> Iterator[str]:
    """Yield a warning for each file given as `{id}`, because Pyrus ignores it without an error (protocol §7.45)."""
    for number, one in enumerate(attachments if isinstance(attachments, list | tuple) else ()):
        if isinstance(one, Mapping) and "id" in one and not {"guid", "attachment_id", "url"}.intersection(one):
            yield (
                f"the reply's attachments[{number}] has an id only, which Pyrus passes over: "
                "give an Upload, a File of the task, {'guid': …} or {'attachment_id': …}"
            )


def _given(answer: Any) -> Mapping[str, Any]:
    if isinstance(answer, Reply):
        given = msgspec.structs.astuple(answer)
        return dict(compress(zip(answer.__struct_fields__, given, strict=True), map(is_not, given, repeat(None))))
    if isinstance(answer, str):
        return {"text": answer}
    if not isinstance(answer, Mapping):
        raise ReplyError(f"a handler returns a Reply, a dict, a text or None, not {_named(answer)}")
    for key in answer:
        if not isinstance(key, str):
            raise ReplyError(f"the reply's key {key!r} is not a text; keys are those of Pyrus's comment request")
        values.text(key, "the reply's key")
    return {key: value for key, value in answer.items() if value is not None or key not in OFFICIAL}


def _named(answer: Any) -> str:
    if isinstance(answer, bool):
        return "True or False"
    if isinstance(answer, type):
        return f"the class {answer.__name__} itself"
    forgotten = ": write await before the call that gave it" if isinstance(answer, Awaitable) else ""
    return f"a value of type {type(answer).__name__}{forgotten}"


def _converted(
    given: Mapping[str, Any], task: "Task | None", *, resolving: bool, known: "Definitions | None" = None
) -> dict[str, Any]:
    request: dict[str, Any] = {}
    for key, value in given.items():
        if key != "field_updates":
            request[key] = _KEYS.get(key, values.plain)(value, key)
        elif resolving:
            request[key] = reply_fields.resolve(value, task, key, known)
        else:
            reply_fields.check(value, key)
    return request


def _together(request: Mapping[str, Any]) -> None:
    for one, other in _EXCLUSIVE if len(request) > 1 else ():
        if one in request and other in request and not (_is_blank(request[one]) or _is_blank(request[other])):
            raise ReplyError(f"{one} and {other} do not go together: Pyrus refuses the comment; give one of them")


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _says(key: str, value: Any) -> bool:
    """Return whether this key makes the comment more than an empty one."""
    if key in _WEIGHTLESS:
        return False
    if key in _TEXTS:
        return not _is_blank(value)
    if key in ("cancel_due", "cancel_schedule"):
        return value is not False
    return not _is_hollow(value)


def _is_hollow(value: Any) -> bool:
    return isinstance(value, list) and all(_is_hollow(item) for item in value)
