"""Put together one view of each bot from the reports of all processes and from what the journal holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bothost.operator.harm import NO_FAILURES, BotView, RecentFailures, harm, paused_tasks
from bothost.operator.past_figures import with_past
from bothost.telemetry.metrics import BotFigures, BotNow, MetricsSnapshot, together
from bothost.telemetry.metrics.families import BotGauge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bothost.bots.registry import Bot

_TROUBLE = ("config error", "plugin error", "quarantined", "stuck", "paused", "starting", "off", "active", "elsewhere")
"""The states in the order in which one is shown if a bot's processes differ."""


@dataclass(frozen=True, slots=True)
class JournalView:
    """The facts that the journal holds of all bots at one moment."""

    entries: Mapping[str, Mapping[str, int]]
    facts: Mapping[str, str] | None
    failures: Mapping[str, RecentFailures]
    past: Mapping[str, BotFigures]
    """The figures from before this process's start."""


def views_of(bots: Sequence[Bot], snapshots: Sequence[MetricsSnapshot], seen: JournalView, at: float) -> list[BotView]:
    """Return every bot, those that do most harm at this time first. The first snapshot is this process's own."""
    figures, started = together(snapshots), snapshots[0].started
    views = [
        BotView(
            bot=bot,
            now=_stands(bot, snapshots, seen.facts),
            figures=with_past(figures.get(bot.config.name) or BotFigures(), seen.past.get(bot.config.name), started),
            entries=seen.entries.get(bot.config.name, {}),
            paused_tasks=paused_tasks(seen.facts or {}, bot.config.name),
            recent=seen.failures.get(bot.config.name, NO_FAILURES),
        )
        for bot in bots
    ]
    return sorted(views, key=lambda view: harm(view, at))


def _stands(bot: Bot, snapshots: Sequence[MetricsSnapshot], facts: Mapping[str, str] | None) -> BotNow:
    """Return the bot's state over all processes. A pause and its end count before the processes have read them."""
    name = bot.config.name
    nows = [snapshot.now[name] for snapshot in snapshots if name in snapshot.now]
    now = _worst(nows) if nows else BotNow(bot.state.word, bot.state.reason, bot.state.since, version=bot.version)
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


def gauges_of(snapshots: Sequence[MetricsSnapshot]) -> tuple[BotGauge, ...]:
    """Return each bot's state and load over all processes, for the metrics."""
    by_name: dict[str, list[BotNow]] = {}
    for snapshot in snapshots:
        for name, now in snapshot.now.items():
            by_name.setdefault(name, []).append(now)
    worst = ((name, _worst(nows)) for name, nows in by_name.items())
    return tuple(BotGauge(name, now.state, now.waiting, now.running) for name, now in worst)
