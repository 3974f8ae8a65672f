"""`tick`: run a timer of a bot once, on the running host or in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from bothost.cli import OK, PROBLEM
from bothost.cli.bot_status import judge
from bothost.cli.call import calling
from bothost.cli.help import Command
from bothost.cli.host_client import asked_of_host, facts_beside, ticked_at_host
from bothost.cli.journal_access import visiting
from bothost.cli.output import config_option, json_option, say, show_data, show_json
from bothost.cli.selection import bot_argument, bot_named, host_of, read_existing
from bothost.clock import SystemClock
from bothost.config.secrets import SecretSources
from bothost.errors import BothostError, PluginError, UsageError
from bothost.journal.data import JournalData
from bothost.operator.manual_tick import BEYOND_S, LinesOfRun, TickReport, run_tick
from bothost.plugins.api import Tick
from bothost.plugins.discovery import find
from bothost.plugins.loading import PluginResources, load
from bothost.plugins.store import Store
from bothost.plugins.timers import tick_id
from bothost.runners.local import LocalRunner
from bothost.telemetry.redaction import Scrubber
from bothost.text import listed, nearest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bothost.config import BotConfig, ConfigReading, HostConfig


@click.command(cls=Command, epilog="Example: bothost tick reminder remind --at 2026-03-02T09:00+03:00")
@bot_argument
@click.argument("timer")
@click.option("--at", metavar="TIME", help="When the tick is due, as 2026-03-02T09:00+03:00; without it, now.")
@config_option
@json_option
def tick(bot: str, timer: str, at: str | None, config: str, as_json: bool) -> int:
    """Run TIMER of BOT once, and print what it logged, how long it took and how it ended; exit code 1 if it failed.

    It runs on the host that serves this configuration, as each of its ticks does. If another of its processes ran it than the one
    that was asked, the command names that one and its log has the lines. Where no host runs, it runs in this process. It writes
    real data either way.
    """
    reading = read_existing(config)
    chosen, host, due = bot_named(bot, reading), host_of(reading), _due(at)
    _check_timer(chosen, timer, reading, Path(config).absolute().parent)
    report = _on_host(host, chosen, timer, due) or asyncio.run(_here(reading, chosen, timer, due))
    if as_json:
        show_json(msgspec.to_builtins(report))
    else:
        for line in report.lines:
            show_data(line)
        if report.elsewhere:
            machine, _, pid = report.elsewhere.rpartition(":")
            say(f"It ran in process {pid} on {machine}: what it logged stands in the log of that host.")
        say(f"{bot} {timer}: {_outcome(report)}")
    return OK if report.state == "answered" else PROBLEM


def _outcome(report: TickReport) -> str:
    if report.state == "answered":
        return f"ran in {report.ms:.0f} ms"
    if report.state == "failed":
        return f"failed after {report.ms:.0f} ms: {report.error}"
    return f"has not ended: it is {report.state} (`bothost deliveries show {report.id}`)"


def _due(text: str | None) -> datetime:
    """Return the time of the tick. One without a zone is this machine's."""
    if text is None:
        return SystemClock().now()
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise UsageError(f"--at {text!r} is no time: write one such as 2026-03-02T09:00+03:00") from None


def _check_timer(bot: BotConfig, timer: str, reading: ConfigReading, folder: Path) -> None:
    """Check that the bot has this timer. Raises UsageError, and PluginError where its plugin cannot be loaded."""
    judged = next(one for one in judge(reading, folder) if one.config.name == bot.name)
    if judged.plugged is None:
        raise PluginError(f"[bot:{bot.name}] {judged.reason}")
    names = [spec.name for spec in judged.plugged.timers]
    if timer not in names:
        there = f"there are {listed(names)}" if names else f"its plugin {bot.plugin!r} has none"
        raise UsageError(f"[bot:{bot.name}] has no timer {timer!r}{nearest(timer, names)}: {there}")


def _on_host(host: HostConfig, bot: BotConfig, timer: str, due: datetime) -> TickReport | None:
    """Run the timer on the running host. None where none runs. Raises BothostError where the bot does not serve there."""
    rows = asked_of_host(host)
    if rows is None:
        if facts_beside(host) is None:
            return None
        return asyncio.run(_by_journal(host, bot, timer, due))
    row = next((row for row in rows if row["bot"] == bot.name), None)
    if row is None or row["state"] not in ("active", "starting", "stuck"):
        how = f"is {row['state']}: {row['reason']}" if row is not None else "is unknown: bothost reload"
        raise BothostError(f"[bot:{bot.name}] does not serve on the running host, it {how}")
    return ticked_at_host(host, bot.name, timer, due, bot.timeout_s + 2 * BEYOND_S)


async def _by_journal(host: HostConfig, bot: BotConfig, timer: str, due: datetime) -> TickReport:
    """Run the timer on a host whose page cannot be asked; what it logs stands in that host's log only."""
    async with visiting(host) as journal:
        return await run_tick(journal, bot, timer, due, Scrubber().scrub)


async def _here(reading: ConfigReading, bot: BotConfig, timer: str, due: datetime) -> TickReport:
    """Load the plugin in this process, open it, run the timer and close it. Raises PluginError, ConfigError."""
    from bothost.host.assembly import hide_secrets

    clock, scrubber, host = SystemClock(), Scrubber(), host_of(reading)
    hide_secrets(reading, host, scrubber)
    logging.getLogger("bothost").setLevel(logging.INFO)
    async with calling(bot, host) as pyrus, _store(host, bot, clock) as store:
        sources = SecretSources(host.path.parent, os.environ)
        plugged = load(bot, find(), PluginResources(clock, host.state / "plugins" / bot.name, pyrus, sources, store))
        for secret in plugged.secrets:
            scrubber.add(secret)
        runner = LocalRunner(plugged, bot, clock, scrubber.scrub)
        event = tick_id(bot.name, timer, due)
        with contextlib.redirect_stdout(sys.stderr), LinesOfRun(event, scrubber.scrub) as heard:
            await runner.open()
            began = clock.monotonic()
            ran = await runner.tick(timer, Tick(due=due), bot.timeout_s, lambda _returned=b"": None)
            ms = (clock.monotonic() - began) * 1000
            await runner.close()
    if ran.failure is None:
        return TickReport(event, "answered", ms, lines=heard.lines)
    return TickReport(event, "failed", ms, f"{ran.failure.text}\n{ran.failure.trace}".rstrip(), heard.lines)


@contextlib.asynccontextmanager
async def _store(host: HostConfig, bot: BotConfig, clock: SystemClock) -> AsyncIterator[Store | None]:
    """Give what the bot keeps; None where there is no journal yet."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(visiting(host))
        except BothostError:
            yield None
        else:
            yield Store(JournalData(journal, bot.name, clock), clock)
