"""Count what the host does. `assembly.py` makes `Metrics`, and prometheus_client is imported only for rendering.

Nothing here decides anything. All methods belong to the loop's thread but `commit`, which belongs to the journal's writer. Start
reading at `Metrics` below; `families.py` names every metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bothost.telemetry.metrics.counters import BotFigures, BotNow, Histogram, MetricsSnapshot, MinuteFigures, together

if TYPE_CHECKING:
    from bothost.clock import Clock

__all__ = ["BotFigures", "BotNow", "Histogram", "Metrics", "MetricsSnapshot", "MinuteFigures", "together"]

_MOST_ACCOUNTS = 200
_OTHER = "other"


class _FiguresByBot(dict[str, BotFigures]):
    """The figures of each bot. A bot that is asked for the first time gets empty ones."""

    def __missing__(self, bot: str) -> BotFigures:
        figures = self[bot] = BotFigures()
        return figures


class Metrics:
    """The figures of this process."""

    def __init__(self, clock: Clock, process: str = "0") -> None:
        self._clock = clock
        self._bots = _FiguresByBot()
        self._minute = 0
        self._minute_ends = 0.0
        self._now = 0.0
        self._host = MetricsSnapshot(process=process, started=clock.now().timestamp())
        self._lag_worst = (0.0, 0.0)

    def delivery(self, bot: str, word: str, status: int, seconds: float) -> None:
        """Count a delivery that was answered or refused; `bot` is empty if the path is nobody's."""
        figures = self._bots[bot]
        try:
            figures.outcomes[word] += 1
        except KeyError:
            figures.outcomes[word] = 1
        try:
            self._host.statuses[status] += 1
        except KeyError:
            self._host.statuses[status] = 1
        self._host.response.observe(seconds)
        minute = self._minute_of(figures)
        minute.deliveries += 1
        if word == "refused-signature":
            minute.refused += 1
        figures.last_delivery = self._now

    def run(self, bot: str, seconds: float, failed: bool) -> None:
        """Count a run of a handler or timer that ended."""
        figures = self._bots[bot]
        figures.handler.observe(seconds)
        figures.ran(seconds)
        minute = self._minute_of(figures)
        minute.runs += 1
        minute.seconds += seconds
        if seconds > minute.slowest:  # noqa: PLR1730 - `max` is a call, and few runs are the slowest
            minute.slowest = seconds
        if failed:
            figures.failures += 1
            minute.failures += 1

    def queue_wait(self, bot: str, seconds: float) -> None:
        """Count the time that an event waited for turn and permit."""
        self._bots[bot].queue.observe(seconds)

    def post(self, bot: str, result: str) -> None:
        """Count a try to post a late reply: done, again, unclear, failed, moved."""
        posts = self._bots[bot].posts
        posts[result] = posts.get(result, 0) + 1

    def tick(self, bot: str, result: str) -> None:
        """Count a tick of a timer: ran, failed, skipped."""
        ticks = self._bots[bot].ticks
        ticks[result] = ticks.get(result, 0) + 1

    def missed(self, bot: str) -> None:
        """Count an event that no webhook brought and that catching up found."""
        self._bots[bot].missed += 1

    def job(self, bot: str, result: str) -> None:
        """Count a run of a job: ran, failed."""
        jobs = self._bots[bot].jobs
        jobs[result] = jobs.get(result, 0) + 1

    def hook(self, bot: str, hook: str, outcome: str) -> None:
        """Count a request to a hook that was answered or refused."""
        hooks = self._bots[bot].hooks
        key = f"{hook} {outcome}"
        hooks[key] = hooks.get(key, 0) + 1

    def call(self, account: str, status: int | str) -> None:
        """Count a request to the Pyrus API by its status, or by a word if no response came."""
        calls = self._host.calls.setdefault(self._account(account), {})
        calls[str(status)] = calls.get(str(status), 0) + 1

    def limit(self, account: str, remaining: float) -> None:
        """Take down what the account's rate limit leaves at present."""
        self._host.limits[self._account(account)] = remaining

    def commit(self, seconds: float) -> None:
        """Count a commit of the journal."""
        self._host.commit.observe(seconds)

    def loop_lag(self, seconds: float) -> None:
        """Note how late the loop was for a timer."""
        self._host.lag.observe(seconds)
        now = self._clock.monotonic()
        worst, since = self._lag_worst
        if seconds >= worst or now - since > 60.0:
            self._lag_worst = (seconds, now)

    def blocked(self, bot: str, seconds: float) -> None:
        """Count a time for which this bot held the loop, as the watchdog found."""
        self._bots[bot].blocked_s += seconds

    def child_restart(self, bot: str) -> None:
        """Count a child of the bot that ended and is replaced."""
        self._bots[bot].child_restarts += 1

    def reload(self, result: str) -> None:
        """Count a reload of bots.ini: done, refused."""
        self._host.reloads[result] = self._host.reloads.get(result, 0) + 1

    def restarts(self, counts: dict[str, int]) -> None:
        """Take the supervisor's counts of worker processes that it started again."""
        self._host.restarts = dict(counts)

    def snapshot(self) -> MetricsSnapshot:
        """Return all figures of this process, with the living ones of the bots. It is cheap, and another thread may read it."""
        worst, since = self._lag_worst
        lag_worst = worst if self._clock.monotonic() - since < 120.0 else 0.0
        return msgspec.structs.replace(self._host, bots=self._bots.copy(), lag_worst=lag_worst)

    def figures(self, bot: str) -> BotFigures:
        """Return one bot's figures on this process."""
        return self._bots.get(bot) or BotFigures()

    def _minute_of(self, figures: BotFigures) -> MinuteFigures:
        """Return the bot's counts of this minute, to count on in. The wall clock is asked once a second."""
        now = self._clock.monotonic()
        if now >= self._minute_ends:
            wall = self._clock.now().timestamp()
            self._minute, past = divmod(int(wall), 60)
            self._minute_ends = now + min(60 - past, 1)
            self._now = wall
        minutes = figures.minutes
        return minutes[-1] if minutes and minutes[-1].minute == self._minute else figures.begin(self._minute)

    def _account(self, account: str) -> str:
        calls = self._host.calls
        return account if account in calls or len(calls) < _MOST_ACCOUNTS else _OTHER
