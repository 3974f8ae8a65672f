"""How an event becomes this process's: in memory where memory is the truth, else in the journal before its run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from bothost.errors import StoreAway
from bothost.journal.transitions import CANCELLED
from bothost.pipeline.context import limit_of, save_surely, stored_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.bots.queue import Place
    from bothost.bots.registry import Bot
    from bothost.journal.entry import Entry
    from bothost.pipeline.context import Means
    from bothost.pipeline.event_table import Live

BUSY_S = 0.25
"""How long an event whose turn another process has waits before it asks again."""


class Claims:
    """Claims events that have turn and permit. `known` is told of one that turned out to be in the journal already."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.known: Callable[[Live], None] = lambda _live: None

    async def holds(self, live: Live, bot: Bot, place: Place) -> bool:
        """Claim it, or see that the claim of a stored event still holds."""
        if live.phase == "running":
            return not (self._means.store.claims_first and is_suspect(live)) or await self._still_holds(live, place)
        if live.place is not place or live.phase != "waiting":
            place.leave()
            return False
        if is_being_parked(live):
            return False
        if self._means.store.claims_first:
            return await self._claim_durably(live, bot, place)
        self.in_memory(live, bot)
        return True

    async def _still_holds(self, live: Live, place: Place) -> bool:
        row = await self.row_of(live.entry.id)
        if row is not None and row.fence == live.entry.fence and row.owner == self._means.store.owner:
            return True
        self._somebody_elses(live, row, place)
        return False

    def in_memory(self, live: Live, bot: Bot) -> None:
        """Make the event ours in memory, and write it behind."""
        means = self._means
        entry = live.entry
        entry.updated = means.now()
        entry.fence += 1
        entry.owner = means.store.owner
        entry.state = "running"
        means.store.note(entry, stored_body(live) if bot.config.keep_s > 0 else None)
        self._started(live)

    async def _claim_durably(self, live: Live, bot: Bot, place: Place) -> bool:
        """Make the event ours in the journal; False where it is somebody else's, or must stand in line again."""
        means = self._means
        entry = live.entry
        entry.updated = means.now()
        entry.limit_s = limit_of(bot.config)
        body = stored_body(live) if bot.config.keep_s > 0 else None
        try:
            row: Entry | None
            if entry.state == "ready" and entry.fence:
                row = await means.store.take(entry.id, seen=entry.seen, seen_at=entry.seen_at)
                word = "claimed" if row is not None else "known"
                row = row or await means.store.find(entry.id)
                if word == "known" and row is not None and row.state == "ready" and row.door == "response":
                    word = "busy"
            else:
                word, row = await means.store.claim(entry, body or b"")
        except StoreAway:
            return await self._claim_without_store(live, place)
        if word == "claimed" and row is not None:
            if live.place is not place:
                await self._let_go(live, row, place)
                return False
            live.adopt(row)
            self._started(live)
            return True
        if word == "busy":
            await self._wait_in_line(live, place)
            return False
        self._somebody_elses(live, row, place)
        return False

    async def _let_go(self, live: Live, row: Entry, place: Place) -> None:
        """An operator cancelled it while its claim was under way."""
        place.leave()
        live.entry = msgspec.structs.replace(row, state="cancelled", error=CANCELLED, updated=self._means.now())
        await save_surely(self._means, live.entry)

    def _somebody_elses(self, live: Live, row: Entry | None, place: Place) -> None:
        place.leave()
        self._means.ledger.unweigh(live)
        if live.place is place:
            live.rest()
            if row is not None:
                live.adopt(row)
            self.known(live)

    async def _claim_without_store(self, live: Live, place: Place) -> bool:
        """The store is away: wait for it; the last attempt runs on a claim in memory rather than be lost."""
        means = self._means
        patience = means.clock.monotonic() + means.timing.commit_s
        while live.waiters and live.place is place:
            if live.last and means.clock.monotonic() >= patience:
                entry = live.entry
                entry.state, entry.owner, entry.rerun = "running", means.store.owner, "maybe"
                entry.fence += 1
                live.unrecorded = True
                self._started(live)
                return True
            await means.store.wait_hint(means.timing.retry_beat_s)
            if live.waiters and await self._is_back():
                await self._wait_in_line(live, place, 0.0)
                return False
        place.leave()
        if live.place is place:
            means.ledger.unweigh(live)
            live.rest()
        return False

    async def _is_back(self) -> bool:
        try:
            await self._means.store.waiting()
        except StoreAway:
            return False
        return True

    async def _wait_in_line(self, live: Live, place: Place, seconds: float = BUSY_S) -> None:
        """Another process holds the turn: keep our place among the task's events, but no permit meanwhile."""
        place.free_permit()
        if seconds:
            await self._means.store.wait_hint(seconds)
        if live.phase == "waiting" and live.place is place:
            asyncio.get_running_loop().call_soon(self._ask_again, live, place)
        else:
            place.leave()

    def _ask_again(self, live: Live, place: Place) -> None:
        if live.phase == "waiting" and place.lane is not None and live.place is place:
            place.lane.ask_again(place)

    def _started(self, live: Live) -> None:
        live.phase = "running"
        live.start = self._means.clock.monotonic()
        self._means.ledger.unweigh(live)
        self._means.answers.count.queue_wait(live.entry.bot, max(live.start - live.touched, 0.0))

    async def row_of(self, key: str) -> Entry | None:
        """The row of a key, however long the journal is away."""
        while True:
            try:
                return await self._means.store.find(key)
            except StoreAway:
                await self._means.store.wait_hint(self._means.timing.retry_beat_s)


def is_suspect(live: Live) -> bool:
    """Whether its host died while it ran: then it runs alone the next time."""
    return live.entry.deaths > 0 and live.entry.rerun == "crash"


def is_being_parked(live: Live) -> bool:
    """Whether its parking is being committed: it then waits for how that ends."""
    if live.commit is None or live.phase != "waiting":
        return False
    live.deferred = True
    return True
