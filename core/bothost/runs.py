"""One run of a handler, from turn and permit to the recorded outcome, for deliveries and for stored events alike."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from bothost.answers import ACKNOWLEDGED, UNAVAILABLE, UNRECORDED
from bothost.delivery import NOTHING
from bothost.errors import StoreAway
from bothost.event import Context
from bothost.lanes import Place
from bothost.means import save_surely, stored_body, watch
from bothost.plugin_api import Tick
from bothost.settling import Moment, settle
from bothost.whose import BOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.bots import Bot
    from bothost.ledger import Live
    from bothost.means import Means
    from bothost.posts import Posts
    from bothost.runner import Ran
    from bothost.settling import Settled
    from bothost.store import Entry

log = logging.getLogger("bothost.run")


class Runs:
    """Carries events through their runs. `known` is told of an event that turned out to be in the journal already."""

    def __init__(self, means: Means, posts: Posts) -> None:
        self._means = means
        self._posts = posts
        self._alone = asyncio.Lock()
        """Events that were in flight at a death run one by one, so that only the guilty one reaches three."""
        self.known: Callable[[Live], None] = lambda _live: None
        self.running: set[Live] = set()

    def begin(self, live: Live, bot: Bot) -> None:
        """Stand in the bot's line; the run begins at once where turn and permit are free."""
        live.phase = "waiting"
        live.place = Place(live.entry.turn, partial(self.go, live))
        bot.lane.enter(live.place)

    def go(self, live: Live) -> None:
        """Turn and permit are there: start the run, or wait for the parking that is under way."""
        if live.commit is not None and live.phase == "waiting":
            live.deferred = True
            return
        self.running.add(live)
        live.task = asyncio.get_running_loop().create_task(self._carry(live))
        live.task.add_done_callback(watch)

    async def _carry(self, live: Live) -> None:
        place = live.place
        assert place is not None
        try:
            bot = self._means.find_bot(live.entry.bot)
            if bot is None or bot.runner is None:
                place.leave()
                self._means.ledger.unweigh(live)
                self._means.answers.give_all(live, UNAVAILABLE)
                live.rest()
            elif live.phase == "running" or await self._claim(live, bot):
                await self._run(live, bot, place)
                place.free_turn()
        except BaseException:
            place.leave()
            raise
        finally:
            self.running.discard(live)

    async def _claim(self, live: Live, bot: Bot) -> bool:
        """Make the event ours; False where it is somebody else's, or must stand in line again."""
        means = self._means
        live.entry.updated = means.now()
        body = stored_body(live) if bot.config.keep_s > 0 else None
        if not means.store.claims_first:
            live.entry.fence += 1
            live.entry.owner = means.store.owner
            live.entry.state = "running"
            means.store.note(live.entry, body)
            self._started(live)
            return True
        return await self._claim_durably(live, body)

    async def _claim_durably(self, live: Live, body: bytes | None) -> bool:
        means = self._means
        place = live.place
        assert place is not None
        patience = means.clock.monotonic() + means.timing.commit_s
        try:
            if live.entry.state == "ready" and live.entry.fence:
                taken = await means.store.take(live.entry.id, seen=live.entry.seen, seen_at=live.entry.seen_at)
                word, row = (
                    ("claimed", taken) if taken else ("known", await means.store.find(live.entry.id) or live.entry)
                )
            else:
                word, row = await means.store.claim(live.entry, body or b"")
        except StoreAway:
            return await self._claim_without_store(live, place, patience)
        if word == "claimed" and row is not None:
            live.entry = row
            self._started(live)
            return True
        if word == "busy":
            await self._wait_in_line(live, place)
            return False
        place.leave()
        means.ledger.unweigh(live)
        live.entry = row or live.entry
        live.phase = "idle"
        self.known(live)
        return False

    async def _claim_without_store(self, live: Live, place: Place, patience: float) -> bool:
        """The store is away: wait for it; the last attempt runs on a claim in memory rather than be lost."""
        means = self._means
        while live.waiters:
            if live.last and means.clock.monotonic() >= patience:
                live.entry.state, live.entry.owner, live.entry.rerun = "running", means.store.owner, "maybe"
                live.entry.fence += 1
                self._started(live)
                return True
            await means.store.wait_hint(means.timing.retry_beat_s)
            try:
                await means.store.find(live.entry.id)
            except StoreAway:
                continue
            await self._wait_in_line(live, place)
            return False
        place.leave()
        means.ledger.unweigh(live)
        live.rest()
        return False

    async def _wait_in_line(self, live: Live, place: Place) -> None:
        """Another process holds the turn: keep our place among the task's events, but no permit meanwhile."""
        place.free_permit()
        await self._means.store.wait_hint(0.1)
        if live.phase == "waiting" and live.waiters:
            self.running.discard(live)
            asyncio.get_running_loop().call_soon(self._ask_again, live, place)
        else:
            place.leave()

    def _ask_again(self, live: Live, place: Place) -> None:
        if live.phase == "waiting" and place.lane is not None and live.place is place:
            place.lane.ask_again(place)

    def _started(self, live: Live) -> None:
        live.phase = "running"
        live.start = self._means.clock.monotonic()
        if live.waiters:
            self._means.answers.count.queue_wait(live.entry.bot, max(live.start - live.touched, 0.0))
        self._means.ledger.unweigh(live)

    async def _run(self, live: Live, bot: Bot, place: Place) -> None:
        ran: Ran | None = None
        try:
            async with self._alone if live.entry.deaths else nullcontext():
                ran = await self._call(live, bot, place)
        except asyncio.CancelledError:
            if not live.cut:
                raise
        else:
            self._means.answers.count.run(bot.config.name, live.entry.ms / 1000, ran.failure is not None)
        if live.commit is not None and self._means.store.claims_first:
            await asyncio.wait([live.commit])
        await self._record(live, bot, ran)

    async def _call(self, live: Live, bot: Bot, place: Place) -> Ran:
        """Call the plugin. The permit comes back when the work has really ended."""
        runner = bot.runner
        assert runner is not None
        BOT.set(bot.config.name)
        bot.busy += 1

        def ended() -> None:
            bot.busy -= 1
            place.free_permit()

        limit_s = bot.config.timeout_s
        entry = live.entry
        try:
            if entry.kind == "timer":
                name = entry.id.split(":")[2]
                return await runner.tick(
                    name,
                    Tick(due=datetime.fromtimestamp(int(entry.id.split(":")[3]), UTC), rerun=entry.rerun),
                    limit_s,
                    ended,
                )
            assert live.envelope is not None
            return await runner.run(live.envelope, self._context(live, bot), limit_s, ended)
        finally:
            live.entry.ms = round((self._means.clock.monotonic() - live.start) * 1000, 1)

    def _context(self, live: Live, bot: Bot) -> Context:
        means = self._means
        return Context(
            id=live.entry.id,
            bot=bot.config.name,
            attempt=live.attempt,
            rerun=live.entry.rerun,
            deadline=means.clock.now() + timedelta(seconds=bot.config.timeout_s),
            clock=means.clock,
            user_id=bot.user_id,
            pyrus=means.pyrus_for(bot, live),
            trace=live.entry.trace,
        )

    async def _record(self, live: Live, bot: Bot, ran: Ran | None) -> None:
        """Write how the run ended, then let everybody know: behind where memory is the truth, durably where it is not."""
        means = self._means
        settled = settle(live, bot.config, ran, Moment(means.now(), means.timing.quiet_s))
        if bot.plugged is not None:
            settled.entry.version = bot.plugged.version
        stays = settled.entry.door == "response" and not means.store.claims_first
        if stays:
            means.store.note(settled.entry)
        else:
            body = stored_body(live) if settled.entry.state == "ready" or bot.config.keep_s > 0 else None
            door = live.entry.door if means.store.claims_first else None
            if live.cut == "drain" and live.entry.door == "response":
                if not await self._acknowledged_cut(live, settled, body):
                    return
            elif not await save_surely(means, settled.entry, body, door):
                await self._refused(live, bot, ran)
                return
        live.entry = settled.entry
        if ran is not None and ran.failure is None and ran.reply != NOTHING:
            means.breaker.count(live)
        await self._tell(live, bot, settled)

    async def _acknowledged_cut(self, live: Live, settled: Settled, body: bytes | None) -> bool:
        """Park what the end of a drain cut; a journal that cannot take it is no reason to stay, so Pyrus is told to come again."""
        means = self._means
        try:
            async with asyncio.timeout(means.timing.commit_s):
                if await means.store.save(settled.entry, body, door="response" if means.store.claims_first else None):
                    return True
        except (StoreAway, TimeoutError):
            log.warning("%s could not be parked at the end of the drain", live.entry.id, extra={"bot": live.entry.bot})
        means.answers.give_all(live, UNRECORDED)
        live.rest()
        return False

    async def _tell(self, live: Live, bot: Bot, settled: Settled) -> None:
        means = self._means
        entry = live.entry
        if live.waiters:
            written = means.answers.give_all(live, settled.outcome)
            if not written and entry.state == "answered":
                entry.delivered, entry.due = False, entry.seen_at + means.timing.quiet_s
                means.store.note(entry) if not means.store.claims_first else await save_surely(means, entry)
        if settled.failure:
            self._complain(live, bot, settled.failure)
            if entry.state == "failed" or entry.failed:
                means.failed(entry)
        live.touched = means.clock.monotonic()
        if entry.state == "running" and entry.answer is not None:
            await self._posts.post(live, bot)
            return
        if entry.state == "ready" and entry.door == "api" and not means.store.claims_first:
            bot.lane.stand_ahead(entry.turn, entry.id)
        live.rest()

    def _complain(self, live: Live, bot: Bot, failure: str) -> None:
        extra = {"bot": bot.config.name, "task": live.entry.task, "outcome": live.entry.state, "attempt": live.attempt}
        log.error("%s", failure, extra=extra)

    async def _refused(self, live: Live, bot: Bot, ran: Ran | None) -> None:
        """The fence or another door refused the outcome: the row says what holds now."""
        means = self._means
        row: Entry | None = None
        while row is None:
            try:
                row = await means.store.find(live.entry.id)
                break
            except StoreAway:
                await means.store.wait_hint(means.timing.retry_beat_s)
        ours = row is not None and row.owner == means.store.owner and row.fence == live.entry.fence
        if row is not None and ours and row.door == "api" and live.entry.door == "response":
            live.entry = row
            means.answers.give_all(live, ACKNOWLEDGED)
            await self._record(live, bot, ran)
            return
        log.warning(
            "the outcome of %s was dropped: fence %d of %s stands against %d of %s",
            live.entry.id, live.entry.fence, means.store.owner, row.fence if row else 0, row.owner if row else "nobody",
            extra={"bot": bot.config.name},
        )  # fmt: skip
        live.entry = row or live.entry
        live.rest()
        self.known(live)
