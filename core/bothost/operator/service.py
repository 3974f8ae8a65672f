"""What an operator sees and does: bots, deliveries, plugins, configuration. The page and the metrics are made of it alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from bothost.errors import JournalAway
from bothost.journal.transitions import cancelled
from bothost.operator.waiting import beside
from bothost.telemetry.metrics import BotFigures, BotNow, Metrics, MetricsSnapshot, together
from bothost.telemetry.metrics.families import STATES, BotGauge, HostGauges

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.config import ConfigReading
    from bothost.journal import Journal
    from bothost.journal.entry import Entry, EntryFilter
    from bothost.pipeline.delivery import Delivery

    Phase = Literal["starting", "serving", "draining"]

_PROBE_S = 5.0
_COMMITTED_S = 10.0
_SLICE = 200
"""Bots between two turns of the loop; what ten thousand need in one go goes to a thread."""
_TROUBLE = ("config error", "plugin error", "quarantined", "stuck", "paused", "starting", "off", "active")
"""Of a bot's states on several processes the first of these is shown."""


class PluginView(msgspec.Struct, frozen=True):
    """An installed plugin, or one that cannot be used and why."""

    name: str
    distribution: str = ""
    version: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HostView:
    """What the operations look at; every callable gives what holds at this moment."""

    bots: Callable[[], Iterable[Bot]]
    reading: Callable[[], ConfigReading]
    gather: Callable[[], Awaitable[Sequence[MetricsSnapshot]]]
    """The reports of all processes (see `report`), this one's first."""
    phase: Callable[[], Phase]
    plugins: Callable[[], Sequence[PluginView]]
    """What is installed; it reads the disk, so it is called in a thread."""
    receive: Callable[[Delivery], None]
    journal_bytes: Callable[[], int | None]
    """Size of the embedded journal on disk; called in a thread. None: it is elsewhere."""
    waiting: Callable[[], Awaitable[Sequence[Entry]]]
    """What stands in line in the memory of all processes, and nowhere else."""
    cancel: Callable[[str], None]
    """Have every process end this entry, where it is at it."""
    kept: Callable[[], Mapping[str, str]] = dict
    """Bots whose newest section is not in service, and why; the empty name: the file or [host]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotView:
    """One bot as the page shows it, over all processes."""

    bot: Bot
    now: BotNow
    figures: BotFigures = field(default_factory=BotFigures)
    entries: Mapping[str, int] = field(default_factory=dict)
    """Its open and failed entries by state."""
    paused_tasks: Mapping[int, str] = field(default_factory=dict)
    """Tasks in which the loop breaker or an operator paused it, with the reason."""

    @property
    def name(self) -> str:
        """The section's name."""
        return self.bot.config.name

    @property
    def broken(self) -> bool:
        """Whether somebody should look at it."""
        return self.now.state not in ("active", "starting", "off")

    @property
    def refused(self) -> int:
        """Deliveries since the host started whose signature was none of this bot's."""
        return self.figures.outcomes.get("refused-signature", 0)

    def wants_a_look(self, now: float) -> bool:
        """Whether it serves, and something is wrong with it all the same."""
        return bool(self.refused or self.figures.blocked_s or self.figures.last_hour(now)[1])

    @property
    def version(self) -> str:
        """Of the plugin in service; "" where it is not loaded."""
        return self.bot.plugged.version if self.bot.plugged is not None else ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the host can take deliveries, and why not."""

    ready: bool
    phase: str
    journal: str
    """`ok`, or what is wrong with it."""
    bots: Mapping[str, int]
    """How many bots are in each state."""
    troubled: Mapping[str, str]
    """Bots that do not serve, each with its state."""


async def report(bots: Iterable[Bot], metrics: Metrics) -> MetricsSnapshot:
    """The figures of this process and how its bots stand, for `HostView.gather` and for the process that serves the page."""
    now: dict[str, BotNow] = {}
    running = 0
    for bot in bots:
        state, queue = bot.state, bot.queue
        now[bot.config.name] = BotNow(state.word, state.reason, state.since, queue.waiting, queue.held)
        running += queue.held
        if len(now) % _SLICE == 0:
            await asyncio.sleep(0)
    return msgspec.structs.replace(metrics.snapshot(), now=now, running=running)


class Operations:
    """Reads everything, and carries out what an operator asks; raises JournalError, which says why, where that is refused."""

    def __init__(self, host_view: HostView, journal: Journal, clock: Clock, version: str = "") -> None:
        self._sight = host_view
        self._journal = journal
        self._version = version
        self._committed = float("-inf")
        self.clock = clock
        self.receive = host_view.receive

    @property
    def reading(self) -> ConfigReading:
        """bots.ini as it was last read."""
        return self._sight.reading()

    @property
    def kept(self) -> Mapping[str, str]:
        """See `HostView.kept`."""
        return self._sight.kept()

    @property
    def phase(self) -> Phase:
        """Whether this process has started, or is about to end."""
        return self._sight.phase()

    def every_bot(self) -> Iterable[Bot]:
        """The bots of the registry in service now."""
        return self._sight.bots()

    def bot_named(self, name: str) -> Bot | None:
        """The bot of a name in service now."""
        return next((bot for bot in self._sight.bots() if bot.config.name == name), None)

    async def bots(self) -> list[BotView]:
        """Every bot: those in trouble first, then those whose runs fail, whose deliveries are signed otherwise or that block
        the loop, then the others, each by name."""
        snapshots = await self._sight.gather()
        entries, facts = await self._read_journal()
        bots = tuple(self._sight.bots())
        with self.clock.real_io():
            return await asyncio.to_thread(_views, bots, snapshots, entries, facts, self.clock.now().timestamp())

    async def bot(self, name: str) -> BotView | None:
        """One bot."""
        return next((view for view in await self.bots() if view.name == name), None)

    async def processes(self) -> Sequence[MetricsSnapshot]:
        """What each process reports of itself."""
        return [snapshot for snapshot in await self._sight.gather() if snapshot.process]

    async def deliveries(self, want: EntryFilter) -> Sequence[Entry]:
        """Entries of the journal, and of what stands in line in this host's memory; newest first."""
        waiting = await self._sight.waiting()
        return beside(waiting, await self._journal.list(want), want)

    async def waiting(self) -> Sequence[Entry]:
        """What stands in line in this host's memory."""
        return await self._sight.waiting()

    async def delivery(self, key: str) -> tuple[Entry, bytes | None] | None:
        """One entry and its body (None where it is not kept)."""
        waits = await self._in_line(key)
        entry = await self._journal.find(key) or waits
        return None if entry is None else (entry, await self._journal.body(key))

    async def _in_line(self, key: str) -> Entry | None:
        return next((entry for entry in await self._sight.waiting() if entry.id == key), None)

    async def retry(self, key: str, *, again: bool = False) -> Entry:
        """Run (or post) a failed event again; `again`: an answered one, as a new entry."""
        return await self._journal.retry(key, again=again)

    async def cancel(self, key: str) -> Entry:
        """End what waits, is parked or runs. The journal hears of it first: who claims it meanwhile learns it there."""
        waits = await self._in_line(key)
        entry = cancelled(waits, self.clock.now().timestamp()) if waits is not None else None
        if entry is None or not await self._journal.save(entry):
            entry = await self._journal.cancel(key)
        self._sight.cancel(key)
        return entry

    async def pause(self, bot: str, reason: str) -> None:
        """Let a bot's events wait: 503 while attempts are left, parked at the last one."""
        await self._journal.control(f"pause:{bot}", reason)

    async def resume(self, bot: str, task: int | None = None) -> None:
        """Take back a pause, of the bot or of one of its tasks; of the bot its quarantine too."""
        facts = [f"pause:{bot}:{task}"] if task is not None else [f"pause:{bot}", f"quarantine:{bot}"]
        there = await self._journal.controls()
        for fact in facts:
            if fact in there:
                await self._journal.control(fact, None)

    async def reload(self) -> None:
        """Have every process read bots.ini again."""
        await self._journal.control("generation", f"{self.clock.now().timestamp():.3f}")

    async def plugins(self) -> Sequence[PluginView]:
        """What is installed."""
        with self.clock.real_io():
            return await asyncio.to_thread(self._sight.plugins)

    async def ready(self) -> Readiness:
        """For /readyz and the page's head: a record was committed within 10 s, or one can be."""
        states = {bot.config.name: bot.state.word for bot in self._sight.bots()}
        tally: Counter[str] = Counter(states.values())
        counts = {word: tally[word] for word in STATES if word in tally}
        journal = await self._journal_state()
        phase = self.phase
        troubled = {name: word for name, word in states.items() if word not in ("active", "off")}
        return Readiness(phase == "serving" and journal == "ok", phase, journal, counts, troubled)

    async def host(self) -> tuple[Sequence[MetricsSnapshot], HostGauges]:
        """What a scrape shows."""
        snapshots = await self._sight.gather()
        entries: dict[str, int] = {}
        for counts in (await self._read_journal())[0].values():
            for state, count in counts.items():
                entries[state] = entries.get(state, 0) + count
        with self.clock.real_io():
            size = await asyncio.to_thread(self._sight.journal_bytes)
            gauges = await asyncio.to_thread(_gauges, snapshots)
        return snapshots, HostGauges(version=self._version, bots=gauges, journal_bytes=size, entries=entries)

    async def _read_journal(self) -> tuple[dict[str, dict[str, int]], Mapping[str, str] | None]:
        """Open and failed entries by bot, and the facts; nothing while the journal is away, for the page is wanted then too."""
        try:
            counts, facts = await self._journal.counts(), await self._journal.controls()
        except JournalAway:
            return {}, None
        entries: dict[str, dict[str, int]] = {}
        for (name, state), count in counts.items():
            entries.setdefault(name, {})[state] = count
        return entries, facts

    async def _journal_state(self) -> str:
        if self.phase == "starting":
            return "not open yet"
        now = self.clock.monotonic()
        if now - self._committed < _COMMITTED_S:
            return "ok"
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._journal.control("probe", f"{self.clock.now().timestamp():.3f}")
        except JournalAway as error:
            return str(error) or "cannot be written"
        except TimeoutError:
            return f"did not commit within {_PROBE_S:.0f} s"
        self._committed = self.clock.monotonic()
        return "ok"


def _views(
    bots: Sequence[Bot],
    snapshots: Sequence[MetricsSnapshot],
    entries: Mapping[str, Mapping[str, int]],
    facts: Mapping[str, str] | None,
    at: float,
) -> list[BotView]:
    figures = together(snapshots)
    views = [
        BotView(
            bot=bot,
            now=_stands(bot, snapshots, facts),
            figures=figures.get(bot.config.name) or BotFigures(),
            entries=entries.get(bot.config.name, {}),
            paused_tasks=_paused_tasks(facts or {}, bot.config.name),
        )
        for bot in bots
    ]
    return sorted(views, key=lambda view: (not view.broken, not view.wants_a_look(at), view.name))


def _stands(bot: Bot, snapshots: Sequence[MetricsSnapshot], facts: Mapping[str, str] | None) -> BotNow:
    """How the bot stands over all processes; a pause, or what an operator has undone, counts before they have read it."""
    name = bot.config.name
    nows = [snapshot.now[name] for snapshot in snapshots if name in snapshot.now]
    now = _worst(nows) if nows else BotNow(bot.state.word, bot.state.reason, bot.state.since)
    if facts is None:
        return now
    reason = facts.get(f"pause:{name}")
    if reason is not None and now.state in ("active", "starting"):
        return msgspec.structs.replace(now, state="paused", reason=reason, since=0.0)
    if reason is None and now.state == "paused":
        return msgspec.structs.replace(now, state="active", reason="", since=0.0)
    if now.state == "quarantined" and f"quarantine:{name}" not in facts:
        return msgspec.structs.replace(now, state="starting", reason="", since=0.0)
    return now


def _worst(nows: Sequence[BotNow]) -> BotNow:
    if len(nows) == 1:
        return nows[0]
    worst = min(nows, key=lambda now: _TROUBLE.index(now.state))
    return msgspec.structs.replace(
        worst, waiting=sum(now.waiting for now in nows), running=sum(now.running for now in nows)
    )


def _gauges(snapshots: Sequence[MetricsSnapshot]) -> tuple[BotGauge, ...]:
    by_name: dict[str, list[BotNow]] = {}
    for snapshot in snapshots:
        for name, now in snapshot.now.items():
            by_name.setdefault(name, []).append(now)
    worst = ((name, _worst(nows)) for name, nows in by_name.items())
    return tuple(BotGauge(name, now.state, now.waiting, now.running) for name, now in worst)


def _paused_tasks(facts: Mapping[str, str], bot: str) -> dict[int, str]:
    if not facts:
        return {}
    prefix = f"pause:{bot}:"
    tasks = ((key.removeprefix(prefix), reason) for key, reason in facts.items() if key.startswith(prefix))
    return {int(task): reason for task, reason in tasks if task.isdecimal()}
