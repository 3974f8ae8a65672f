"""Turn a verified body into an event's typed view, and tell which deliveries are the same event and whose it is."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from bothost.errors import BodyRefused
from bothost.pyrus.digest import digest
from bothost.pyrus.model.descriptors import LazyList, empty, slot
from bothost.pyrus.model.newest_comment import NONE, NewestComment, newest_of
from bothost.pyrus.model.parts import Approval, Person
from bothost.pyrus.model.task import Comment, Task
from bothost.pyrus.raw_json import ReadOnlyDict, as_sent, is_utf8, mended, utf8
from bothost.pyrus.scalars import BEYOND, whole
from bothost.pyrus.token_mask import MASK, without_token

__all__ = ["Comment", "Envelope", "Task", "decode", "event_key", "is_own", "waiting_step", "without_token"]

_LONGEST_KIND = 64
_NEEDLE = 48
_LONG = 256 << 10
_COMMENTS, _SENT_ID, _KNOWN_ID = (slot(Task, name) for name in ("comments", "sent_id", "known_id"))
_PERSONS_ID = slot(Person, "id")
_CHOICE = slot(Approval, "approval_choice")


class Envelope:
    """A delivery's body as a typed view, read-only. The repr shows ids only; `token` is for the Pyrus client alone."""

    __slots__ = (
        "_comments",
        "_newest",
        "_raw",
        "_text",
        "api_url",
        "body",
        "bot_settings",
        "comment_id",
        "files_url",
        "kind",
        "polled",
        "task",
        "task_id",
        "token",
        "user_id",
        "written_token",
    )

    def __init__(self, body: bytes, text: bytes, top: _Top) -> None:
        """`body` is the signed one, `text` the same after it was mended if needed, and `top` is decoded from `text`."""
        task = top.task if type(top.task) is Task else empty(Task)
        self.body = body
        sent = top.task_id
        self.task_id = sent if type(sent) is int and 0 < sent < BEYOND else _task_id(sent, _SENT_ID.__get__(task))
        texts = (top.event, top.access_token, top.bot_settings, top.api_url, top.files_url)
        kind, token, self.bot_settings, self.api_url, self.files_url = [
            value if type(value) is str else "" for value in texts
        ]
        self.kind = kind
        """Pyrus's `event`, "" if it is absent."""
        self.token = "" if token == MASK else token
        self.written_token = msgspec.json.encode(self.token)[1:-1]
        """As JSON writes it: to be found in bytes."""
        self.user_id = whole(top.user_id)
        """The bot's id, if the body holds it."""
        self.polled = top.polled is True
        """True if bothost itself fetched the task, and no webhook brought it."""
        self.task: Task = task
        self._text = text
        self._raw: ReadOnlyDict | None = None
        self._comments = comments = _comments(task)
        self._newest = comments.only
        self.comment_id = comments.comment_id
        """The highest comment id; None if there is none, or the last comment shows none."""
        _KNOWN_ID.__set__(task, (self.task_id,))

    @property
    def newest(self) -> Comment | None:
        """Return the comment with the highest id; the last if the ids do not tell; None if there is no comment."""
        newest = self._newest
        if newest is None and (place := self._comments.place) >= 0:
            newest = self._newest = self.task.comments[place]
        return newest

    @property
    def raw(self) -> ReadOnlyDict:
        """Return the whole body as sent, the token included: a read-only dict, decoded on first touch."""
        if self._raw is None:
            self._raw = as_sent(utf8(self._text))
        return self._raw

    def digest(self) -> str:
        """Return the SHA-256, in hex, of the parts that a retry of the same event repeats."""
        return digest(utf8(self._text))

    def login_of(self, user_id: int | None) -> str:
        """Return the `bot@…` e-mail that the body shows for this person, with which a bot can log in; "" if it shows none."""
        task = self.task
        persons = [entry.person for approvals in task.approvals for entry in approvals]
        persons += [subscriber.person for subscriber in task.subscribers] + [*task.participants, task.author]
        persons += [comment.author for comment in (self.newest,) if comment]
        persons += [person for person in (task.responsible,) if person]
        emails = (person.email or "" for person in persons if person.id == user_id is not None)
        return next((email for email in emails if email.startswith("bot@")), "")

    def __repr__(self) -> str:
        return f"<Envelope {self.kind or 'comment'!r} task {self.task_id} comment {self.comment_id}>"


class _Top(msgspec.Struct, gc=False):
    event: Any = None
    access_token: Any = None
    task_id: Any = None
    user_id: Any = None
    bot_settings: Any = None
    api_url: Any = None
    files_url: Any = None
    polled: Any = None
    task: Task | list | str | int | float | bool | None = None  # type: ignore[type-arg]


_top = msgspec.json.Decoder(_Top, float_hook=float).decode


def decode(body: bytes) -> Envelope:
    """Return the typed view of a verified body. Raises BodyRefused: no JSON object, no UTF-8 (an older comment may have wrong
    bytes: they are read as U+FFFD), nested too deep, or no task named. No value, key or type inside refuses an event.
    """
    text = body
    try:
        top = _top(text)
    except (UnicodeDecodeError, RecursionError) as error:
        raise _refused(error) from None
    except msgspec.DecodeError:
        text = mended(body)
        try:
            top = _top(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _refused(error) from None
    envelope = Envelope(body, text, top)
    if not text.isascii():
        _check_utf8(text, envelope._comments)
    return envelope


def _refused(error: Exception) -> BodyRefused:
    if isinstance(error, UnicodeDecodeError):
        return BodyRefused("the body is not UTF-8")
    if isinstance(error, RecursionError):
        return BodyRefused("the body is nested too deep")
    return BodyRefused(f"the body is not a JSON object: {error}")


def _task_id(sent: object, in_task: object) -> int:
    """`task_id`, else `task.id`; digits in a string only if neither is a number."""
    if type(sent) is int and (number := whole(sent)) is not None:
        return number
    for value in sorted((sent, in_task), key=lambda value: type(value) is not int):
        if (number := whole(value)) is not None:
            return number
    raise BodyRefused("the body names no task: neither task_id nor task.id is a whole number")


def _comments(task: Task) -> NewestComment:
    items = _COMMENTS.__get__(task)
    if type(items) is not list:
        return NONE
    found = newest_of(items)
    _COMMENTS.__set__(task, LazyList(Comment, found.sources) if found.sources else ())
    return found


def _check_utf8(text: bytes, comments: NewestComment) -> None:
    """Check all but the older comments, because on big bodies these would cost more than signature and decoding together."""
    if len(comments.sources) < 2:
        checked: tuple[bytes, ...] = (text,)
    else:
        first, last, newest = (bytes(comments.sources[place]) for place in (0, -1, comments.place))
        checked = (text[: _first(text, first)], text[_last(text, last) :], newest)
    if not all(map(is_utf8, checked)):
        raise BodyRefused("the body is not UTF-8")


def _first(text: bytes, piece: bytes) -> int:
    """Return where the piece begins first. It looks for the piece's head because `find` prepares a long needle slowly."""
    place = text.find(piece[:_NEEDLE])
    while not text.startswith(piece, place):
        place = text.find(piece[:_NEEDLE], place + 1)
    return place


def _last(text: bytes, piece: bytes) -> int:
    """Return where the piece begins last."""
    head = piece[:_NEEDLE]
    place = text.rfind(head)
    while not text.startswith(piece, place):
        place = text.rfind(head, 0, place + len(head) - 1)
    return place


def event_key(bot: str, envelope: Envelope) -> str:
    """Return the key that two deliveries of one event share: bot, task, kind, and the highest comment id or else a digest."""
    kind = envelope.kind or "comment"
    # a key stands in logs, and PostgreSQL's texts hold no NUL
    if kind != "comment" and (kind[_LONGEST_KIND:] or not kind.isprintable()):
        kind = hashlib.sha256(kind.encode()).hexdigest()
    last = envelope.comment_id if envelope.comment_id is not None else f"sha-{envelope.digest()}"
    return f"{bot}:{envelope.task_id}:{kind}:{last}"


def _names(body: bytes, user_id: int) -> bool:
    """Return whether anything in the body has this id. To walk through 100,000 approvals of others takes half a second."""
    return re.search(rb'"id"\s*:\s*"?0*%d(?!\d)' % user_id, body) is not None


def waiting_step(envelope: Envelope, user_id: int | None) -> int:
    """Return the step at which this person is asked to decide: the task's current one if it waits there, else its first; 0 where
    it is asked at none. `current_step` alone does not say: bodies were seen whose current step is another.
    """
    if user_id is None or (len(envelope.body) > _LONG and not _names(envelope.body, user_id)):
        return 0
    waiting = []
    for step, approvals in enumerate(envelope.task.approvals, 1):
        for entry in approvals:
            if _CHOICE.__get__(entry) == "waiting" and entry.person.id == user_id:
                waiting.append(step)
                break
    if not waiting:
        return 0
    current = envelope.task.current_step
    if current is not None and current in waiting:
        return current
    return waiting[0]


def is_own(envelope: Envelope, user_id: int | None) -> bool:
    """Return whether the newest comment is this person's. Only the id counts: type and e-mail were seen to mislead."""
    newest = envelope.newest
    return newest is not None and is_by(newest.author, user_id)


def is_by(author: Person, user_id: int | None) -> bool:
    """Return whether this person has this id."""
    return user_id is not None and whole(_PERSONS_ID.__get__(author)) == user_id
