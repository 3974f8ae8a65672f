"""Post late replies, one try at a time, each after a look at the task, so that no task gets a reply twice.

Posts of one task go one at a time and in order. `journal_poller.py` sees to that, and to the time of the next try.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bothost.errors import CallError, CallRefused, CallUnclear, JournalAway, NoLogin, RateLimited, Unauthorized
from bothost.journal.entry import EntryFilter
from bothost.pyrus.envelope import waiting_step
from bothost.pyrus.raw_json import untyped
from bothost.pyrus.reply.comment_match import comment_written, is_ours
from bothost.pyrus.rest import requests
from bothost.pyrus.scalars import instant
from bothost.pyrus_client.client import CallingBot
from bothost.pyrus_client.session import PyrusSession, SessionTerms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bothost.config import BotConfig
    from bothost.journal import Journal
    from bothost.journal.entry import Entry
    from bothost.pyrus.envelope import Envelope
    from bothost.pyrus.rest.requests import ApiResponse
    from bothost.pyrus_client.client import PyrusClient

MOVED = "the step has moved on"
NO_LOGIN = "no login"
"""The beginning of the error of a reply that had neither a token nor a login."""
SLACK_S = 5.0
"""The most seconds between the clocks of Pyrus's machines."""
RESPONSE_S = 60.0
"""The most seconds that Pyrus takes to write the comment of a response."""
OTHERS = 200
MOST_DENIED = 30
"""The number of tries, about two hours, after which a reply whose token is refused each time has failed."""


@dataclass(frozen=True, slots=True)
class PostResult:
    """The outcome of one try. done: `comment_id` carries the reply (0: Pyrus did not show which) · again: after `after_s`
    seconds (0: the poster has no wish) · failed: for good, the reply is kept."""

    kind: Literal["done", "again", "failed"]
    comment_id: int = 0
    after_s: float = 0.0
    error: str = ""
    unclear: bool = False
    """Pyrus may have applied it; only a look can tell."""
    moved: bool = False


@dataclass(frozen=True, slots=True)
class PendingReply:
    """One reply on its way: whose it is, what it says, what is known of the event it answers."""

    entry: Entry
    caller: CallingBot
    envelope: Envelope | None
    reply: dict[str, Any]
    user_id: int | None
    step: int
    """The step at which the bot was asked to decide in the event; 0 for none."""

    @property
    def choice(self) -> bool:
        """Return whether the reply decides something."""
        return bool(self.reply.get("approval_choice"))


class ReplyPoster:
    """Posts replies through the API. `user_of` tells a bot's person id if the event does not."""

    def __init__(
        self, client: PyrusClient, journal: Journal, user_of: Callable[[str], int | None] | None = None
    ) -> None:
        self._client = client
        self._journal = journal
        self._user_of = user_of or (lambda _bot: None)

    async def post(
        self,
        entry: Entry,
        config: BotConfig,
        *,
        token: str,
        envelope: Envelope | None,
        begin: Callable[[float], Awaitable[bool]],
    ) -> PostResult:
        """Try once. `token` is the event's newest, or empty. `begin` writes durably that a POST goes out and is asked right
        before it; if it says False, the entry is another owner's and nothing is sent. Never raises for what Pyrus does."""
        pending = self._errand(entry, config, envelope)
        line = PyrusSession(self._client, pending.caller, terms(entry, envelope, token, pending.user_id))
        begun = False

        async def begin_here(at: float) -> bool:
            nonlocal begun
            begun = await begin(at)
            return begun

        try:
            return await self._try(pending, line, begin_here)
        except Unauthorized as error:
            # refused with a fresh token too: not applied, and worth another try unless the login is wrong;
            # a learnt login that is wrong is learnt anew
            final = error.code in requests.FINAL_401 and bool(config.login)
            return _denied(entry, error, final=final)
        except NoLogin as error:
            if entry.bot in self._client.refused:
                return _denied(entry, error, final=False)
            return after(error, begun=begun)
        except (CallError, JournalAway) as error:
            return after(error, begun=begun)

    def _errand(self, entry: Entry, config: BotConfig, envelope: Envelope | None) -> PendingReply:
        user_id = envelope.user_id if envelope is not None else None
        if user_id is None:
            user_id = self._user_of(entry.bot)
        step = entry.step
        if not step and envelope is not None and user_id is not None:
            step = waiting_step(envelope, user_id)
        caller = CallingBot(entry.bot, config.api_url, config.login, config.secrets)
        reply = msgspec.json.decode(entry.answer or b"{}")
        return PendingReply(entry, caller, envelope, reply, user_id, step)

    async def _try(
        self, pending: PendingReply, line: PyrusSession, begin: Callable[[float], Awaitable[bool]]
    ) -> PostResult:
        looked = await line.send(requests.task(pending.entry.task))
        task = task_in(looked)
        me = pending.user_id if pending.user_id is not None else await self._who(pending, task, line)
        there = pyrus_time(looked) or self._journal.now()
        ours = await self._ours(pending, task, me, there)
        if ours:
            return PostResult("done", ours)
        if pending.choice and moved_on(pending, task, me):
            return PostResult("failed", error=moved_because(pending, task), moved=True)
        body = msgspec.json.encode(as_posted(pending, task))
        if not await begin(there):
            return PostResult("again", error="the entry belongs to another owner now")
        answer = await line.send(requests.comment(pending.entry.task, body))
        return PostResult("done", comment_written(body, answer.body, me))

    async def _who(self, pending: PendingReply, task: Mapping[str, Any], line: PyrusSession) -> int | None:
        """Return the bot's person id if no event told it: by its login among the task's persons, else from Pyrus."""
        login = self._client.login_of(pending.caller)
        for person in persons_of(task):
            if login and person.get("email") == login and isinstance(person.get("id"), int):
                return int(person["id"])
        try:
            profile = untyped((await line.send(requests.profile())).body)
        except CallRefused:
            return None
        found = profile.get("person_id") if isinstance(profile, dict) else None
        return found if isinstance(found, int) else None

    async def _ours(self, pending: PendingReply, task: Mapping[str, Any], me: int | None, there: float) -> int:
        """Return the id of the comment that already carries this reply, or 0.

        `there` is Pyrus's time. When a POST began is known by it; how long ago the event came is a duration of ours.
        """
        skew = there - self._journal.now()
        thread = [c for c in dicts(task.get("comments")) if by(c, me) and is_ours(pending.reply, c)]
        since = (pending.entry.post_begun or pending.entry.created + skew) - SLACK_S
        if not any(newer(comment, pending.entry.comment, since) for comment in thread):
            return 0
        others = await self._journal.list(EntryFilter(bot=pending.entry.bot, task=pending.entry.task, limit=OTHERS))
        others = [other for other in others if other.id != pending.entry.id]
        taken = {other.posted for other in others} | await self._written(pending.entry)
        thread = [comment for comment in thread if comment["id"] not in taken]
        unclaimed(thread, [other for other in others if same_by_response(pending.reply, other)], skew)
        return max((comment["id"] for comment in thread if newer(comment, pending.entry.comment, since)), default=0)

    async def _written(self, entry: Entry) -> set[int]:
        """Return the ids of comments that handlers wrote on the task, from this process and the journal."""
        kept = await self._journal.written(entry.bot, entry.task)
        return kept | self._client.comments.of(entry.bot, entry.task)


def _denied(entry: Entry, error: CallError, *, final: bool) -> PostResult:
    """Return the outcome of a try whose token or login was refused: nothing was applied."""
    return PostResult("failed" if final or entry.tries >= MOST_DENIED else "again", error=str(error))


def unclaimed(thread: list[dict[str, Any]], answered: Sequence[Entry], skew: float) -> None:
    """Take out of a thread what replies wrote that went out as responses: nobody was told the ids of those comments, but
    each is newer than its event and was written soon after the response."""
    thread.sort(key=lambda comment: comment["id"])
    for other in sorted(answered, key=lambda other: (other.comment, other.created)):
        until = other.updated + skew + RESPONSE_S
        mine = next((c for c in thread if c["id"] > other.comment and (made(c) or until) <= until), None)
        if mine is not None:
            thread.remove(mine)


def terms(entry: Entry, envelope: Envelope | None, token: str, user_id: int | None) -> SessionTerms:
    """Return the terms by which the calls of a late reply are made."""
    api_url = envelope.api_url if envelope is not None else ""
    return SessionTerms(token, api_url, user_id, trace=entry.trace, late=True)


def after(error: CallError | JournalAway, *, begun: bool) -> PostResult:
    """Return the outcome of a failed try; `begun`: the POST itself was under way."""
    text = str(error)
    match error:
        case NoLogin():
            return PostResult("failed", error=f"{NO_LOGIN}: {text}")
        case CallRefused():
            return PostResult("failed", error=text)
        case RateLimited():
            return PostResult("again", after_s=error.retry_after_s, error=text)
        case CallUnclear():
            return PostResult("again", error=text, unclear=begun)
        case _:
            return PostResult("again", error=text)


def as_posted(pending: PendingReply, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the comment to send. A choice is bound to the step that asked for it; a task closed meanwhile stays closed."""
    body = dict(pending.reply)
    if pending.choice and pending.step and not body.get("approval_steps"):
        body["approval_steps"] = [pending.step]
    if not pending.choice and is_closed(task) and not was_closed(pending.envelope):
        body.setdefault("skip_auto_reopen", True)
    return body


def moved_on(pending: PendingReply, task: Mapping[str, Any], me: int | None) -> bool:
    """Return whether a choice would come too late: the task is closed, or the bot is not asked any more where it was asked.

    A bot that was asked nowhere may give a choice, which Pyrus ignores, unless it is asked somewhere by now: that would
    be another question.
    """
    if is_closed(task):
        return True
    waits_at = waiting_steps(task, me)
    steps = pending.reply.get("approval_steps")
    if isinstance(steps, list) and steps:
        asked = asked_at(pending)
        return any(step in asked and step not in waits_at for step in steps)
    return pending.step not in waits_at if pending.step else bool(waits_at)


def moved_because(pending: PendingReply, task: Mapping[str, Any]) -> str:
    """Say at which step the bot was asked, where the task stands now, and what is kept."""
    steps = {pending.step} if pending.step else asked_at(pending)
    asked = ", ".join(map(str, sorted(steps))) or "none"
    now = "closed" if is_closed(task) else f"at step {task.get('current_step') or 'none'}"
    return f"{MOVED}: the bot was asked at step {asked}, the task is {now}; the reply ({pending.reply['approval_choice']}) is kept"


def asked_at(pending: PendingReply) -> frozenset[int]:
    """Return the steps at which the bot was asked in the event."""
    found = {pending.step} if pending.step else set()
    if pending.envelope is not None:
        found |= waiting_steps(pending.envelope.raw.get("task") or {}, pending.user_id)
    return frozenset(found)


def waiting_steps(task: Mapping[str, Any], me: int | None) -> frozenset[int]:
    """Return the steps at which the person is asked to decide. The place in `approvals` is the step."""
    approvals = task.get("approvals")
    rows = enumerate(approvals if isinstance(approvals, list) else (), start=1)
    return frozenset(step for step, row in rows if me is not None and any(awaits(one, me) for one in dicts(row)))


def awaits(approval: Mapping[str, Any], me: int) -> bool:
    """Return whether this entry of a step is the person's and open."""
    person = approval.get("person")
    return isinstance(person, dict) and person.get("id") == me and approval.get("approval_choice") == "waiting"


def is_closed(task: Mapping[str, Any]) -> bool:
    """Return whether the task is closed; some versions send only one of the two keys."""
    return task.get("is_closed") is True or bool(task.get("close_date"))


def was_closed(envelope: Envelope | None) -> bool:
    """Return whether the task was closed in the event; unknown counts as open, so that a late reply reopens nothing."""
    return envelope is not None and is_closed(envelope.raw.get("task") or {})


def newer(comment: Mapping[str, Any], newest: int, since: float) -> bool:
    """Return whether a comment came after the event, by id and, as far as it shows it, by time."""
    return bool(comment["id"] > newest) and (made(comment) or since) >= since


def made(comment: Mapping[str, Any]) -> float | None:
    """Return the time of a comment in epoch seconds of Pyrus's clock, or None."""
    found = instant(comment.get("create_date"))
    return None if found is None else found.timestamp()


def by(comment: Mapping[str, Any], me: int | None) -> bool:
    """Return whether the bot wrote it; if its id is unknown, any bot may have."""
    author = comment.get("author")
    if not isinstance(author, dict) or type(comment.get("id")) is not int:
        return False
    return author.get("id") == me if me is not None else author.get("type") == "bot"


def same_by_response(reply: Mapping[str, Any], other: Entry) -> bool:
    """Return whether another event got a reply like this one as its response."""
    if other.door != "response" or not other.delivered or not other.answer:
        return False
    said = untyped(other.answer)
    return isinstance(said, dict) and is_ours(reply, said)


def persons_of(task: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """List those who wrote comments in a task or are asked in it."""
    rows = task.get("approvals")
    asked = [one.get("person") for row in (rows if isinstance(rows, list) else ()) for one in dicts(row)]
    return dicts([*asked, *(comment.get("author") for comment in dicts(task.get("comments")))])


def task_in(response: ApiResponse) -> Mapping[str, Any]:
    """Return the task of an answer. Raises CallUnclear if there is none."""
    answer = untyped(response.body)
    task = answer.get("task") if isinstance(answer, dict) else None
    if not isinstance(task, dict):
        raise CallUnclear("the answer shows no task", status=response.status)
    return task


def pyrus_time(response: ApiResponse) -> float:
    """Return Pyrus's time in epoch seconds by the answer's Date, 0.0 if it has none."""
    try:
        date = parsedate_to_datetime(response.headers["date"])
    except (KeyError, TypeError, ValueError):
        return 0.0
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def dicts(value: Any) -> Sequence[dict[str, Any]]:
    """Return the objects of a list; empty for any other value."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
