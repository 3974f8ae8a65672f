"""Show one bot over all processes, and rank bots by the harm they do now. The journal's failures of the last hour count too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bothost.journal.entry import EntryFilter
from bothost.journal.history import steps_of
from bothost.journal.retention import DAY_S
from bothost.pipeline.reply_poster import NO_LOGIN
from bothost.telemetry.metrics import BotFigures, BotNow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from bothost.bots.registry import Bot
    from bothost.journal.entry import Entry

HOUR_S = 3600.0
MOST_READ = 2_000
WRONG_SHARE = 0.2
"""Wrong signatures below this share of the last hour's deliveries are taken for a stranger's."""
_NOT_SERVING = ("config error", "plugin error", "quarantined", "stuck", "paused")


@dataclass(frozen=True, slots=True)
class RecentFailures:
    """A bot's failures of the last hour, as the journal tells them."""

    runs: int = 0
    """Runs that failed, of events that have failed."""
    unposted: int = 0
    """Replies that could not be posted, or whose first try failed and that are still waiting for the next one."""
    no_login: int = 0
    """The unposted replies that lacked both a token and a login."""
    tried_again: int = 0
    """The unposted replies that are tried again by themselves."""
    error: str = ""
    """The first line of the newest failure's error."""


NO_FAILURES = RecentFailures()


@dataclass(frozen=True, slots=True, kw_only=True)
class BotView:
    """One bot over all processes, as the page shows it."""

    bot: Bot
    now: BotNow
    figures: BotFigures = field(default_factory=BotFigures)
    entries: Mapping[str, int] = field(default_factory=dict)
    """The number of its open and failed entries by state."""
    paused_tasks: Mapping[int, str] = field(default_factory=dict)
    """The tasks in which the loop breaker or an operator paused it, with the reason."""
    recent: RecentFailures = NO_FAILURES
    """Its failures of the last hour, from the journal."""

    @property
    def name(self) -> str:
        """Return the section's name."""
        return self.bot.config.name

    @property
    def broken(self) -> bool:
        """Return whether it does not serve and should."""
        return self.now.state not in ("active", "starting", "off", "elsewhere")

    @property
    def refused(self) -> int:
        """Return how many deliveries since the host's start had a signature that is not this bot's."""
        return self.figures.outcomes.get("refused-signature", 0)

    @property
    def in_trouble(self) -> bool:
        """Return whether it does harm now: it does not serve, or its late replies do not reach Pyrus."""
        return self.broken or self.recent.unposted > 0

    def wants_a_look(self, now: float) -> bool:
        """Return whether something is wrong although it serves."""
        return bool(self.recent.unposted or failures_of(self, now) or self.figures.blocked_s or wrong_key(self, now))

    @property
    def version(self) -> str:
        """Return the version of the plugin in service; "" if none is loaded."""
        return self.now.version


async def read_failures(
    read: Callable[[EntryFilter], Awaitable[Sequence[Entry]]], now: float
) -> dict[str, RecentFailures]:
    """Read the failures of the last hour from the journal, by bot. Raises JournalAway."""
    since = now - HOUR_S
    # an event may have come long before it failed
    failed = await read(EntryFilter(states=("failed",), since=since - DAY_S, limit=MOST_READ))
    posting = await read(EntryFilter(phase="posting", limit=MOST_READ))
    return recent_failures([entry for entry in failed if entry.updated >= since], posting, since)


def failed_runs(entry: Entry, since: float) -> int:
    """Return how many runs of a failed event have failed since then. One of an older journal counts as one."""
    steps = [step for step in steps_of(entry) if step.what == "run" and step.outcome]
    return sum(step.at >= since for step in steps) if steps else 1


def recent_failures(failed: Iterable[Entry], posting: Iterable[Entry], since: float) -> dict[str, RecentFailures]:
    """Count failed runs and replies on their way by bot."""
    tried = [entry for entry in posting if entry.tries > 0]
    failed = list(failed)
    newest = {entry.bot: entry for entry in sorted([*failed, *tried], key=lambda entry: entry.updated)}
    runs: Counter[str] = Counter()
    unposted: Counter[str] = Counter()
    no_login: Counter[str] = Counter()
    for entry in failed:
        if entry.failed or entry.door == "response":
            runs[entry.bot] += failed_runs(entry, since)
            continue
        unposted[entry.bot] += 1
        no_login[entry.bot] += entry.error.startswith(NO_LOGIN)
    again = Counter(entry.bot for entry in tried)
    unposted += again
    return {
        name: RecentFailures(
            runs[name], unposted[name], no_login[name], again[name], newest[name].error.partition("\n")[0]
        )
        for name in {*runs, *unposted}
    }


def harm(view: BotView, now: float) -> tuple[int, float, str]:
    """Return the sort key of a bot: not serving first, then losing replies, failing, blocking, refusing, and the others.

    Within a rank the larger number comes first, and then the name.
    """
    deliveries, _ = view.figures.last_hour(now)
    state = view.now.state
    if state in _NOT_SERVING:
        # a pause is somebody's wish, so it comes after the states that nobody wants
        return (1 if state == "paused" else 0, -deliveries, view.name)
    if view.recent.unposted:
        return (2, -view.recent.unposted, view.name)
    if failures := failures_of(view, now):
        return (3, -failures / max(deliveries, failures), view.name)
    if view.figures.blocked_s:
        return (4, -view.figures.blocked_s, view.name)
    if wrong_key(view, now):
        return (5, -view.figures.refused_last_hour(now), view.name)
    return (6, 0.0, view.name)


def failures_of(view: BotView, now: float) -> int:
    """Return the failed runs of the last hour: those counted here, or more if the journal knows more from before a restart."""
    return max(view.figures.last_hour(now)[1], view.recent.runs)


def wrong_key(view: BotView, now: float) -> bool:
    """Return whether so many deliveries have a wrong signature that the bot's secret is probably not the one in Pyrus."""
    deliveries, _ = view.figures.last_hour(now)
    refused = view.figures.refused_last_hour(now)
    return refused > 0 and refused >= WRONG_SHARE * deliveries


def paused_tasks(facts: Mapping[str, str], bot: str) -> dict[int, str]:
    """Return the tasks in which a bot is paused, each with the reason, from the facts of the journal."""
    if not facts:
        return {}
    prefix = f"pause:{bot}:"
    tasks = ((key.removeprefix(prefix), reason) for key, reason in facts.items() if key.startswith(prefix))
    return {int(task): reason for task, reason in tasks if task.isdecimal()}
