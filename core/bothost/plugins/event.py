"""Define the event that a handler gets, and the context of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, overload

import msgspec

from bothost.errors import NoLogin, StoreError
from bothost.pyrus.envelope import waiting_step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from bothost.clock import Clock
    from bothost.plugins.store import Once, Store
    from bothost.pyrus.envelope import Envelope
    from bothost.pyrus.model.task import Comment, Task
    from bothost.pyrus.raw_json import ReadOnlyDict
    from bothost.pyrus_client.api import Pyrus

T = TypeVar("T")


class RunContext(msgspec.Struct, frozen=True):
    """One run of an event: which bot, which attempt, until when; `user_id` the bot's id if body or journal tell it."""

    id: str
    bot: str
    attempt: int
    rerun: str
    deadline: datetime
    clock: Clock
    user_id: int | None
    pyrus: Pyrus | None
    rehearsal: bool = False
    trace: str = ""
    ends_at: float = 0.0
    """`deadline` by the monotonic clock, which no step of the wall clock moves; 0.0: taken from `deadline` at once."""
    store: Store | None = None
    """The store in which `once` keeps results."""

    def __post_init__(self) -> None:
        if not self.ends_at:
            left_s = (self.deadline - self.clock.now()).total_seconds()
            msgspec.structs.force_setattr(self, "ends_at", self.clock.monotonic() + left_s)


def once_of(context: RunContext, name: str, function: Callable[[], T | Awaitable[T]]) -> Once[T]:
    """`once` of a run. Raises StoreError if the run has no journal."""
    if context.store is None:
        raise StoreError(f"[bot:{context.bot}] has no journal in this run, in which `once` could keep {name!r}")
    return context.store.once(context.id, name, function)


class Event:
    """A verified delivery, as a plugin sees it. Read-only; the access token is in none of its attributes but `raw` and
    `body`, where Pyrus put it, and in no repr."""

    __slots__ = ("_context", "_envelope")

    def __init__(self, envelope: Envelope, context: RunContext) -> None:
        self._envelope = envelope
        self._context = context

    @property
    def id(self) -> str:
        """Return the event key: the same in every attempt and rerun, so others can take it as an idempotency key.

        Example: `"refunds:11613:comment:17632"`
        """
        return self._context.id

    @property
    def bot(self) -> str:
        """Return the bot's name, as in its section of bots.ini.

        Example: `"refunds"`
        """
        return self._context.bot

    @property
    def kind(self) -> str:
        """Return Pyrus's `event`: `comment`, `close` or another one, because their number is open; "" if it is absent.

        Example: `if event.kind == "close"`
        """
        return self._envelope.kind

    @property
    def task(self) -> Task:
        """Return the task as it was when the event was sent; an empty one, which is false, if Pyrus sent none.

        Example: `event.task.text`
        """
        return self._envelope.task

    @property
    def task_id(self) -> int:
        """Return the task's id.

        Example: `11613`
        """
        return self._envelope.task_id

    @property
    def comment(self) -> Comment | None:
        """Return the newest comment, or None.

        Example: `event.comment.text if event.comment else ""`
        """
        return self._envelope.newest

    @property
    def user_id(self) -> int | None:
        """Return the bot's own person id, or None if neither this body nor an earlier one told it.

        Example: `1731`
        """
        return self._context.user_id

    @property
    def step(self) -> int:
        """Return the step at which this bot is asked to decide; 0 if it is asked at none.

        Example: `if event.step == 2`
        """
        return waiting_step(self._envelope, self._context.user_id)

    @property
    def waiting(self) -> bool:
        """Return whether this bot is asked to decide now.

        Example: `if not event.waiting: return None`
        """
        return self.step > 0

    @property
    def attempt(self) -> int:
        """Return the number of this delivery of the event, from 1.

        Example: `if event.attempt > 1`
        """
        return self._context.attempt

    @property
    def rerun(self) -> str:
        """Return the reason why the handler runs again (`error`, `crash`, `drain`, `maybe`, `manual`), "" in its first run.

        Example: `if event.rerun == "crash"`
        """
        return self._context.rerun

    @property
    def rehearsal(self) -> bool:
        """Return True in a rehearsal: there is no network, and the reply is only compared.

        Example: `if not event.rehearsal`
        """
        return self._context.rehearsal

    @property
    def polled(self) -> bool:
        """Return whether bothost found this event by polling or catching up: no webhook brought it.

        Example: `if event.polled`
        """
        return self._envelope.polled

    @property
    def bot_settings(self) -> str:
        """Return the text from Settings in the bot's profile at Pyrus, often JSON; "" if it is empty.

        Example: `json.loads(event.bot_settings or "{}")`
        """
        return self._envelope.bot_settings

    @property
    def raw(self) -> ReadOnlyDict:
        """Return the body as sent: a read-only dict.

        Example: `event.raw["task"]`
        """
        return self._envelope.raw

    @property
    def body(self) -> bytes:
        """Return the verified bytes; after a restart of the host without the access token.

        Example: `hashlib.sha256(event.body)`
        """
        return self._envelope.body

    @property
    def deadline(self) -> datetime:
        """Return the moment at which the bot's `timeout` ends this run: an aware datetime.

        Example: `event.deadline.isoformat()`
        """
        return self._context.deadline

    @property
    def time_left(self) -> float:
        """Return seconds to the deadline, never below 0.

        Example: `if event.time_left < 10`
        """
        return max(0.0, self._context.ends_at - self._context.clock.monotonic())

    @property
    def pyrus(self) -> Pyrus:
        """Return the Pyrus API, as this bot. Raises NoLogin in a run that has none.

        Example: `await event.pyrus.task(5)`
        """
        if self._context.pyrus is None:
            raise NoLogin(f"[bot:{self.bot}] has no Pyrus API in this run")
        return self._context.pyrus

    @overload
    def once(self, name: str, function: Callable[[], Awaitable[T]]) -> Once[T]: ...
    @overload
    def once(self, name: str, function: Callable[[], T]) -> Once[T]: ...
    def once(self, name: str, function: Callable[[], T | Awaitable[T]]) -> Once[T]:
        """Call `function` and keep its result: a rerun of this event gets the kept one and calls nothing.

        `await` it, or `.wait()` for it in a plain handler. Results are what the store keeps. A call that was cut off in the
        middle is made again: hand `id` to the other side, so that it can tell.

        Example: `await event.once("charge", lambda: bank.charge(7))`
        """
        return once_of(self._context, name, function)

    def __repr__(self) -> str:
        return f"<Event {self.id} attempt {self.attempt}>"
