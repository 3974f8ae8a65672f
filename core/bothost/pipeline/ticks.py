"""Put the ticks of `@every` and `@cron` into the journal when they are due. Every host does so; the key makes each run once.

`plugins/timers.py` says when a timer ticks.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway
from bothost.journal.entry import Entry, EntryFilter
from bothost.pipeline.context import limit_of
from bothost.plugins.timers import tick_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from bothost.bots.registry import Bot, Registry
    from bothost.pipeline.context import PipelineContext
    from bothost.plugins.timers import TimerSpec

log = logging.getLogger("bothost.timers")

LOOK_S = 60.0
"""The longest sleep: the wall clock may have been set meanwhile."""


def tick_entry(bot: str, timer: str, due: datetime, now: float, limit_s: float) -> Entry:
    """Return the entry of one tick, which runs at once; `now` is the journal's time, `limit_s` how long a run keeps its claim."""
    return Entry(
        id=tick_id(bot, timer, due), bot=bot, kind="timer", door="api", turn=f"timer:{timer}",
        due=now, created=now, updated=now, limit_s=limit_s,
    )  # fmt: skip


class Timers:
    """Puts the ticks of all bots in service into the journal as they fall due."""

    def __init__(self, context: PipelineContext, registry: Callable[[], Registry]) -> None:
        self._context = context
        self._registry = registry
        self._next: dict[tuple[str, str], tuple[str, datetime]] = {}
        """The rule and the next tick of each timer, by bot and timer."""
        self._ticked: set[str] = set()
        """Facts `ticked:bot:timer` that the journal holds: keys of ticks are forgotten after two days, a timer may be rarer."""
        self._looked = context.clock.now()
        self._tasks = BackgroundTasks()
        self._changed = asyncio.Event()
        """A bot has come into service, whose first tick may be due before the next look."""

    async def start(self) -> None:
        """Begin to tick. A timer that comes into service first makes up for what was missed."""
        await self.look()
        self._tasks.spawn(self._context.loops.keep("timers", self._tick_on))

    async def stop(self) -> None:
        """Put no more ticks."""
        await self._tasks.stop()

    def wake(self) -> None:
        """Look again at once, because a bot has come into service."""
        self._changed.set()

    def _specs(self) -> list[tuple[Bot, TimerSpec]]:
        bots = self._registry().by_name.values()
        return [(bot, spec) for bot in bots if bot.plugged and bot.state.serves for spec in bot.plugged.timers]

    async def _tick_on(self) -> None:
        while True:
            self._changed.clear()
            pause_s = await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause_s, 0.001)):
                    await self._changed.wait()

    async def look(self) -> float:
        """Put the ticks that are due now. Returns the seconds until the next look.

        If the wall clock was set, or the machine slept, a tick that lies too far back is passed over.
        """
        now = self._context.clock.now()
        went_back = now < self._looked
        self._looked = now
        due_in_s = LOOK_S
        specs = self._specs()
        if any((bot.name, spec.name) not in self._next for bot, spec in specs):
            await self._remember()
        for bot, spec in specs:
            key, when = (bot.name, spec.name), f"{spec.kind} {spec.when} {spec.tz}"
            known = self._next.get(key)
            if known is None:
                await self._make_up(bot, spec)
            if known is None or known[0] != when or went_back:
                tick = spec.next_tick(now)
            else:
                tick = await self._due(bot, spec, known[1], now)
            self._next[key] = (when, tick)
            due_in_s = min(due_in_s, (tick - now).total_seconds())
        return due_in_s

    async def _due(self, bot: Bot, spec: TimerSpec, tick: datetime, now: datetime) -> datetime:
        """Put the tick if it is due. Returns the tick to wait for."""
        if tick > now:
            return tick
        due = spec.missed_tick(now)
        if due is not None:
            await self.put(bot, spec, due)
        return spec.next_tick(now)

    async def put(self, bot: Bot, spec: TimerSpec, tick: datetime) -> Entry | None:
        """Put one tick into the journal. Returns the entry, or None if another host put it or the journal is away."""
        limit_s = limit_of(bot.config) if self._context.journal.claims_first else 0.0
        entry = tick_entry(bot.name, spec.name, tick, self._context.now(), limit_s)
        # with an owner the row of another host that was quicker refuses this one
        entry.owner = self._context.journal.owner
        try:
            if await self._context.journal.find(entry.id) is not None:
                return None
            if await self._runs_still(bot, spec, entry.id):
                entry.state, entry.error = "cancelled", "skipped: the tick before it still runs"
                self._context.responses.count.tick(bot.name, "skipped")
                log.warning("timer %s: %s", spec.name, entry.error, extra={"bot": bot.name, "event": entry.id})
            if not await self._context.journal.save(entry, b""):
                return None
            await self._keep_in_mind(bot, spec)
        except JournalAway as error:
            log.warning(
                "timer %s: tick of %s lost, the journal is away: %s", spec.name, tick, error, extra={"bot": bot.name}
            )
            return None
        return entry

    async def _runs_still(self, bot: Bot, spec: TimerSpec, this: str) -> bool:
        want = EntryFilter(bot=bot.name, kind="timer", states=("ready", "running"), limit=1000)
        prefix = f"timer:{bot.name}:{spec.name}:"
        rows = await self._context.journal.list(want)
        return any(row.id.startswith(prefix) and row.id != this for row in rows)

    async def _make_up(self, bot: Bot, spec: TimerSpec) -> None:
        """Put the newest of the ticks missed while no host was up, if the timer had run before."""
        tick = spec.missed_tick(self._context.clock.now())
        if tick is not None and _fact(bot, spec) in self._ticked:
            await self.put(bot, spec, tick)

    async def _remember(self) -> None:
        """Read which timers had run before."""
        with suppress(JournalAway):
            self._ticked.update(fact for fact in await self._context.journal.controls() if fact.startswith("ticked:"))

    async def _keep_in_mind(self, bot: Bot, spec: TimerSpec) -> None:
        fact = _fact(bot, spec)
        if fact not in self._ticked:
            with suppress(JournalAway):
                await self._context.journal.control(fact, "yes")
                self._ticked.add(fact)


def _fact(bot: Bot, spec: TimerSpec) -> str:
    return f"ticked:{bot.name}:{spec.name}"
