"""`doctor`: try from outside everything that a host needs. Each line says ok or what to do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bothost.cli import OK, PROBLEM
from bothost.cli import doctor_checks as examine
from bothost.cli.bot_status import host_warnings, judge
from bothost.cli.help import Command
from bothost.cli.host_client import asked_of_host
from bothost.cli.output import config_option, json_option, language, show_data, show_json, word
from bothost.cli.selection import host_of, read_existing
from bothost.clock import SystemClock

if TYPE_CHECKING:
    from bothost.cli.bot_status import BotDiagnosis
    from bothost.cli.doctor_checks import Finding
    from bothost.clock import Clock
    from bothost.config import ConfigReading, HostConfig
    from bothost.errors import Problem

MANY = 10
"""More healthy bots than this share one line."""
MARKS = {"ok": "ok", "warning": "warn", "problem": "BAD"}


@dataclass(frozen=True, slots=True)
class ExaminedHost:
    """The configuration and bots that are examined."""

    reading: ConfigReading
    host: HostConfig
    bots: list[BotDiagnosis]
    warnings: tuple[Problem, ...]
    """The warnings of the configuration."""
    clock: Clock


@click.command(cls=Command, epilog="Example: bothost doctor --config /etc/bothost/bots.ini")
@config_option
@json_option
def doctor(config: str, as_json: bool) -> int:
    """Examine configuration, plugins, ports, journal, disk, clock, API logins, public address and its certificate."""
    reading = read_existing(config)
    bots = judge(reading, Path(config).absolute().parent)
    examined = ExaminedHost(reading, host_of(reading), bots, host_warnings(reading, config), SystemClock())
    findings = asyncio.run(_findings(examined))
    good = all(finding.state != "problem" for finding in findings)
    if as_json:
        rows = [{"check": one.check, "state": one.state, "text": one.text} for one in findings]
        show_json({"ok": good, "checks": rows})
    else:
        _show(findings)
    return OK if good else PROBLEM


def _show(findings: list[Finding]) -> None:
    """Print one line for each finding. Many healthy bots share a line, and so do equal findings: a hundred lines would hide the
    one that matters."""
    fine = [one for one in findings if one.state == "ok" and one.check.startswith("bot ")]
    if len(fine) > MANY:
        findings = [one for one in findings if one not in fine]
        findings.insert(1, examine.Finding(f"{len(fine)} other bots", "ok", "plugin and settings are fine"))
    alike: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        alike.setdefault((one.state, one.text), []).append(one)
    lines = [
        (those[0], language().message(_title(those[0].check) + (f" +{len(those) - 1} more" if len(those) > 1 else "")))
        for those in alike.values()
    ]
    marks = max(len(word(mark)) for mark in MARKS.values())
    width = max(len(check) for _, check in lines)
    for one, check in lines:
        show_data(f"{word(MARKS[one.state]):{marks}}  {check:<{width}}  {language().message(one.text)}")


def _title(check: str) -> str:
    """Return what is checked in the person's language, a bot's name kept."""
    what, _, name = check.rpartition(" ")
    return word(check) if word(check) != check or not what else f"{word(what)} {name}"


async def _findings(examined: ExaminedHost) -> list[Finding]:
    host, clock = examined.host, examined.clock
    rows = await asyncio.to_thread(asked_of_host, host) or []
    standing = {row["bot"]: row for row in rows}
    elsewhere = examine.other_environment(examined.reading, standing)
    findings = [elsewhere or examine.configuration(examined.reading, examined.warnings)]
    order = {row["bot"]: place for place, row in enumerate(rows)}  # the host puts the bots that do most harm first
    bots = sorted(examined.bots, key=lambda bot: order.get(bot.config.name, -1))
    findings += [examine.plugin(bot, standing.get(bot.config.name)) for bot in bots]
    findings.append(await asyncio.to_thread(examine.listener, host))
    if host.operator_port:
        findings.append(await asyncio.to_thread(examine.page, host))
    findings.append(examine.disk(host.state))
    # before the journal, because root gives up its rights for good in order to open it
    dates: list[float] = []
    if host.public_url:
        findings += await asyncio.to_thread(examine.public, host.public_url, clock, dates)
    serving = [bot.config for bot in examined.bots if not bot.problems and bot.config.enabled]
    from bothost.host.assembly import network_of
    from bothost.pipeline.assembly import REFUSED_LOGIN

    network = network_of(host)
    findings.append(examine.way_out(network))
    findings += await examine.logins([config for config in serving if config.login], clock, dates, network)
    findings.append(examine.time_of_day(clock, dates))
    finding, learnt = await examine.journal(host, clock)
    findings.append(finding)
    findings += await examine.without_section(host, {bot.config.name for bot in examined.bots})
    bare = [config for config in serving if not config.login]
    findings += [
        examine.without_login(config, learnt.get(REFUSED_LOGIN + config.name, ""))
        for config in bare
        if f"login:{config.name}" not in learnt
    ]
    taught = [
        replace(config, login=learnt[f"login:{config.name}"]) for config in bare if f"login:{config.name}" in learnt
    ]
    findings += await examine.logins(taught, clock, dates, network)
    return findings
