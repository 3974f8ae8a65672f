"""Find events that no webhook brought: by polling, and by catching up at start and after an outage.

Pyrus is asked for the bot's inbox and for the registers of its forms. A changed task is fetched and put into
the journal as an acknowledged event, whose reply goes by the API. Its key is the one that the webhook would have, so that an
event which comes both ways runs once. Hosts share the rounds by a gate in the journal, and polling has a tenth of the account's rate limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bothost.background import BackgroundTasks, Throttle
from bothost.errors import CallError, JournalAway, RateLimited
from bothost.journal.data import ReadValue, WriteValue, space_of
from bothost.journal.entry import Entry, EntryFilter
from bothost.pipeline.context import limit_of
from bothost.pipeline.event_table import TrackedEvent
from bothost.pyrus.envelope import decode, event_key, is_own, waiting_step
from bothost.pyrus.rest import requests, results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bothost.bots.registry import Bot, Registry
    from bothost.config.values import BotConfig
    from bothost.journal.entry import Kind
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.filters import EventFilter
    from bothost.pyrus.envelope import Envelope
    from bothost.pyrus.model.task import Task
    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse

log = logging.getLogger("bothost.polling")

LOOK_S = 60.0
TURN_S = 15.0
"""The seconds for which other processes leave the catching up to one, before they look whether it has ended."""
OUTAGE_S = 120.0
"""A pause between two looks from which on deliveries may have been missed: the machine slept, or the process stood still."""
OVERLAP = timedelta(seconds=120)
"""Clocks differ, and registers know whole seconds only: each round looks back a little further than the last one."""
LONGEST_PAUSE_S = 300.0
SHARE = 0.1
WINDOW_S = 600.0
LIMIT = 5000
INBOX_TASKS = 1000
MOST_MARKS = 50_000
MOST_SHOWN = 20
SPACE = "polling"
"""The journal's space for notes of a bot's rounds: `BEGUN`, the time from which the present one looks; `DONE`, when all was found."""
BEGUN, DONE = "begun", "done"


class PollingSession(Protocol):
    """A bot's own session with Pyrus; `PyrusSession` is one."""

    @property
    def account(self) -> str:
        """Return the account whose rate limit counts."""

    async def send(self, request: ApiRequest) -> ApiResponse:
        """Send until Pyrus has answered 2xx. Raises CallError."""


@dataclass(slots=True)
class PollingState:
    """The state of one bot's rounds in this process."""

    wanted: float
    """The time when catching up was last wanted, in the journal's time."""
    until: float
    """The time up to which deliveries came in order. A later delivery says nothing about missed ones."""
    caught_up: bool = False
    due: float = 0.0
    pause_s: float = 0.0
    since: datetime | None = None
    """The time by Pyrus's clock from which the next round looks."""
    marks: OrderedDict[int, str] = field(default_factory=OrderedDict)
    """The newest state of each task that was looked at."""


@dataclass(frozen=True, slots=True)
class PollingRound:
    """One look for a bot's events: back to `since` by Pyrus's clock, as the account of `session`."""

    bot: Bot
    state: PollingState
    session: PollingSession
    since: datetime
    kind: Kind
    """What the events that are found are in lists: `missed` by catching up."""


class Polling:
    """Polls for the bots in service that want it, and catches up for those that may have missed something."""

    def __init__(
        self,
        context: PipelineContext,
        registry: Callable[[], Registry],
        event_filter: EventFilter,
        session_of: Callable[[Bot], PollingSession],
    ) -> None:
        self._context = context
        self._registry = registry
        self._event_filter = event_filter
        self._session_of = session_of
        self._bots: dict[str, PollingState] = {}
        self._told: Throttle[str] = Throttle(context.clock)
        self._looked = context.clock.now()
        self._well = context.now()
        """The time when a look last reached the journal."""
        self._journal_was_away = False
        self._tasks = BackgroundTasks()
        self._busy = asyncio.Lock()
        self._changed = asyncio.Event()
        """A bot has come into service, whose first round is due."""

    async def start(self) -> None:
        """Begin the rounds."""
        self._tasks.spawn(self._context.loops.keep("polling", self._go_on))

    async def stop(self) -> None:
        """Begin no more rounds."""
        await self._tasks.stop()

    def wake(self) -> None:
        """Look again at once, because a bot has come into service."""
        self._changed.set()

    async def _go_on(self) -> None:
        while True:
            self._changed.clear()
            pause_s = await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause_s, 0.01)):
                    await self._changed.wait()

    async def look(self) -> float:
        """Do the rounds that are due now; return the seconds until the next one."""
        async with self._busy:
            await self._notice_outage()
            bots = [bot for bot in self._registry().by_name.values() if wants(bot)]
            for name in self._bots.keys() - {bot.name for bot in bots}:
                del self._bots[name]
            await asyncio.gather(*(self._round(bot) for bot in bots))
            now = self._context.clock.monotonic()
            states = [(bot.config, self._bots[bot.name]) for bot in bots]
            due = [state.due - now for config, state in states if config.receive != "webhook" or misses(config, state)]
            return min([LOOK_S, *due])

    async def _notice_outage(self) -> None:
        """Have every bot catch up if the process stood still, or the journal was away and deliveries were refused."""
        now = self._context.clock.now()
        was_away = self._journal_was_away
        self._journal_was_away = await self._journal_is_away()
        if now - self._looked > timedelta(seconds=OUTAGE_S) or (was_away and not self._journal_was_away):
            for state in self._bots.values():
                state.caught_up, state.wanted, state.until = False, self._context.now(), self._well
        self._looked = now
        if not self._journal_was_away:
            self._well = self._context.now()

    async def _journal_is_away(self) -> bool:
        if not any(bot.config.catch_up != "no" for bot in self._registry().by_name.values()):
            return False
        try:
            await self._context.journal.controls()
        except JournalAway:
            return True
        return False

    async def _round(self, bot: Bot) -> None:
        state = self._bots.get(bot.name)
        if state is None:
            state = self._bots[bot.name] = PollingState(self._context.now(), self._context.now())
        now = self._context.clock.monotonic()
        polls = bot.config.receive != "webhook" and state.due <= now
        missed = misses(bot.config, state)
        if not (polls or missed):
            return
        state.due = now + max(bot.config.poll_every_s, state.pause_s)
        try:
            if missed:
                await self._catch_up(bot, state)
            elif await self._is_ours(bot):
                await self._find(bot, state, "hook")
            state.pause_s = 0.0
        except JournalAway as error:
            self._say(bot, f"waits for the journal: {error}")
        except CallError as error:
            wait_s = error.retry_after_s if isinstance(error, RateLimited) else bot.config.poll_every_s
            state.pause_s = min(max(state.pause_s * 2, wait_s), LONGEST_PAUSE_S)
            state.due = now + state.pause_s
            self._say(bot, f"cannot look for events, again in {state.pause_s:.0f} s: {error}")

    def _say(self, bot: Bot, text: str) -> None:
        if self._told.passes(bot.name) is not None:
            log.warning("%s", text, extra={"bot": bot.name})

    async def _is_ours(self, bot: Bot) -> bool:
        """Take this round; False if another process has it."""
        period_s = bot.config.poll_every_s
        return await self._context.journal.gate(f"poll {bot.name}", 1, 1 / period_s, 1.0) <= 0

    async def _catch_up(self, bot: Bot, state: PollingState) -> None:
        """Look back to the last event that the journal knows, and list what was found as missed."""
        wait_s = await self._context.journal.gate(f"catch up {bot.name}", 1, 1 / TURN_S, 1.0)
        if wait_s > 0:
            # another process does it, or one has died at it: the next look tells
            state.caught_up = await self._noted(bot, DONE) > state.wanted
            state.due = self._context.clock.monotonic() + wait_s
            return
        found = await self._find(bot, state, "missed")
        await self._note(bot, WriteValue(DONE, repr(self._context.now()).encode()))
        state.caught_up = True
        if found:
            shown = ", ".join(map(str, found[:MOST_SHOWN])) + (" …" if len(found) > MOST_SHOWN else "")
            log.warning("missed %d events, found by catching up: tasks %s", len(found), shown, extra={"bot": bot.name})

    async def _last_known(self, bot: Bot, state: PollingState, now: datetime) -> datetime | None:
        """Return since when events may be unknown to the journal, at most `catch_up_for` ago; None if it knows none.

        That is the beginning of a round that nobody ended, else the time of the last event. `now` is Pyrus's time.
        """
        last = await self._noted(bot, BEGUN)
        if not last:
            listed = EntryFilter(bot=bot.name, kind="hook", until=state.until, limit=1)
            created = next((entry.created for entry in await self._context.journal.list(listed)), 0.0)
            if not created:
                return None
            last = now.timestamp() - (self._context.now() - created)
        earliest = now - timedelta(seconds=bot.config.catch_up_for_s)
        return max(earliest, datetime.fromtimestamp(last, UTC) - OVERLAP)

    async def _noted(self, bot: Bot, key: str) -> float:
        found: bytes | None = await self._context.journal.ask(space_of(bot.name, SPACE), ReadValue(key))
        return float(found or 0)

    async def _note(self, bot: Bot, value: WriteValue) -> None:
        await self._context.journal.ask(space_of(bot.name, SPACE), value)

    async def _find(self, bot: Bot, state: PollingState, kind: Kind) -> list[int]:
        """Take every task that changed and shows something new; return their ids.

        Pyrus dates the changes, so its clock counts. Ours may be minutes ahead, and then no change would look new.
        """
        session = self._session_of(bot)
        answer = await self._send(session, requests.listed("inbox", item_count=INBOX_TASKS))
        now = requests.http_date(answer.headers.get("date")) or self._context.clock.now()
        since = state.since if kind == "hook" else None
        if since is None:
            back_s = self._context.now() - state.until if kind == "hook" else bot.config.catch_up_for_s
            since = await self._last_known(bot, state, now) or now - timedelta(seconds=back_s) - OVERLAP
        changed: dict[int, str] = {}
        inbox = results.inbox(answer.body)
        listed = [*inbox.tasks, *(task for group in inbox.groups for task in group.tasks)]
        changed |= marks_of(task for task in listed if (task.last_modified_date or since) >= since)
        for form_id in sorted(bot.config.forms) if kind == "hook" or bot.config.catch_up == "forms" else ():
            request = requests.register(form_id, {"modified_after": since, "include_archived": True})
            changed |= marks_of(results.tasks((await self._send(session, request)).body))
        new = {task_id: mark for task_id, mark in changed.items() if not mark or state.marks.get(task_id) != mark}
        found = await self._take_all(PollingRound(bot, state, session, since, kind), new) if new else []
        state.since = now - OVERLAP
        return found

    async def _take_all(self, looking: PollingRound, new: dict[int, str]) -> list[int]:
        """Take tasks, noting the beginning of the round, so that after a death in its middle the next one begins there again."""
        bot, state = looking.bot, looking.state
        begun = repr(looking.since.timestamp()).encode()
        await self._note(bot, WriteValue(BEGUN, begun, bot.config.catch_up_for_s, checked=True))
        found = []
        for task_id, mark in new.items():
            if await self._take(looking, task_id):
                found.append(task_id)
            state.marks[task_id] = mark
            state.marks.move_to_end(task_id)
            while len(state.marks) > MOST_MARKS:
                state.marks.popitem(last=False)
        await self._note(bot, WriteValue(BEGUN, None, checked=True, expected=begun))
        return found

    async def _take(self, looking: PollingRound, task_id: int) -> bool:
        """Fetch a task, and put what it shows into the journal as an event; False if it shows nothing new."""
        bot, session = looking.bot, looking.session
        if bot.user_id is None:
            profile = results.profile((await self._send(session, requests.profile())).body)
            bot.user_id = profile.person_id
        answer = await self._send(session, requests.task(task_id))
        envelope = decode(polled_body(answer.body, task_id, bot.user_id))
        key = event_key(bot.name, envelope)
        context = self._context
        if context.event_table.get(key) is not None or await context.journal.latest(key) is not None:
            return False
        step = waiting_step(envelope, bot.user_id)
        return not await self._is_skipped(bot, envelope, step) and await self._put(looking, key, envelope, step)

    async def _is_skipped(self, bot: Bot, envelope: Envelope, step: int) -> bool:
        """Return True for the bot's own comment, and for what its section leaves out."""
        if is_own(envelope, bot.user_id) and (not step or bot.config.own_comments != "skip"):
            return True
        word = self._event_filter.skips(bot, envelope, step)
        if word == "ask":
            last = await self._context.journal.last_step(bot.name, envelope.task_id)
            self._event_filter.remember(bot, envelope.task_id, last or 0)
            word = self._event_filter.skips(bot, envelope, step)
        return bool(word)

    async def _put(self, looking: PollingRound, key: str, envelope: Envelope, step: int) -> bool:
        """Put an event into the journal, where it waits for its turn as an acknowledged one does; False if another
        process was quicker. Raises JournalAway."""
        context, now, bot = self._context, self._context.now(), looking.bot
        entry = Entry(
            id=key, bot=bot.name, kind=looking.kind, door="api", task=envelope.task_id, comment=envelope.comment_id or 0, step=step, due=now,
            turn=str(envelope.task_id) if bot.config.order == "task" else None, status=200, created=now, updated=now,
            # with an owner the row of another process that was quicker refuses this one
            owner=context.journal.owner, limit_s=limit_of(bot.config) if context.journal.claims_first else 0.0,
        )  # fmt: skip
        if context.event_table.get(key) is not None:
            return False
        # known before it is written, so that a webhook that comes meanwhile is a repeat
        tracked = TrackedEvent(key, entry)
        tracked.touched = context.clock.monotonic()
        context.event_table.add(tracked)
        if not context.journal.claims_first:
            bot.queue.stand_ahead(entry.turn, entry.id)
        try:
            put = await context.journal.save(entry, envelope.body if bot.config.keep_s > 0 else b"")
        except JournalAway:
            self._forget(bot, tracked)
            raise
        if put:
            self._event_filter.remember(bot, envelope.task_id, step)
            if looking.kind == "missed":
                context.responses.count.missed(bot.name)
        else:
            self._forget(bot, tracked)
        return put

    def _forget(self, bot: Bot, tracked: TrackedEvent) -> None:
        self._context.event_table.drop(tracked)
        bot.queue.went(tracked.entry.turn, tracked.entry.id)

    async def _send(self, session: PollingSession, request: ApiRequest) -> ApiResponse:
        """Send within the tenth of the account's rate limit that polling has."""
        cap = LIMIT * SHARE
        while True:
            wait_s = await self._context.journal.gate(f"{session.account} polls", 1, cap / WINDOW_S, cap)
            if wait_s <= 0:
                return await session.send(request)
            await asyncio.sleep(wait_s)


def wants(bot: Bot) -> bool:
    """Return whether a bot is in service and not content with webhooks."""
    return bot.state.serves and (bot.config.receive != "webhook" or bot.config.catch_up != "no")


def misses(config: BotConfig, state: PollingState) -> bool:
    """Return whether a bot has yet to catch up."""
    return config.catch_up != "no" and not state.caught_up


def marks_of(tasks: Iterable[Task]) -> dict[int, str]:
    """Return each task's newest state; "" if nothing tells it."""
    return {task.id: mark_of(task) for task in tasks if task.id}


def mark_of(task: Task) -> str:
    """Return what changes with each comment on a task."""
    if task.last_note_id is not None:
        return str(task.last_note_id)
    return task.last_modified_date.isoformat() if task.last_modified_date is not None else ""


class _Answer(msgspec.Struct):
    task: msgspec.Raw = msgspec.Raw(b"{}")


def polled_body(answer: bytes, task_id: int, user_id: int | None) -> bytes:
    """Return the body that a webhook would have brought, from the answer to a GET of the task."""
    body: dict[str, Any] = {"event": "comment", "polled": True, "task_id": task_id}
    if user_id is not None:
        body["user_id"] = user_id
    body["task"] = msgspec.json.decode(answer, type=_Answer).task
    return msgspec.json.encode(body)
