"""`deliveries retry|cancel` of many events: the plan, the progress and the table of outcomes."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from bothost.cli import OK, PROBLEM
from bothost.cli.host_client import cancelled_at_host, waiting_at_host
from bothost.cli.journal_access import visiting
from bothost.cli.output import operator_name, say, show_json, show_table, warn
from bothost.cli.selection import TASK, StatusChoice, complete_bot, host_of, read_existing
from bothost.clock import SystemClock
from bothost.errors import UsageError
from bothost.journal.entry import Phase
from bothost.journal.status import phase
from bothost.operator.bulk import (
    MOST,
    BulkPlan,
    BulkProgress,
    Selection,
    carry_out,
    make_plan,
    select,
    without_login,
)
from bothost.operator.waiting import beside
from bothost.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bothost.config import ConfigReading
    from bothost.journal import Journal
    from bothost.journal.entry import Entry, EntryFilter
    from bothost.operator.bulk import Verb

LOOK_S = 1.0
SAY_EACH = 100
_UNENDED = ("running", "parked", "posting", "waiting")


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """The options of a retry or cancel of many events."""

    dry_run: bool
    rate_per_s: float
    wait_s: float
    anyway: bool
    as_json: bool


def rate(text: str) -> float:
    """Read "5/s", "300/min" or "5" as events a second. Raises UsageError."""
    number, _, unit = text.partition("/")
    try:
        value = float(number) / {"": 1, "s": 1, "min": 60, "m": 60}[unit.strip()]
    except (KeyError, ValueError):
        raise UsageError(f"--rate {text!r} is not a rate: write 5/s or 300/min") from None
    if not 0 < value <= 1000:
        raise UsageError(f"--rate {text!r} is out of range: write more than 0 and at most 1000/s")
    return value


def bulk_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that choose many events instead of one, and how they are worked off."""
    options = (
        click.option("--bot", shell_complete=complete_bot, help="All events of this bot."),
        click.option(
            "--state",
            type=StatusChoice(get_args(Phase)),
            metavar="STATE",
            help="All events in this state: waiting, running, held, parked, posting, answered, undelivered, failed or cancelled.",
        ),
        click.option("--task", type=TASK, help="All events of this task."),
        click.option(
            "--since",
            metavar="AGE",
            help="All events younger than this: 30m, 24h, 7d, or since a day in UTC: 2026-01-31.",
        ),
        click.option("--until", metavar="AGE", help="Only events older than this, or from before a day."),
        click.option("--error", default="", metavar="TEXT", help="Only events whose error contains this text."),
        click.option("--dry-run", is_flag=True, help="Show the plan and stop."),
        click.option("--rate", "pace", default="5/s", show_default=True, metavar="N/s", help="How many at a time."),
        click.option(
            "--wait", default="30s", show_default=True, metavar="AGE", help="How long to wait for their ends."
        ),
        click.option("--anyway", is_flag=True, help="Take also events whose reply can probably not be posted."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def in_bulk(config: str, verb: Verb, choose: Callable[[float], Selection], options: BulkOptions) -> int:
    """Plan, carry out, and show the result of each event. Return the exit code. `choose` is given the journal's time."""
    return asyncio.run(_in_bulk(read_existing(config), verb, choose, options))


async def _in_bulk(
    reading: ConfigReading, verb: Verb, choose: Callable[[float], Selection], options: BulkOptions
) -> int:
    host = host_of(reading)
    waiting = await asyncio.to_thread(waiting_at_host, host) if verb == "cancel" else []
    who = f"{operator_name()}, in bulk"
    async with visiting(host) as journal:

        async def read(want: EntryFilter) -> Sequence[Entry]:
            return beside(waiting, await journal.list(want), want)

        async def act(entry: Entry) -> None:
            if verb == "retry":
                await journal.retry(entry.id, who=who, revision=entry.revision)
            elif not await asyncio.to_thread(cancelled_at_host, host, entry.id, who):
                await journal.cancel(entry.id, who)

        logins = without_login(((bot.name, bot.login) for bot in reading.bots.values()), await journal.controls())
        plan = make_plan(
            await select(read, choose(journal.now())),
            verb,
            logins,
            known={*reading.bots, *reading.broken},
            now=journal.now(),
            anyway=options.anyway,
        )
        if not options.as_json:
            _show_plan(plan, options)
        if options.dry_run or not plan.entries:
            if options.as_json:
                show_json(_plan_row(plan))
            return OK
        tell = _silent if options.as_json else _tell
        progress = await carry_out(plan, act, SystemClock(), rate_per_s=options.rate_per_s, tell=tell)
        return _report(plan, progress, await _ends(journal, progress.taken, options.wait_s), as_json=options.as_json)


def _show_plan(plan: BulkPlan, options: BulkOptions) -> None:
    count = len(plan.entries)
    took = f", some {count / options.rate_per_s:.0f} s at {options.rate_per_s:g}/s" if count > 1 else ""
    say(f"{counted(count, 'event')} to {plan.verb}{took}")
    for bot, number in sorted(Counter(entry.bot for entry in plan.entries).items()):
        say(f"    {bot}: {number}")
    if count + sum(plan.left_out.values()) >= MOST:
        say(f"no more than {MOST} at once: run it again for the older ones")
    for why, number in sorted(plan.left_out.items()):
        say(f"left out: {number} {why}")
    if plan.left_out and any("login" in why or "step" in why for why in plan.left_out):
        say("    --anyway retries them all the same")


def _tell(progress: BulkProgress) -> None:
    if progress.done % SAY_EACH == 0 and progress.done < progress.total:
        warn(f"{progress.done} of {progress.total}")


def _silent(_progress: BulkProgress) -> None:
    """Say nothing, because only the result is wanted."""


async def _ends(journal: Journal, keys: Sequence[str], wait_s: float) -> dict[str, Entry]:
    """Return how the events stand once all have ended, or after `wait_s`."""
    clock = SystemClock()
    until = clock.monotonic() + wait_s
    ends: dict[str, Entry] = {}
    open_keys = list(keys)
    while open_keys:
        for key in open_keys:
            if (entry := await journal.find(key)) is not None:
                ends[key] = msgspec.structs.replace(entry)
        open_keys = [key for key in open_keys if key not in ends or phase(ends[key]) in _UNENDED]
        if not open_keys or clock.monotonic() >= until:
            break
        await asyncio.sleep(LOOK_S)
    return ends


def _report(plan: BulkPlan, progress: BulkProgress, ends: dict[str, Entry], *, as_json: bool) -> int:
    rows: Counter[tuple[str, str]] = Counter()
    for entry in ends.values():
        state = phase(entry)
        rows[
            state, entry.error.partition("\n")[0].removeprefix(f"[bot:{entry.bot}] ") if state == "failed" else ""
        ] += 1
    for why in progress.refused.values():
        rows["refused", why] += 1
    table = [{"outcome": state, "events": count, "why": why} for (state, why), count in rows.most_common()]
    if as_json:
        show_json({**_plan_row(plan), "outcomes": table, "refused": progress.refused})
    else:
        show_table(["outcome", "events"], table, "why")
        if any(row["outcome"] in _UNENDED for row in table):
            say("some have not ended yet: bothost deliveries list shows how they end, --wait 5m waits longer")
    return PROBLEM if progress.refused or any(row["outcome"] == "failed" for row in table) else OK


def _plan_row(plan: BulkPlan) -> dict[str, Any]:
    return {"verb": plan.verb, "events": [entry.id for entry in plan.entries], "left_out": dict(plan.left_out)}
