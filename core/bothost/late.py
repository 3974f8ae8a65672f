"""What goes on without Pyrus: stored events that are due, late replies, takeover from dead owners, quiet ends, retention."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from bothost.answers import CANCELLED
from bothost.errors import BodyRefused, StoreAway
from bothost.lanes import Place
from bothost.ledger import Live, base_of
from bothost.means import save_surely, watch
from bothost.pyrus.events import decode
from bothost.rules import REPEAT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bothost.bots import Bot, Registry
    from bothost.means import Means
    from bothost.posts import Posts
    from bothost.runs import Runs
    from bothost.store import Entry

log = logging.getLogger("bothost.late")

FORGET_S = 60.0
RETAIN_S = 600.0
POSTS_AT_ONCE = 100
BREAKER_LOOK_S = 10.0
"""How often a parked event of a paused task is looked at again."""


class Late:
    """The host's own rounds over the journal. `start` after the store is open, `stop` before it closes."""

    def __init__(self, means: Means, runs: Runs, posts: Posts, registry: Callable[[], Registry]) -> None:
        self._means = means
        self._runs = runs
        self._posts = posts
        self._registry = registry
        self._tasks: set[asyncio.Task[None]] = set()
        self._pumping: set[str] = set()
        self._stopping = False

    async def start(self) -> None:
        """Take over what dead owners left, know the keys of the last ten minutes, begin the rounds."""
        means = self._means
        await means.store.reap()
        entries = await means.store.recent(means.now() - REPEAT_S)
        means.ledger.load(entries, means.clock.monotonic())
        for entry in entries:
            self._stand_ahead(entry)
        self._spawn(self._learn_floors())
        self._spawn(self._rounds())

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

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
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
                    means.ledger.forget(now - REPEAT_S)
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
            self._cancel(key)
        for reaped in await store.reap():
            self._learn(reaped.entry)
            level = logging.ERROR if reaped.entry.state == "failed" else logging.WARNING
            extra = {"bot": reaped.entry.bot, "task": reaped.entry.task}
            log.log(level, "%s: its owner is gone; now %s", reaped.entry.id, reaped.entry.state, extra=extra)
            if reaped.entry.state == "failed":
                self._means.failed(reaped.entry)
        for entry in await store.quiet():
            self._learn(entry)
            if entry.state == "failed":
                log.error("%s: %s", entry.id, entry.error, extra={"bot": entry.bot, "task": entry.task})
                self._means.failed(entry)
        await self._begin_due()

    def _learn(self, entry: Entry) -> None:
        live = self._means.ledger.take_over(entry)
        if live is not None:
            live.touched = self._means.clock.monotonic()
        self._stand_ahead(entry)

    def _stand_ahead(self, entry: Entry) -> None:
        parked = entry.state == "ready" and entry.door == "api" and entry.answer is None
        bot = self._means.find_bot(entry.bot)
        if bot is None or self._means.store.claims_first:
            return
        if parked:
            bot.lane.stand_ahead(entry.turn, entry.id)
        elif entry.state != "running":
            bot.lane.went(entry.turn, entry.id)

    async def _begin_due(self) -> None:
        registry = self._registry()
        waiting = await self._means.store.waiting()
        for name in waiting:
            bot = registry.by_name.get(name)
            if bot is not None and bot.state.serves and name not in self._pumping:
                self._pumping.add(name)
                self._spawn(self._pump(bot))
        served = {name: 0 for name, bot in registry.by_name.items() if bot.state.word != "off"}
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
                permit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                place = Place(None, partial(_let, permit))
                bot.lane.enter(place)
                try:
                    await permit
                    rows = await self._means.store.due({bot.name: 1}, 1)
                except (StoreAway, asyncio.CancelledError):
                    place.leave()
                    raise
                runs = [row for row in rows if row.answer is None]
                for row in rows:
                    if row.answer is not None:
                        self._spawn(self._post(bot, row))
                if not runs:
                    place.leave()
                    return
                if self._means.breaker.holds(bot.name, runs[0].task):
                    place.leave()
                    await self._put_back(runs[0])
                    continue
                await self._begin(bot, runs[0], place)
        except StoreAway as error:
            log.warning("the journal is away: %s", error, extra={"bot": bot.name})
        finally:
            self._pumping.discard(bot.name)

    async def _put_back(self, row: Entry) -> None:
        """The loop breaker holds its task: not before an operator resumes it."""
        due = self._means.now() + BREAKER_LOOK_S
        await save_surely(self._means, msgspec.structs.replace(row, state="ready", due=due))

    def _live(self, row: Entry) -> Live:
        ledger = self._means.ledger
        base = base_of(row.id)
        live = ledger.get(base)
        if live is None or live.entry.id != row.id:
            live = Live(base, row)
            ledger.add(live)
        live.entry = row
        live.touched = self._means.clock.monotonic()
        return live

    async def _begin(self, bot: Bot, row: Entry, place: Place) -> None:
        """Run a claimed event: its body comes from the journal, its turn goes before later arrivals."""
        live = self._live(row)
        live.phase = "running"
        live.place = place
        live.start = self._means.clock.monotonic()
        live.attempt = max(row.seen, 1)
        error = ""
        if row.kind != "timer":
            try:
                live.envelope = decode(await self._means.store.body(row.id) or b"")
            except BodyRefused:
                error = "its body is no longer stored"
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
        live = self._live(row)
        await self._posts.post(live, bot)

    def _cancel(self, key: str) -> None:
        """An operator's wish about an entry that this process holds."""
        live = self._means.ledger.get(base_of(key))
        if live is None or live.entry.id != key or live.cut:
            return
        if live.phase == "running" and live.task is not None:
            live.cut = "cancel"
            live.task.cancel()
        elif live.phase == "waiting":
            self._means.answers.give_all(live, CANCELLED)
            self._means.ledger.unweigh(live)
            if live.place is not None:
                live.place.leave()
            live.entry = msgspec.structs.replace(live.entry, state="cancelled", updated=self._means.now())
            live.rest()
            self._means.store.note(live.entry)


def _let(permit: asyncio.Future[None]) -> None:
    if not permit.done():
        permit.set_result(None)
