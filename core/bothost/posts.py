"""The way out of a late reply: one try to post it, and what the entry becomes by it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from bothost.errors import StoreAway
from bothost.means import save_surely
from bothost.store import Filter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.bots import Bot
    from bothost.ledger import Live
    from bothost.means import Means
    from bothost.poster import Posted, Poster
    from bothost.store import Entry

log = logging.getLogger("bothost.late")

GIVE_UP_S = 24 * 3600.0
"""How long an unclear post is tried again."""
_AGAIN_S = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)


def again_in(tries: int) -> float:
    """Seconds until the next try after `tries` tries: 5, 10, 20 … 300."""
    return _AGAIN_S[min(tries, len(_AGAIN_S)) - 1]


class Posts:
    """Posts replies and records what came of it. One post of a task at a time, in the order of its events."""

    def __init__(self, means: Means, poster: Poster) -> None:
        self._means = means
        self._poster = poster

    async def post(self, live: Live, bot: Bot) -> None:
        """Try once to post the reply of an entry that this owner holds (running, answer present), and record the outcome."""
        means = self._means
        live.phase = "posting"
        if await self._behind_another(live.entry):
            await self._record(live, _change(live.entry, state="ready", due=means.now() + 1.0))
            return
        if not means.store.alive():
            await self._record(live, _change(live.entry, state="ready", due=means.now()))
            return
        posted = await self._poster.post(
            live.entry, bot.config, token=live.token, envelope=live.envelope, begin=self._begin(live)
        )
        means.answers.count.post(bot.config.name, "unclear" if posted.unclear else posted.kind)
        await self._record(live, self._after(live.entry, posted))

    def _begin(self, live: Live) -> Callable[[], Awaitable[bool]]:
        async def begin() -> bool:
            """Write durably that a POST is about to go out; False where the entry is not ours any more. The first one's time
            stays: from it the 24 hours count, and no comment older than it can be the reply."""
            begun = _change(live.entry, post_begun=live.entry.post_begun or self._means.now())
            if not await save_surely(self._means, begun) or not self._means.store.alive():
                return False
            live.entry = begun
            return True

        return begin

    async def _behind_another(self, entry: Entry) -> bool:
        want = Filter(bot=entry.bot, task=entry.task, states=("ready", "running"), limit=1000)
        try:
            rows = await self._means.store.list(want)
        except StoreAway:
            return False
        return any(row.answer is not None and row.door == "api" and row.created < entry.created for row in rows)

    def _after(self, entry: Entry, posted: Posted) -> Entry:
        now = self._means.now()
        tries = entry.tries + 1
        if posted.kind == "done":
            state = "failed" if entry.failed else "answered"
            return _change(entry, state=state, posted=posted.comment_id, tries=tries, delivered=True, status=200)
        begun = entry.post_begun or now
        if posted.kind == "again" and not (posted.unclear and now - begun > GIVE_UP_S):
            due = now + (posted.after_s or again_in(tries))
            return _change(entry, state="ready", due=due, tries=tries, error=posted.error)
        return _change(entry, state="failed", tries=tries, error=posted.error)

    async def _record(self, live: Live, entry: Entry) -> None:
        entry.updated = self._means.now()
        if await save_surely(self._means, entry):
            live.entry = entry
        else:
            log.warning(
                "the outcome of a post was refused: %s belongs to another owner now", entry.id, extra={"bot": entry.bot}
            )
        live.rest()
        if entry.state == "failed" and not entry.failed:
            self._means.failed(entry)
        if entry.state != "ready":
            level = logging.INFO if entry.state == "answered" else logging.ERROR
            extra = {
                "bot": entry.bot,
                "task": entry.task,
                "outcome": "posted" if entry.state == "answered" else "failed",
            }
            log.log(level, "late reply %s", entry.error or f"posted as comment {entry.posted}", extra=extra)


def _change(entry: Entry, **changes: object) -> Entry:
    return msgspec.structs.replace(entry, **changes)
