"""What goes on without Pyrus: stored events that are due, late replies, takeover from dead owners, quiet ends, retention."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.background import watch
from bothost.bots.queue import Place
from bothost.errors import BodyRefused, StoreAway
from bothost.journal.transitions import cancelled
from bothost.pipeline.attempts import REPEAT_S
from bothost.pipeline.context import save_surely
from bothost.pipeline.delivery import CANCELLED
from bothost.pipeline.event_table import base_of
from bothost.pyrus.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from bothost.bots.registry import Bot, Registry
    from bothost.journal.entry import Entry
    from bothost.pipeline.context import Means
    from bothost.pipeline.event_table import Live
    from bothost.pipeline.late_replies import Posts
    from bothost.pipeline.runs import Runs

log = logging.getLogger("bothost.late")

FORGET_S = 60.0
REMEMBER_S = 180.0
"""How long memory knows an event after its last delivery or change. Pyrus's attempts are a minute apart; who comes later is
answered from the journal, which has been written to just before anything is forgotten."""
RETAIN_S = 600.0
POSTS_AT_ONCE = 100
LATER_S = 10.0
"""When a claimed event is looked at again that cannot run now: its task is paused, its old run has not ended."""
AGAIN_S = 1.0
"""When what was claimed too early is claimed again."""
UNUSABLE = ("off", "config error")
"""Bots without a section that could be used: their replies wait."""


class Late:
    """The host's own rounds over the journal. `start` after the store is open, `stop` before it closes."""

    def __init__(self, means: Means, runs: Runs, posts: Posts, registry: Callable[[], Registry]) -> None:
        self._means = means
        self._runs = runs
        self._posts = posts
        self._registry = registry
        self._tasks: set[asyncio.Task[object]] = set()
        self._pumping: set[str] = set()
        self._stopping = False

    async def start(self) -> None:
        """Take over what dead owners left, know the keys of the last ten minutes, begin the rounds."""
        await self._take_up()
        self._spawn(self._learn_floors())
        self._spawn(self._rounds())

    async def _take_up(self) -> None:
        means = self._means
        while True:
            try:
                await means.store.reap()
                entries = await means.store.recent(means.now() - REPEAT_S)
            except StoreAway as error:
                log.warning("the journal is away: %s", error)
                await means.store.wait_hint(means.timing.sweep_s)
            else:
                break
        means.ledger.load(entries, means.clock.monotonic())
        for entry in entries:
            self._stand_ahead(entry)

    def hold(self) -> None:
        """Claim nothing more, while what is under way goes on."""
        self._stopping = True

    async def stop(self) -> None:
        """Begin nothing more; posts under way end or are looked at by the next owner."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(watch)

    async def _learn_floors(self) -> None:
        while True:
            try:
                self._means.ledger.learn_floors(await self._means.store.highest())
            except StoreAway:
                await self._means.store.wait_hint(self._means.timing.sweep_s)
            else:
                return

    async def _rounds(self) -> None:
        means = self._means
        forget_at = retain_at = means.clock.monotonic() + FORGET_S
        while not self._stopping:
            try:
                await self.look()
                now = means.clock.monotonic()
                if now >= forget_at:
                    forget_at = now + FORGET_S
                    means.ledger.forget(now - REMEMBER_S)
                    await self._check_lines()
                if now >= retain_at:
                    retain_at = now + RETAIN_S
                    await means.store.retain({bot.name: bot.config.keep_s for bot in self._registry().by_name.values()})
            except StoreAway as error:
                log.warning("the journal is away: %s", error)
            await means.store.wait_hint(means.timing.sweep_s)

    async def look(self) -> None:
        """One look at the journal, now: operators' wishes, dead owners, quiet events, what is due."""
        store = self._means.store
        for key in store.cancelled():
            self.cancel(key)
        for key in store.lost():
            self._lose(key)
        for reaped in await store.reap():
            self._learn(reaped.entry)
            level = logging.ERROR if reaped.entry.state == "failed" else logging.WARNING
            extra = {"bot": reaped.entry.bot, "task": reaped.entry.task}
            log.log(level, "%s: its owner is gone; now %s", reaped.entry.id, reaped.entry.state, extra=extra)
            if reaped.entry.state == "failed":
                self._means.failed(reaped.entry)
        for entry in await store.quiet():
            if self._learn(entry) and entry.state == "failed":
                what = entry.error.partition("\n")[0]
                log.error("%s: %s", entry.id, what, extra={"bot": entry.bot, "task": entry.task})
                self._means.failed(entry)
        await self._begin_due()

    def _learn(self, row: Entry) -> bool:
        """Take over what the store moved by itself; False where this process knew better, and has said so to the journal."""
        live = self._means.ledger.of(row)
        if live is not None:
            if self._is_ahead_of(live, row):
                self._write_over(live, row)
                return False
            if not live.open:
                live.entry = row
                live.touched = self._means.clock.monotonic()
        self._stand_ahead(row)
        return True

    def _is_ahead_of(self, live: Live, row: Entry) -> bool:
        """Whether memory is the truth and has gone on since the store decided over this row."""
        if self._means.store.claims_first:
            return False
        entry = live.entry
        came_again = entry.door == "response" and entry.seen_at > row.seen_at
        return live.phase != "idle" or came_again or entry.fence > row.fence

    def _write_over(self, live: Live, row: Entry) -> None:
        live.entry.fence = max(live.entry.fence, row.fence + 1)
        live.entry.owner = self._means.store.owner
        self._means.store.note(live.entry)

    def _stand_ahead(self, entry: Entry) -> None:
        """Parked events go before later arrivals of their task."""
        parked = entry.state == "ready" and entry.door == "api" and entry.answer is None
        bot = self._means.find_bot(entry.bot)
        if bot is None or self._means.store.claims_first:
            return
        if parked:
            bot.lane.stand_ahead(entry.turn, entry.id)
        elif entry.state != "running":
            bot.lane.went(entry.turn, entry.id)

    async def _check_lines(self) -> None:
        """Let the arrivals go that stand behind a stored event which another process has ended, an operator for instance."""
        for bot in self._registry().by_name.values():
            for turn, key in bot.lane.blocked():
                row = await self._means.store.find(key)
                if row is None or row.state not in ("ready", "running"):
                    bot.lane.went(turn, key)

    async def _begin_due(self) -> None:
        registry = self._registry()
        waiting = await self._means.store.waiting()
        for name in waiting:
            bot = registry.by_name.get(name)
            if bot is not None and bot.state.serves and name not in self._pumping:
                self._pumping.add(name)
                self._spawn(self._pump(bot))
        served = {name: 0 for name, bot in registry.by_name.items() if bot.state.word not in UNUSABLE}
        while waiting and not self._stopping:
            rows = await self._means.store.due(served, POSTS_AT_ONCE)
            for row in rows:
                self._spawn(self._post(registry.by_name[row.bot], row))
            if len(rows) < POSTS_AT_ONCE:
                return

    async def _pump(self, bot: Bot) -> None:
        """Claim one bot's due events one after the other, each with a permit, until there are no more."""
        try:
            while not self._stopping and bot.state.serves:
                permit = asyncio.Event()
                place = Place(None, permit.set)
                bot.lane.enter(place)
                try:
                    await permit.wait()
                    rows = await self._means.store.due({bot.name: 1}, 1)
                except (StoreAway, asyncio.CancelledError):
                    place.leave()
                    raise
                if not await self._take(bot, rows, place):
                    place.leave()
                    return
        except StoreAway as error:
            log.warning("the journal is away: %s", error, extra={"bot": bot.name})
        finally:
            self._pumping.discard(bot.name)

    async def _take(self, bot: Bot, rows: Sequence[Entry], place: Place) -> bool:
        """Begin what was claimed; False where there was nothing to run."""
        for row in rows:
            if row.answer is not None:
                self._spawn(self._post(bot, row))
        run = next((row for row in rows if row.answer is None), None)
        if run is None:
            return False
        live = self._means.ledger.claimed(run, self._means.clock.monotonic()) if self._is_free(run) else None
        if live is None or live.hung or self._stopping or self._means.breaker.holds(bot.name, run.task):
            place.leave()
            if live is not None:
                await self._put_back(live, 0.0 if self._stopping else LATER_S)
        else:
            await self._begin(bot, live, place)
        return True

    def _is_free(self, row: Entry) -> bool:
        """Whether this process is not at the event already. If it is, then it has not heard yet that what it wrote last has
        landed; or its parking was given up, and has landed after all; or it was cut off, and has claimed anew what it lost."""
        live = self._means.ledger.of(row)
        if live is None or live.phase == "idle":
            return True
        if not (live.settling or live.phase == "posting"):
            if not self._means.store.claims_first:
                self._write_over(live, row)
                return False
            self._runs.cut(live, "lost")
        later = msgspec.structs.replace(row, state="ready", due=self._means.now() + AGAIN_S)
        self._spawn(save_surely(self._means, later))
        return False

    async def _put_back(self, live: Live, seconds: float) -> None:
        """It cannot run now: its task is paused, its old run has not ended, or the host stops."""
        live.entry = msgspec.structs.replace(live.entry, state="ready", due=self._means.now() + seconds)
        await save_surely(self._means, live.entry)

    async def _begin(self, bot: Bot, live: Live, place: Place) -> None:
        """Run a claimed event: its body comes from the journal, its turn goes before later arrivals."""
        row = live.entry
        live.phase = "running"
        live.stored = True
        live.place = place
        live.start = self._means.clock.monotonic()
        live.attempt = max(row.seen, 1)
        error = ""
        if row.kind != "timer":
            try:
                live.envelope = decode(await self._means.store.body(row.id) or b"")
            except BodyRefused:
                error = "its body is no longer stored"
            except BaseException:
                live.rest()
                place.leave()
                self._spawn(self._put_back(live, LATER_S))
                raise
        its_turn = bot.lane.adopt(place, row.turn, lambda: self._runs.go(live))
        bot.lane.went(row.turn, row.id)
        if error:
            failed = msgspec.structs.replace(row, state="failed", error=error, failed=True, updated=self._means.now())
            await save_surely(self._means, failed)
            self._means.failed(failed)
            live.entry = failed
            live.rest()
            place.leave()
        elif its_turn:
            self._runs.go(live)

    async def _post(self, bot: Bot, row: Entry) -> None:
        if not self._is_free(row):
            return
        known = self._means.ledger.of(row)
        if known is not None and self._is_ahead_of(known, row):
            self._write_over(known, row)
            return
        await self._posts.post(self._means.ledger.claimed(row, self._means.clock.monotonic()), bot)

    def waiting(self) -> list[Entry]:
        """The events that stand in line here and have never been claimed: the journal knows nothing of them."""
        if not self._means.ledger.waiting_bytes:
            return []
        lives = (live for live in self._means.ledger if live.phase == "waiting" and not live.entry.fence)
        return [msgspec.structs.replace(live.entry) for live in lives]

    def _lose(self, key: str) -> None:
        """This host was cut off for longer than its lease, and another one has the event now."""
        live = self._live_of(key)
        if live is not None and live.phase == "running":
            self._runs.cut(live, "lost")

    def cancel(self, key: str) -> None:
        """An operator's wish about an entry that this process holds."""
        live = self._live_of(key)
        if live is None:
            return
        if live.phase == "running":
            self._runs.cut(live, "cancel")
        elif live.phase == "posting":
            live.cut = "cancel"
        elif live.phase == "waiting":
            self._means.answers.give_all(live, CANCELLED)
            self._means.ledger.unweigh(live)
            place = live.place
            live.entry = cancelled(live.entry, self._means.now())
            live.rest()
            if place is not None:
                place.leave()
            if not self._means.store.claims_first:
                self._means.store.note(live.entry)

    def _live_of(self, key: str) -> Live | None:
        ledger = self._means.ledger
        return next(
            (live for live in (ledger.get(key), ledger.get(base_of(key))) if live and live.entry.id == key), None
        )
