"""Read and change everything that an operator may: bots, deliveries, plugins, configuration. Page and metrics use nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from bothost.errors import JournalAway, JournalError
from bothost.journal.moving import without_bot
from bothost.journal.transitions import cancelled
from bothost.operator.bot_views import JournalView, gauges_of, views_of
from bothost.operator.bulk import without_login
from bothost.operator.harm import read_failures
from bothost.operator.manual_tick import run_tick
from bothost.operator.past_figures import PastFigures
from bothost.operator.presence import ProcessPresence, presences, restart_trouble, restarted
from bothost.operator.resources import oldest_of, used
from bothost.operator.waiting import beside
from bothost.telemetry.metrics import BotNow, Metrics, MetricsSnapshot
from bothost.telemetry.metrics.families import STATES, HostGauges

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.config import ConfigReading
    from bothost.journal import Journal
    from bothost.journal.entry import Entry, EntryFilter
    from bothost.operator.harm import BotView, RecentFailures
    from bothost.operator.manual_tick import TickReport
    from bothost.pipeline.delivery import Delivery

    Phase = Literal["starting", "serving", "draining"]

_PROBE_S = 5.0
_COMMITTED_S = 10.0
RESTART_S = 20.0
"""How long a restart of a bot is waited for."""
_FAILURES_S = 2.0
"""The seconds for which the failures of the last hour are kept before the journal is asked again."""
_SLICE = 200
"""The number of bots that are read between two turns of the loop. Work over all of them goes to a thread, because there may be 10,000."""


class PluginView(msgspec.Struct, frozen=True):
    """An installed plugin, and why it cannot be used if it cannot."""

    name: str
    distribution: str = ""
    version: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HostView:
    """The host as the operations see it. Every callable returns what holds at this moment."""

    bots: Callable[[], Iterable[Bot]]
    reading: Callable[[], ConfigReading]
    gather: Callable[[], Awaitable[Sequence[MetricsSnapshot]]]
    """Return the reports of all processes (see `report`), this one's first."""
    phase: Callable[[], Phase]
    plugins: Callable[[], Sequence[PluginView]]
    """Return the installed plugins. It reads the disk, so it is called in a thread."""
    receive: Callable[[Delivery], None]
    journal_bytes: Callable[[], int | None]
    """Return the size of the embedded journal on disk, None for PostgreSQL. Called in a thread."""
    waiting: Callable[[], Awaitable[Sequence[Entry]]]
    """Return the events that wait in the memory of all processes and are not in the journal yet."""
    cancel: Callable[[str], None]
    """Have every process end this entry if it works on it."""
    listener: Callable[[], str] = lambda: "ok"
    """Return `ok`, or the reason why this process accepts no connection."""
    kept: Callable[[], Mapping[str, str]] = dict
    """Return the bots whose newest section is not in service, and why. The empty name means the file or [host]."""
    loops_down: Callable[[], Mapping[str, str]] = dict
    """Return the loops of all processes that have failed and do not go on yet, with the fault of each."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of /readyz: whether the host can take deliveries, and the reason if not."""

    ready: bool
    phase: str
    journal: str
    """`ok`, or the problem."""
    listener: str
    """`ok`, or the problem."""
    bots: Mapping[str, int]
    """The number of bots in each state."""
    troubled: Mapping[str, str]
    """The bots that do not serve, each with its state."""
    loops_down: Mapping[str, str]
    """Loops of the host that have failed and do not go on yet, each with its fault."""


async def report(bots: Iterable[Bot], metrics: Metrics) -> MetricsSnapshot:
    """Return the figures of this process and the states of its bots, for `HostView.gather`."""
    now: dict[str, BotNow] = {}
    running = 0
    for bot in bots:
        state, queue = bot.state, bot.queue
        now[bot.config.name] = BotNow(
            state.word, state.reason, state.since, queue.waiting, queue.held, bot.version, state.trace
        )
        running += queue.held
        if len(now) % _SLICE == 0:
            await asyncio.sleep(0)
    return msgspec.structs.replace(metrics.snapshot(), now=now, running=running, **used())


class Operations:
    """Reads everything and carries out what an operator asks. Raises JournalError with the reason if that is refused."""

    def __init__(self, host_view: HostView, journal: Journal, clock: Clock, version: str = "") -> None:
        self._host = host_view
        self._journal = journal
        self._version = version
        self._committed = float("-inf")
        self._failures: tuple[float, Mapping[str, RecentFailures]] = (float("-inf"), {})
        self._past = PastFigures(journal, clock)
        self.clock = clock
        self.receive = host_view.receive

    @property
    def reading(self) -> ConfigReading:
        """Return bots.ini as it was last read."""
        return self._host.reading()

    @property
    def kept(self) -> Mapping[str, str]:
        """See `HostView.kept`."""
        return self._host.kept()

    @property
    def phase(self) -> Phase:
        """Return whether this process starts, serves or ends."""
        return self._host.phase()

    def every_bot(self) -> Iterable[Bot]:
        """Return the bots in service now."""
        return self._host.bots()

    def bot_named(self, name: str) -> Bot | None:
        """Return the bot of this name in service now."""
        return next((bot for bot in self._host.bots() if bot.config.name == name), None)

    async def bots(self) -> list[BotView]:
        """Return every bot, those that do most harm first: see `harm`."""
        snapshots = await self._host.gather()
        past = await self._past.read(snapshots[0].started)
        seen = JournalView(*await self._read_journal(), await self._recent_failures(), past)
        bots = tuple(self._host.bots())
        with self.clock.real_io():
            return await asyncio.to_thread(views_of, bots, snapshots, seen, self.clock.now().timestamp())

    async def _recent_failures(self) -> Mapping[str, RecentFailures]:
        """Return the failures of the last hour by bot; the last known ones while the journal is away."""
        now = self.clock.monotonic()
        if now - self._failures[0] >= _FAILURES_S:
            with contextlib.suppress(JournalAway):
                found = await read_failures(self._journal.list, self._journal.now())
                self._failures = (now, found)
        return self._failures[1]

    async def without_bot(self) -> Mapping[str, int]:
        """Return how many open events there are of each bot that is not in bots.ini."""
        try:
            counts = await self._journal.counts()
        except JournalAway:
            return {}
        return without_bot(counts, {bot.config.name for bot in self._host.bots()})

    async def bot(self, name: str) -> BotView | None:
        """Return one bot; None if there is none of this name."""
        return next((view for view in await self.bots() if view.name == name), None)

    async def processes(self) -> Sequence[MetricsSnapshot]:
        """Return what each process reports of itself."""
        return [snapshot for snapshot in await self._host.gather() if snapshot.process]

    async def everywhere(self) -> Sequence[tuple[ProcessPresence, float]]:
        """Return all processes of all hosts on the journal, each with the seconds for which it has said nothing; none while the
        journal is away."""
        with contextlib.suppress(JournalAway):
            now = self._journal.now()
            return [(one, max(now - one.at, 0.0)) for one in presences(await self._journal.controls(), now)]
        return ()

    async def deliveries(self, want: EntryFilter) -> Sequence[Entry]:
        """Return entries of the journal and those that wait in this host's memory, newest first."""
        waiting = await self._host.waiting()
        return beside(waiting, await self._journal.list(want), want)

    async def waiting(self) -> Sequence[Entry]:
        """Return the events that wait in this host's memory."""
        return await self._host.waiting()

    async def delivery(self, key: str) -> tuple[Entry, bytes | None] | None:
        """Return one entry and its body, which is None if it is not kept."""
        waits = await self._in_line(key)
        entry = await self._journal.find(key) or waits
        return None if entry is None else (entry, await self._journal.body(key))

    async def find(self, key: str) -> Entry | None:
        """Return one entry of the journal."""
        return await self._journal.find(key)

    async def without_login(self) -> frozenset[str]:
        """Return the bots for which no login is set or learnt: no reply of theirs can be posted by a retry."""
        sections = ((bot.name, bot.config.login or bot.login) for bot in self._host.bots())
        return without_login(sections, await self._journal.controls())

    async def _in_line(self, key: str) -> Entry | None:
        return next((entry for entry in await self._host.waiting() if entry.id == key), None)

    async def retry(self, key: str, who: str, *, again: bool = False, revision: int = 0) -> Entry:
        """Run (or post) a failed event again for this operator; `again`: an answered one, as a new entry."""
        return await self._journal.retry(key, again=again, who=who, revision=revision)

    async def cancel(self, key: str, who: str) -> Entry:
        """End an event that waits, is parked or runs. The journal is told first, so that a process that claims it meanwhile learns it."""
        waits = await self._in_line(key)
        entry = cancelled(waits, self._journal.now(), who) if waits is not None else None
        if entry is None or not await self._journal.save(entry):
            entry = await self._journal.cancel(key, who)
        self._host.cancel(key)
        return entry

    async def tick(self, bot: Bot, timer: str, due: datetime, scrub: Callable[[str], str]) -> TickReport:
        """Run a timer of a bot once and return what became of it."""
        return await run_tick(self._journal, bot.config, timer, due, scrub)

    async def pause(self, bot: str, reason: str) -> None:
        """Let a bot's events wait: 503 while attempts are left, parked at the last one."""
        await self._journal.control(f"pause:{bot}", reason)

    async def restart(self, bot: str, who: str) -> None:
        """Have every process close the bot's plugin and open it anew. Raises JournalError with what went wrong."""
        if trouble := restart_trouble(bot, *await restarted(self._journal, bot, who, RESTART_S)):
            raise JournalError(trouble)

    async def resume(self, bot: str, task: int | None = None) -> None:
        """End a pause of one of the bot's tasks, or the bot's own pause and quarantine."""
        facts = [f"pause:{bot}:{task}"] if task is not None else [f"pause:{bot}", f"quarantine:{bot}"]
        there = await self._journal.controls()
        for fact in facts:
            if fact in there:
                await self._journal.control(fact, None)

    def now(self) -> float:
        """Return the journal's time, by which its entries are dated. This machine's clock may be another."""
        return self._journal.now()

    async def reload(self) -> None:
        """Have every process read bots.ini again."""
        await self._journal.control("generation", f"{self._journal.now():.6f}")

    async def plugins(self) -> Sequence[PluginView]:
        """Return the installed plugins."""
        with self.clock.real_io():
            return await asyncio.to_thread(self._host.plugins)

    async def ready(self) -> Readiness:
        """Return whether the host is ready: it serves, and a record was committed within 10 s or can be."""
        states = {bot.config.name: bot.state.word for bot in self._host.bots()}
        tally: Counter[str] = Counter(states.values())
        counts = {word: tally[word] for word in STATES if word in tally}
        journal = await self._journal_state()
        phase = self.phase
        troubled = {name: word for name, word in states.items() if word not in ("active", "off", "elsewhere")}
        down = self._host.loops_down()
        listener = self._host.listener()
        ready = phase == "serving" and journal == listener == "ok" and not down
        return Readiness(ready, phase, journal, listener, counts, troubled, down)

    async def host(self) -> tuple[Sequence[MetricsSnapshot], HostGauges]:
        """Return what a scrape shows."""
        snapshots = await self._host.gather()
        entries: dict[str, int] = {}
        for counts in (await self._read_journal())[0].values():
            for state, count in counts.items():
                entries[state] = entries.get(state, 0) + count
        with self.clock.real_io():
            size = await asyncio.to_thread(self._host.journal_bytes)
            gauges = await asyncio.to_thread(gauges_of, snapshots)
        parked, unposted = await self._ages()
        return snapshots, HostGauges(
            version=self._version,
            bots=gauges,
            journal_bytes=size,
            entries=entries,
            ready=(await self.ready()).ready,
            oldest_parked_s=parked,
            oldest_unposted_s=unposted,
        )

    async def _ages(self) -> tuple[float, float]:
        """Return the ages of the oldest parked event and of the oldest unposted reply; 0 while the journal is away."""
        now = self._journal.now()
        try:
            return await oldest_of(self._journal.list, "parked", now), await oldest_of(
                self._journal.list, "posting", now
            )
        except JournalAway:
            return 0.0, 0.0

    async def _read_journal(self) -> tuple[dict[str, dict[str, int]], Mapping[str, str] | None]:
        """Return open and failed entries by bot, and the facts. Both are empty while the journal is away, because the page must work then."""
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
        if damage := self._journal.damage():
            return damage
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
