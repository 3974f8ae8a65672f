"""What is counted, how it is shown to Prometheus, and what that costs."""

import asyncio
import subprocess
import sys
import time

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bothost.clock import SystemClock
from bothost.telemetry.metrics import BotFigures, Metrics, MetricsSnapshot
from bothost.telemetry.metrics.families import NAMES, BotGauge, HostGauges
from bothost.telemetry.metrics.prometheus import MOST_BOTS, MOST_HISTOGRAMS, Exposition


class Hand(SystemClock):
    """A clock turned by hand."""

    time = 100.0

    def monotonic(self) -> float:
        return self.time


def exposition(snapshots: list[MetricsSnapshot], host: HostGauges) -> Exposition:
    async def gather() -> tuple[list[MetricsSnapshot], HostGauges]:
        return snapshots, host

    return Exposition(gather, Hand())


def scrape(snapshots: list[MetricsSnapshot], host: HostGauges | None = None) -> dict[tuple[str, ...], float]:
    text = asyncio.run(exposition(snapshots, host or HostGauges()).text()).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(SystemClock())


def test_deliveries_are_counted_by_bot_and_outcome_and_by_status(metrics: Metrics) -> None:
    for word, status in [("replied", 200), ("replied", 200), ("late", 200), ("failed", 500)]:
        metrics.delivery("refunds", word, status, 0.02)
    metrics.delivery("", "path", 404, 0.0)
    got = scrape([metrics.snapshot()])
    assert got["bothost_deliveries_total", "refunds", "replied"] == 2
    assert got["bothost_deliveries_total", "refunds", "failed"] == 1
    assert got["bothost_deliveries_total", "", "path"] == 1
    assert (got["bothost_responses_total", "200"], got["bothost_responses_total", "404"]) == (3, 1)
    assert got["bothost_response_seconds_bucket", "0.025"] == 5
    assert got["bothost_response_seconds_bucket", "0.005"] == 1
    assert got["bothost_response_seconds_sum",] == pytest.approx(0.08)


def test_runs_and_waits_are_histograms_by_bot(metrics: Metrics) -> None:
    metrics.run("refunds", 0.3, failed=False)
    metrics.run("refunds", 70.0, failed=True)
    metrics.queue_wait("refunds", 0.002)
    got = scrape([metrics.snapshot()])
    assert got["bothost_handler_seconds_bucket", "refunds", "0.5"] == 1
    assert got["bothost_handler_seconds_count", "refunds"] == 2
    assert got["bothost_handler_failures_total", "refunds"] == 1
    assert got["bothost_queue_seconds_bucket", "refunds", "0.005"] == 1


def test_everything_else_has_its_metric(metrics: Metrics) -> None:
    metrics.post("refunds", "done")
    metrics.tick("refunds", "skipped")
    metrics.missed("refunds")
    metrics.call("https://api.pyrus.com bot@1", 429)
    metrics.limit("https://api.pyrus.com bot@1", 12)
    metrics.commit(0.002)
    metrics.loop_lag(0.02)
    metrics.blocked("refunds", 0.5)
    metrics.child_restart("refunds")
    metrics.reload("done")
    metrics.restarts({"1": 3})
    bots = (BotGauge("refunds", "active", 2, 1), BotGauge("relay", "plugin error"))
    got = scrape([metrics.snapshot()], HostGauges(version="1.2", bots=bots, journal_bytes=4096, entries={"failed": 5}))
    assert got["bothost_late_replies_total", "refunds", "done"] == 1
    assert got["bothost_timer_ticks_total", "refunds", "skipped"] == 1
    assert got["bothost_missed_events_total", "refunds"] == 1
    assert got["bothost_api_calls_total", "https://api.pyrus.com bot@1", "429"] == 1
    assert got["bothost_api_limit_remaining", "https://api.pyrus.com bot@1"] == 12
    assert got["bothost_journal_commit_seconds_count",] == 1
    assert got["bothost_loop_lag_seconds_count", "0"] == 1
    assert got["bothost_loop_lag_worst_seconds", "0"] == 0.02
    assert got["bothost_loop_blocked_seconds_total", "refunds"] == 0.5
    assert got["bothost_child_restarts_total", "refunds"] == 1
    assert got["bothost_reloads_total", "done"] == 1
    assert got["bothost_process_restarts_total", "1"] == 3
    assert (got["bothost_waiting", "refunds"], got["bothost_running", "refunds"]) == (2, 1)
    assert got["bothost_bot_state", "relay", "plugin error"] == 1
    assert (got["bothost_bots", "plugin error"], got["bothost_bots", "stuck"]) == (1, 0)
    assert (got["bothost_journal_bytes",], got["bothost_journal_entries", "failed"]) == (4096, 5)
    assert got["bothost_build_info", "1.2"] == 1


def test_the_table_of_names_is_what_a_scrape_shows(metrics: Metrics) -> None:
    text = asyncio.run(exposition([metrics.snapshot()], HostGauges(journal_bytes=1)).text()).decode()
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    suffixes = {"counter": "_total", "info": "_info"}
    assert shown == {name + suffixes.get(kind, "") for name, (kind, _) in NAMES.items()}


def test_processes_are_summed_and_their_lag_is_shown_apart() -> None:
    one, two = Metrics(SystemClock(), "0"), Metrics(SystemClock(), "1")
    for metrics in (one, two):
        metrics.delivery("refunds", "replied", 200, 0.01)
        metrics.run("refunds", 0.01, failed=False)
        metrics.loop_lag(0.02)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(two.snapshot()), type=MetricsSnapshot)
    got = scrape([one.snapshot(), sent])
    assert got["bothost_deliveries_total", "refunds", "replied"] == 2
    assert got["bothost_handler_seconds_count", "refunds"] == 2
    assert got["bothost_loop_lag_seconds_count", "0"] == got["bothost_loop_lag_seconds_count", "1"] == 1


def test_the_pieces_of_a_snapshot_are_the_whole(metrics: Metrics) -> None:
    for number in range(25):
        metrics.delivery(f"b{number}", "replied", 200, 0.01)
    metrics.loop_lag(0.02)
    whole = metrics.snapshot()
    pieces = list(whole.pieces(10))
    assert [len(piece.bots) for piece in pieces] == [10, 10, 5]
    assert scrape(pieces) == scrape([whole])


def test_labels_are_bounded_and_no_counter_falls(metrics: Metrics) -> None:
    for number in range(MOST_BOTS + 500):
        name = f"b{number}"
        for _ in range(2 if number >= MOST_BOTS else 1):
            metrics.delivery(name, "replied", 200, 0.01)
        metrics.run(name, 0.01, failed=False)
    shown = exposition([metrics.snapshot()], HostGauges())

    def values() -> dict[tuple[str, ...], float]:
        text = asyncio.run(shown.text()).decode()
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in ("bothost_deliveries_total", "bothost_handler_seconds_count")
        }

    first = values()
    assert sum(key[0] == "bothost_handler_seconds_count" for key in first) == MOST_HISTOGRAMS + 1
    assert sum(key[0] == "bothost_deliveries_total" for key in first) == MOST_BOTS + 1
    assert first["bothost_deliveries_total", "b2400", "replied"] == 2
    assert first["bothost_deliveries_total", "other", "replied"] == 500
    assert sum(value for key, value in first.items() if key[0] == "bothost_deliveries_total") == MOST_BOTS + 1_000


def test_accounts_are_bounded(metrics: Metrics) -> None:
    for number in range(500):
        metrics.call(f"account {number}", 200)
    assert len(metrics.snapshot().calls) == 201


def test_the_last_hour_is_kept_by_minutes() -> None:
    clock = Hand()
    metrics = Metrics(clock)
    metrics.run("refunds", 0.2, failed=True)
    metrics.run("refunds", 0.4, failed=False)
    (minute,) = metrics.figures("refunds").minutes
    assert (minute.runs, minute.failures, minute.slowest, minute.seconds) == (2, 1, 0.4, pytest.approx(0.6))
    assert metrics.figures("refunds").quantile(0.5) == 0.4
    metrics.run("refunds", 0.4, failed=False)
    later = BotFigures()
    for age in (0, 30, 61):
        later.begin(1_000 + age).runs += 1
    assert [minute.minute for minute in later.minutes] == [1_030, 1_061]
    assert metrics.figures("nobody").quantile(0.5) is None


def test_a_delivery_costs_a_few_microseconds_at_most(metrics: Metrics) -> None:
    def cost() -> float:
        began = time.process_time()
        for _ in range(10_000):
            metrics.delivery("refunds", "replied", 200, 0.003)
            metrics.run("refunds", 0.003, failed=False)
            metrics.queue_wait("refunds", 0.0)
        return (time.process_time() - began) / 10_000

    if sys.gettrace() is None:  # a tracer counts every line
        assert min(cost() for _ in range(5)) < 5e-6


def test_a_scrape_of_ten_thousand_bots_leaves_the_loop_alone(metrics: Metrics) -> None:
    for number in range(10_000):
        metrics.delivery(f"b{number}", "replied", 200, 0.01)
        metrics.run(f"b{number}", 0.01, failed=False)
    bots = tuple(BotGauge(f"b{number}", "active") for number in range(10_000))

    async def lag() -> float:
        loop = asyncio.get_running_loop()

        async def gather() -> tuple[list[MetricsSnapshot], HostGauges]:
            return [metrics.snapshot()], HostGauges(bots=bots)

        scraping = asyncio.ensure_future(Exposition(gather, Hand()).text())
        worst = 0.0
        while not scraping.done():
            due = loop.time() + 0.002
            await asyncio.sleep(0.002)
            worst = max(worst, loop.time() - due)
        return worst

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    try:
        # the least of three, because a busy machine holds the loop up too
        assert min(asyncio.run(lag()) for _ in range(3)) < 0.05
    finally:
        sys.setswitchinterval(interval)


def test_a_scrape_is_kept_for_five_seconds(metrics: Metrics) -> None:
    clock = Hand()
    asked = []

    async def gather() -> tuple[list[MetricsSnapshot], HostGauges]:
        asked.append(clock.time)
        return [metrics.snapshot()], HostGauges()

    async def scrapes() -> None:
        shown = Exposition(gather, clock)
        await asyncio.gather(shown.text(), shown.text())
        clock.time += 4.9
        await shown.text()
        clock.time += 0.2
        await shown.text()

    asyncio.run(scrapes())
    assert asked == [100.0, pytest.approx(105.1)]


def test_counting_does_not_import_prometheus_client() -> None:
    program = (
        "import sys; from bothost.telemetry.metrics import Metrics; from bothost.clock import SystemClock;"
        "Metrics(SystemClock()).delivery('a', 'replied', 200, 0.1); import bothost.telemetry.metrics.prometheus;"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
