"""Define every metric of the host: its name, its meaning, and how it is computed from the figures."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bothost.telemetry.metrics.counters import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from bothost.telemetry.metrics.counters import BotFigures, MetricsSnapshot

    Label = Callable[[str], str]

T = TypeVar("T")
_PIECE = 100


class BotGauge(msgspec.Struct, frozen=True):
    """The state of one bot at this moment."""

    name: str
    state: str
    waiting: int = 0
    running: int = 0


class HostGauges(msgspec.Struct, frozen=True, kw_only=True):
    """The values that the host knows at this moment besides its figures."""

    version: str = ""
    bots: tuple[BotGauge, ...] = ()
    journal_bytes: int | None = None
    ready: bool = False
    oldest_parked_s: float = 0.0
    oldest_unposted_s: float = 0.0
    entries: Mapping[str, int] = msgspec.field(default_factory=dict)
    """The numbers of open and failed entries of the journal by state."""


STATES = ("starting", "active", "off", "config error", "plugin error", "stuck", "quarantined", "paused", "elsewhere")

NAMES = {
    "bothost_deliveries": ("counter", "Deliveries answered or refused, by bot and outcome."),
    "bothost_responses": ("counter", "HTTP responses to deliveries, by status."),
    "bothost_response_seconds": ("histogram", "From a delivery's headers to its answer."),
    "bothost_handler_seconds": ("histogram", "How long handlers and timers ran."),
    "bothost_handler_failures": ("counter", "Runs that failed."),
    "bothost_queue_seconds": ("histogram", "How long events waited for their turn and a permit."),
    "bothost_waiting": ("gauge", "Events that wait for their turn or a permit."),
    "bothost_running": ("gauge", "Runs under way."),
    "bothost_late_replies": ("counter", "Tries to post late replies, by result."),
    "bothost_timer_ticks": ("counter", "Ticks of timers, by result."),
    "bothost_missed_events": ("counter", "Events that no webhook brought, found by catching up."),
    "bothost_jobs": ("counter", "Runs of jobs, by result."),
    "bothost_hooks": ("counter", "Requests to hooks, by hook and outcome."),
    "bothost_bot_state": ("gauge", "1 for the state a bot is in."),
    "bothost_bots": ("gauge", "Bots by state."),
    "bothost_loop_blocked_seconds": ("counter", "For how long a bot held the event loop, as the watchdog saw it."),
    "bothost_child_restarts": ("counter", "Children of bots that ended and were replaced."),
    "bothost_api_calls": ("counter", "Requests to the Pyrus API, by account and status."),
    "bothost_api_limit_remaining": ("gauge", "Requests that the account's rate limit leaves."),
    "bothost_loop_lag_seconds": ("histogram", "How late the event loop was, by process."),
    "bothost_loop_lag_worst_seconds": ("gauge", "The worst lag of the last minute or two, by process."),
    "bothost_process_running": ("gauge", "Runs under way, by process."),
    "bothost_process_start_time_seconds": ("gauge", "When a process started, seconds since 1970."),
    "bothost_process_restarts": ("counter", "Worker processes that ended and were started again."),
    "bothost_loop_restarts": ("counter", "Loops of the host that failed and were started again, by loop."),
    "bothost_reloads": ("counter", "Reloads of bots.ini, by result."),
    "bothost_journal_commit_seconds": ("histogram", "How long commits of the journal took."),
    "bothost_journal_bytes": ("gauge", "Size of the embedded journal on disk."),
    "bothost_journal_entries": ("gauge", "Open and failed entries of the journal, by state."),
    "bothost_log_lines_dropped": ("counter", "Log lines that nobody read in time."),
    "bothost_ready": ("gauge", "1 while deliveries can be accepted, as /readyz says."),
    "bothost_oldest_parked_seconds": ("gauge", "Age of the oldest parked event; 0 without one."),
    "bothost_oldest_unposted_seconds": ("gauge", "Age of the oldest reply that is not posted yet; 0 without one."),
    "process_cpu_seconds": ("counter", "Processor time, by process."),
    "process_resident_memory_bytes": ("gauge", "Memory, by process."),
    "process_open_fds": ("gauge", "Open files, by process."),
    "bothost_build": ("info", "The version that runs."),
}
"""Each metric's name (without prometheus's own suffix), type and meaning. Docs and dashboards are checked against this table."""

PER_BOT = frozenset(["bothost_handler_seconds", "bothost_queue_seconds"])
"""The histograms with a bot label. Beyond 200 bots only the busiest keep it."""


def families(
    snapshots: Sequence[MetricsSnapshot], host: HostGauges, bots: Mapping[str, BotFigures], labels: tuple[Label, Label]
) -> Iterator[Metric]:
    """Yield all metrics, each in pieces of 100 label sets, so that rendering leaves the garbage collector few objects.

    `labels` are two functions that give a bot's label, one for counters and one for histograms.
    """
    counters, histograms = labels
    yield from _per_bot_counters(bots, counters)
    yield from _hooks(bots, counters)
    yield from _per_bot_histograms(bots, histograms)
    yield from _bots_now(host, counters)
    yield from _processes(snapshots)
    yield from _sums(snapshots)
    yield from _host(snapshots, host)


def _per_bot_counters(bots: Mapping[str, BotFigures], label: Label) -> Iterator[Metric]:
    for name, key, attribute in (
        ("bothost_deliveries", "outcome", "outcomes"),
        ("bothost_late_replies", "result", "posts"),
        ("bothost_timer_ticks", "result", "ticks"),
        ("bothost_jobs", "result", "jobs"),
    ):
        pairs: Counter[tuple[str, ...]] = Counter()
        for bot, figures in bots.items():
            for word, count in tuple(getattr(figures, attribute).items()):
                pairs[label(bot), word] += count
        yield from _counter(name, ("bot", key), pairs.items())
    for name, attribute in (
        ("bothost_handler_failures", "failures"),
        ("bothost_missed_events", "missed"),
        ("bothost_child_restarts", "child_restarts"),
        ("bothost_loop_blocked_seconds", "blocked_s"),
    ):
        sums: dict[tuple[str, ...], float] = {}
        for bot, figures in bots.items():
            if value := getattr(figures, attribute):
                sums[label(bot),] = sums.get((label(bot),), 0) + value
        yield from _counter(name, ("bot",), sums.items())


def _hooks(bots: Mapping[str, BotFigures], label: Label) -> Iterator[Metric]:
    hooks: Counter[tuple[str, ...]] = Counter()
    for bot, figures in bots.items():
        for word, count in tuple(figures.hooks.items()):
            hooks[label(bot), *word.split(" ", 1)] += count
    yield from _counter("bothost_hooks", ("bot", "hook", "outcome"), hooks.items())


def _per_bot_histograms(bots: Mapping[str, BotFigures], label: Label) -> Iterator[Metric]:
    for name, attribute in (("bothost_handler_seconds", "handler"), ("bothost_queue_seconds", "queue")):
        sums: dict[tuple[str, ...], Histogram] = {}
        for bot, figures in bots.items():
            histogram: Histogram = getattr(figures, attribute)
            if histogram.count:
                sums.setdefault((label(bot),), Histogram.of(histogram.bounds)).add(histogram)
        yield from _histogram(name, ("bot",), sums.items())


def _bots_now(host: HostGauges, label: Label) -> Iterator[Metric]:
    waiting: Counter[tuple[str, ...]] = Counter()
    running: Counter[tuple[str, ...]] = Counter()
    states: dict[tuple[str, ...], float] = {}
    by_state: Counter[tuple[str, ...]] = Counter({(state,): 0 for state in STATES})
    for bot in host.bots:
        name = label(bot.name)
        waiting[name,] += bot.waiting
        running[name,] += bot.running
        by_state[bot.state,] += 1
        if name == bot.name:
            states[name, bot.state] = 1
    yield from _gauge("bothost_waiting", ("bot",), waiting.items())
    yield from _gauge("bothost_running", ("bot",), running.items())
    yield from _gauge("bothost_bot_state", ("bot", "state"), states.items())
    yield from _gauge("bothost_bots", ("state",), by_state.items())


def _processes(snapshots: Sequence[MetricsSnapshot]) -> Iterator[Metric]:
    by_process = [((snapshot.process,), snapshot) for snapshot in snapshots if snapshot.process]
    yield from _histogram("bothost_loop_lag_seconds", ("process",), [(key, one.lag) for key, one in by_process])
    yield from _gauge("bothost_loop_lag_worst_seconds", ("process",), [(key, one.lag_worst) for key, one in by_process])
    yield from _counter("process_cpu_seconds", ("process",), [(key, one.cpu_s) for key, one in by_process])
    yield from _gauge(
        "process_resident_memory_bytes", ("process",), [(key, one.memory_bytes) for key, one in by_process]
    )
    yield from _gauge("process_open_fds", ("process",), [(key, one.open_files) for key, one in by_process])
    yield from _gauge("bothost_process_running", ("process",), [(key, one.running) for key, one in by_process])
    yield from _gauge(
        "bothost_process_start_time_seconds", ("process",), [(key, one.started) for key, one in by_process]
    )


def _sums(snapshots: Sequence[MetricsSnapshot]) -> Iterator[Metric]:
    statuses: Counter[tuple[str, ...]] = Counter()
    calls: Counter[tuple[str, ...]] = Counter()
    reloads: Counter[tuple[str, ...]] = Counter()
    loops: Counter[tuple[str, ...]] = Counter()
    restarts: dict[tuple[str, ...], float] = {}
    limits: dict[tuple[str, ...], float] = {}
    for snapshot in snapshots:
        statuses.update({(str(status),): count for status, count in tuple(snapshot.statuses.items())})
        reloads.update({(result,): count for result, count in tuple(snapshot.reloads.items())})
        loops.update({(loop,): count for loop, count in tuple(snapshot.loop_restarts.items())})
        restarts.update({(process,): count for process, count in snapshot.restarts.items()})
        for account, counts in tuple(snapshot.calls.items()):
            calls.update({(account, status): count for status, count in tuple(counts.items())})
        for account, left in tuple(snapshot.limits.items()):
            limits[account,] = min(left, limits.get((account,), left))
    yield from _counter("bothost_responses", ("status",), statuses.items())
    yield from _counter("bothost_api_calls", ("account", "status"), calls.items())
    yield from _gauge("bothost_api_limit_remaining", ("account",), limits.items())
    yield from _counter("bothost_loop_restarts", ("loop",), loops.items())
    yield from _counter("bothost_reloads", ("result",), reloads.items())
    yield from _counter("bothost_process_restarts", ("process",), restarts.items())


def _host(snapshots: Sequence[MetricsSnapshot], host: HostGauges) -> Iterator[Metric]:
    from prometheus_client.core import InfoMetricFamily

    for name, attribute in (("bothost_response_seconds", "response"), ("bothost_journal_commit_seconds", "commit")):
        histograms: list[Histogram] = [getattr(snapshot, attribute) for snapshot in snapshots]
        if histograms:
            total = Histogram.of(histograms[0].bounds)
            for histogram in histograms:
                total.add(histogram)
            yield from _histogram(name, (), [((), total)])
    yield from _counter("bothost_log_lines_dropped", (), [((), sum(snapshot.log_dropped for snapshot in snapshots))])
    yield from _gauge("bothost_ready", (), [((), int(host.ready))])
    yield from _gauge("bothost_oldest_parked_seconds", (), [((), host.oldest_parked_s)])
    yield from _gauge("bothost_oldest_unposted_seconds", (), [((), host.oldest_unposted_s)])
    if host.journal_bytes is not None:
        yield from _gauge("bothost_journal_bytes", (), [((), host.journal_bytes)])
    yield from _gauge(
        "bothost_journal_entries", ("state",), [((state,), count) for state, count in host.entries.items()]
    )
    yield InfoMetricFamily("bothost_build", NAMES["bothost_build"][1], value={"version": host.version})


def _counter(name: str, labels: tuple[str, ...], series: Iterable[tuple[tuple[str, ...], float]]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    for piece in _pieces(series):
        family = CounterMetricFamily(name, NAMES[name][1], labels=labels)
        for values, count in piece:
            family.add_metric(values, count)
        yield family


def _gauge(name: str, labels: tuple[str, ...], series: Iterable[tuple[tuple[str, ...], float]]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    for piece in _pieces(series):
        family = GaugeMetricFamily(name, NAMES[name][1], labels=labels)
        for values, value in piece:
            family.add_metric(values, value)
        yield family


def _histogram(
    name: str, labels: tuple[str, ...], series: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily

    for piece in _pieces(series):
        family = HistogramMetricFamily(name, NAMES[name][1], labels=labels)
        for values, histogram in piece:
            family.add_metric(values, _buckets(histogram), histogram.total)
        yield family


def _pieces(series: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """Yield parts of at most 100, and one empty part if there is nothing, because its name shows that the metric exists."""
    rest = iter(series)
    piece = tuple(islice(rest, _PIECE))
    yield piece
    while piece := tuple(islice(rest, _PIECE)):
        yield piece


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return Prometheus's buckets, each of which counts everything up to its bound."""
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        below += count
        buckets.append((bound, below))
    return buckets
