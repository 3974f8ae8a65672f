"""Define plain counts that cost a delivery about a microsecond, and the snapshot of them that processes send each other.

The garbage collector does not track the structs, which hold no cycles, because a pass over those of 10,000 bots would hold the
loop for 80 ms.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

K = TypeVar("K")

HANDLER_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 120.0, 300.0, 900.0)
QUEUE_S = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 300.0)
COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
RING_MINUTES = 60
_RECENT_RUNS = 50


class Histogram(msgspec.Struct, gc=False):
    """Counts by upper bound (the last one is above all bounds), and the sum of the observed values."""

    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    @classmethod
    def of(cls, bounds: tuple[float, ...]) -> Histogram:
        """Return an empty one."""
        return cls(bounds, [0] * (len(bounds) + 1))

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, other: Histogram) -> None:
        """Count what another process counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def count(self) -> int:
        """Return the number of values."""
        return sum(self.counts)


class MinuteFigures(msgspec.Struct, gc=False):
    """Counts of one bot within one minute, for the page's charts."""

    minute: int
    """Minutes since 1970, UTC."""
    deliveries: int = 0
    runs: int = 0
    failures: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    refused: int = 0
    """The number of deliveries with a wrong signature."""

    def add(self, other: MinuteFigures) -> None:
        """Count what another process did in the same minute."""
        self.deliveries += other.deliveries
        self.runs += other.runs
        self.failures += other.failures
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.refused += other.refused


class BotFigures(msgspec.Struct, gc=False):
    """Counts of one bot since the start of its process."""

    outcomes: dict[str, int] = msgspec.field(default_factory=dict)
    posts: dict[str, int] = msgspec.field(default_factory=dict)
    ticks: dict[str, int] = msgspec.field(default_factory=dict)
    jobs: dict[str, int] = msgspec.field(default_factory=dict)
    hooks: dict[str, int] = msgspec.field(default_factory=dict)
    """The numbers of requests by a hook's name, a blank and the outcome."""
    missed: int = 0
    handler: Histogram = msgspec.field(default_factory=lambda: Histogram.of(HANDLER_S))
    queue: Histogram = msgspec.field(default_factory=lambda: Histogram.of(QUEUE_S))
    failures: int = 0
    child_restarts: int = 0
    blocked_s: float = 0.0
    last_delivery: float = 0.0
    """The time of the last delivery in epoch seconds; 0 if there was none yet."""
    recent: list[float] = msgspec.field(default_factory=list)
    """The newest run times in seconds."""
    minutes: list[MinuteFigures] = msgspec.field(default_factory=list)
    """The minutes of the last hour, oldest first. Minutes in which nothing happened are missing."""

    def ran(self, seconds: float) -> None:
        """Keep a run time among the newest."""
        self.recent.append(seconds)
        del self.recent[:-_RECENT_RUNS]

    def begin(self, minute: int) -> MinuteFigures:
        """Begin to count a minute, and drop minutes older than an hour."""
        ring = self.minutes
        ring.append(MinuteFigures(minute))
        while ring[0].minute <= minute - RING_MINUTES:
            del ring[0]
        return ring[-1]

    def add(self, other: BotFigures) -> None:
        """Count what another process did for the same bot."""
        counts = (
            (self.outcomes, other.outcomes),
            (self.posts, other.posts),
            (self.ticks, other.ticks),
            (self.jobs, other.jobs),
            (self.hooks, other.hooks),
        )
        for mine, theirs in counts:
            add_counts(mine, theirs)
        self.handler.add(other.handler)
        self.queue.add(other.queue)
        self.missed += other.missed
        self.failures += other.failures
        self.child_restarts += other.child_restarts
        self.blocked_s += other.blocked_s
        self.last_delivery = max(self.last_delivery, other.last_delivery)
        self.recent = self.recent + other.recent
        self.minutes = _merged(self.minutes, other.minutes)

    def last_hour(self, now: float) -> tuple[int, int]:
        """Return deliveries and failed runs of the hour before `now` (epoch seconds)."""
        since = int(now // 60) - RING_MINUTES
        minutes = [one for one in self.minutes if one.minute > since]
        return sum(one.deliveries for one in minutes), sum(one.failures for one in minutes)

    def refused_last_hour(self, now: float) -> int:
        """Return the deliveries with a wrong signature in the hour before `now` (epoch seconds)."""
        since = int(now // 60) - RING_MINUTES
        return sum(one.refused for one in self.minutes if one.minute > since)

    @property
    def deliveries(self) -> int:
        """Return all deliveries that were answered."""
        return sum(self.outcomes.values())

    def quantile(self, share: float) -> float | None:
        """Return the run time that this share of the newest runs stayed under; None before the first run."""
        if not self.recent:
            return None
        ordered = sorted(self.recent)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _merged(mine: list[MinuteFigures], theirs: list[MinuteFigures]) -> list[MinuteFigures]:
    by_minute = {one.minute: msgspec.structs.replace(one) for one in mine}
    for one in theirs:
        if known := by_minute.get(one.minute):
            known.add(one)
        else:
            by_minute[one.minute] = msgspec.structs.replace(one)
    return [by_minute[minute] for minute in sorted(by_minute)][-RING_MINUTES:]


class BotNow(msgspec.Struct, frozen=True, gc=False):
    """The state of one bot on one process at this moment."""

    state: str
    reason: str = ""
    since: float = 0.0
    waiting: int = 0
    running: int = 0
    version: str = ""
    """The version of the plugin that runs here."""
    trace: str = ""
    """The traceback of the plugin, where an exception of its own is the reason."""


class MetricsSnapshot(msgspec.Struct):
    """All figures of one process; msgpack carries it to the process that serves the page.

    In the process itself they are the living figures, which go on growing, because to copy those of 10,000 bots takes 80 ms.
    """

    process: str = "0"
    """The process's number. It is empty in further pieces of a snapshot, which hold no figures of the process itself."""
    started: float = 0.0
    bots: dict[str, BotFigures] = msgspec.field(default_factory=dict)
    now: dict[str, BotNow] = msgspec.field(default_factory=dict)
    """The state of each bot of the registry. The code that reports for the process fills it."""
    statuses: dict[int, int] = msgspec.field(default_factory=dict)
    response: Histogram = msgspec.field(default_factory=lambda: Histogram.of(HANDLER_S))
    commit: Histogram = msgspec.field(default_factory=lambda: Histogram.of(COMMIT_S))
    lag: Histogram = msgspec.field(default_factory=lambda: Histogram.of(LAG_S))
    lag_worst: float = 0.0
    """The worst lag of the last minute or two."""
    calls: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    limits: dict[str, float] = msgspec.field(default_factory=dict)
    reloads: dict[str, int] = msgspec.field(default_factory=dict)
    restarts: dict[str, int] = msgspec.field(default_factory=dict)
    loop_restarts: dict[str, int] = msgspec.field(default_factory=dict)
    log_dropped: int = 0
    running: int = 0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    open_files: int = 0

    def outlive(self, other: MetricsSnapshot) -> None:
        """Add the counts of an ended process. Its state and its newest run times are dropped."""
        for name, figures in other.bots.items():
            mine = self.bots.setdefault(name, BotFigures())
            mine.add(figures)
            mine.recent.clear()
        for account, counts in other.calls.items():
            add_counts(self.calls.setdefault(account, {}), counts)
        add_counts(self.statuses, other.statuses)
        add_counts(self.reloads, other.reloads)
        self.response.add(other.response)
        self.commit.add(other.commit)
        self.log_dropped += other.log_dropped

    def pieces(self, bots: int = 500) -> Iterator[MetricsSnapshot]:
        """Yield the same figures in parts, because to decode ten thousand bots at once would hold the loop."""
        names = list({**self.now, **self.bots})
        parts = [names[first : first + bots] for first in range(0, len(names), bots)] or [[]]
        for number, part in enumerate(parts):
            piece = self if number == 0 else MetricsSnapshot(process="")
            yield msgspec.structs.replace(
                piece,
                bots={name: self.bots[name] for name in part if name in self.bots},
                now={name: self.now[name] for name in part if name in self.now},
            )


def add_counts(mine: dict[K, int], theirs: Mapping[K, int]) -> None:
    """Add counts key by key."""
    for key, count in theirs.items():
        mine[key] = mine.get(key, 0) + count


def together(snapshots: Iterable[MetricsSnapshot]) -> dict[str, BotFigures]:
    """Return each bot's figures over all processes. Those of a bot that only one process knows are not copied."""
    bots: dict[str, BotFigures] = {}
    ours: set[str] = set()
    for snapshot in snapshots:
        for name, figures in snapshot.bots.items():
            known = bots.setdefault(name, figures)
            if known is figures:
                continue
            if name not in ours:
                ours.add(name)
                bots[name] = BotFigures()
                bots[name].add(known)
            bots[name].add(figures)
    return bots
