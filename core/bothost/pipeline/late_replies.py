"""Post a late reply, one try at a time, and record what the entry becomes by it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from bothost.errors import JournalAway
from bothost.journal.entry import EntryFilter
from bothost.journal.history import HistoryStep, with_step
from bothost.pipeline.reply_poster import NO_LOGIN, PostResult
from bothost.pipeline.write_rules import Held
from bothost.pipeline.writing import write_surely

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.bots.registry import Bot
    from bothost.journal.entry import Entry
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.event_table import TrackedEvent
    from bothost.pipeline.reply_poster import ReplyPoster

log = logging.getLogger("bothost.late")

SHORTEST_S = 1.0
"""The least seconds between two tries, even if the rate limit says that the next call may go at once."""
FAULTS = 3
"""The number of our own faults in a row after which a reply has failed."""
_AGAIN_S = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
UNCLEAR_TRIES = len(_AGAIN_S) + int((24 * 3600 - sum(_AGAIN_S)) // _AGAIN_S[-1])
"""The number of tries of an unclear post: those of a day, counted because no clock is sure to go on that long."""


def again_in(tries: int) -> float:
    """Return the seconds until the next try after `tries` tries: 5, 10, 20 … 300."""
    return _AGAIN_S[min(tries, len(_AGAIN_S)) - 1]


def last_try(tries: int, next_at: float) -> float:
    """Return when the last try of an unclear post is due, after `tries` tries and with the next one at `next_at`."""
    return next_at + sum(again_in(number) for number in range(tries + 1, UNCLEAR_TRIES))


class LateReplies:
    """Posts replies and records the results. Posts of one task go one at a time, in the order of its events."""

    def __init__(self, context: PipelineContext, reply_poster: ReplyPoster) -> None:
        self._context = context
        self._poster = reply_poster
        self._faults: Counter[str] = Counter()

    async def post(self, tracked: TrackedEvent, bot: Bot) -> None:
        """Try once to post the reply of an entry that this owner holds (running, answer present), and record the outcome."""
        context = self._context
        tracked.phase = "posting"
        if await self._behind_another(tracked.entry) or not context.journal.alive():
            due = context.now() + 1.0
            await self._record(tracked, lambda held: _change(held, state="ready", due=due))
            return
        posted = await self._try(tracked, bot)
        context.responses.count.post(bot.config.name, "unclear" if posted.unclear else posted.kind)
        now = context.now()
        await self._record(tracked, lambda held: self._after(held, posted, now))

    async def _try(self, tracked: TrackedEvent, bot: Bot) -> PostResult:
        """Try once to post. A fault of ours concerns this reply alone: it is tried again, and has failed at the third one."""
        entry = tracked.entry
        try:
            posted = await self._poster.post(
                entry, bot.config, token=tracked.token, envelope=tracked.envelope, begin=self._begin(tracked)
            )
        except Exception as error:
            # around one step of the posting loop: an answer of Pyrus that nobody foresaw must not leave its row open
            log.exception("a fault of bothost in the post of %s", entry.id, extra={"bot": entry.bot, "event": entry.id})
            self._faults[entry.id] += 1
            if self._faults[entry.id] < FAULTS:
                return PostResult("again", error=f"bothost could not post it: {error!r}", unclear=True)
            posted = PostResult("failed", error=f"bothost could not post it: {error!r}")
        self._faults.pop(entry.id, None)
        return posted

    def _begin(self, tracked: TrackedEvent) -> Callable[[float], Awaitable[bool]]:
        async def begin(at: float) -> bool:
            """Write durably that a POST is about to go out; False if the entry is not ours any more. The first one counts,
            because by it, Pyrus's own time, the look knows which comments can be ours."""
            begun = Held(lambda held: _change(held, post_begun=held.post_begun or at))
            entry = (await write_surely(self._context, tracked, begun)).entry
            if entry is None or not self._context.journal.alive():
                return False
            tracked.entry = entry
            return True

        return begin

    async def _behind_another(self, entry: Entry) -> bool:
        """Return whether another reply of the task is under way at this moment, or an older one is not out yet."""
        want = EntryFilter(bot=entry.bot, task=entry.task, states=("ready", "running"), limit=1000)
        try:
            rows = await self._context.journal.list(want)
        except JournalAway:
            return False
        on_their_way = [row for row in rows if row.answer is not None and row.door == "api" and row.id != entry.id]
        return any(row.state == "running" or row.created < entry.created for row in on_their_way)

    def _after(self, entry: Entry, posted: PostResult, now: float) -> Entry:
        # if the rate limit did not let it go, it was no try, and `after_s` says when it may
        tries = entry.tries + (0 if posted.after_s else 1)
        told = f"comment {posted.comment_id}" if posted.comment_id else posted.error
        if not posted.after_s:
            entry = _change(entry, history=with_step(entry, HistoryStep("post", now, tries, outcome=told)))
        if posted.kind == "done":
            state, error = ("failed", entry.error) if entry.failed else ("answered", "")
            return _change(
                entry, state=state, posted=posted.comment_id, tries=tries, delivered=True, status=200, error=error
            )
        if posted.kind == "again" and not (posted.unclear and tries >= UNCLEAR_TRIES):
            due = now + (max(posted.after_s, SHORTEST_S) if posted.after_s else again_in(tries))
            # what the handler failed with stays: an error text on its way is shown as failed
            return _change(
                entry, state="ready", due=due, tries=tries, error=entry.error if entry.failed else posted.error
            )
        error = f"{posted.error}\n{entry.error}" if entry.failed else posted.error
        return _change(entry, state="failed", tries=tries, error=error)

    async def _record(self, tracked: TrackedEvent, after: Callable[[Entry], Entry]) -> None:
        now = self._context.now()

        def change(held: Entry) -> Entry:
            entry = _change(after(held), updated=now)
            if (tracked.cut == "cancel" or held.cancel) and entry.state == "ready":
                entry.state, entry.error = "cancelled", "cancelled by the operator"
            return entry

        entry = (await write_surely(self._context, tracked, Held(change))).entry
        if entry is None:
            tracked.rest()
            key, bot = tracked.entry.id, tracked.entry.bot
            log.warning(
                "the outcome of a post was refused: %s belongs to another owner now",
                key,
                extra={"bot": bot, "event": key},
            )
            return
        tracked.entry = entry
        tracked.rest()
        if entry.state == "failed" and not entry.failed:
            self._context.failed(entry)
        if entry.state != "ready" or entry.tries == 1:
            self._say(entry)

    def _say(self, entry: Entry) -> None:
        done = entry.posted or entry.state == "answered"
        extra = {"bot": entry.bot, "task": entry.task, "event": entry.id}
        extra["outcome"] = "posted" if done else entry.state
        if done and entry.posted:
            log.info("late reply posted as comment %d", entry.posted, extra=extra)
        elif done:
            log.info("late reply posted; Pyrus did not show the comment's id", extra=extra)
        elif entry.error.startswith(NO_LOGIN):
            text = "reply NOT posted: %s has no login; set it, then bothost deliveries retry %s"
            log.error(text, entry.bot, entry.id, extra=extra)
        elif entry.state == "ready":
            log.warning("late reply not posted yet, tried again: %s", entry.error.partition("\n")[0], extra=extra)
        else:
            why = entry.error.partition("\n")[0]
            log.error("reply NOT posted: %s; bothost deliveries retry %s tries again", why, entry.id, extra=extra)


def _change(entry: Entry, **changes: object) -> Entry:
    return msgspec.structs.replace(entry, **changes)
