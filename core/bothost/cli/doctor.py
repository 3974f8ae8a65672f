"""`doctor`: everything a host needs, tried from outside; each line says ok or what to do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bothost.cli import OK, PROBLEM
from bothost.cli import examinations as examine
from bothost.cli.choosing import host_of, read_existing
from bothost.cli.judging import judge
from bothost.cli.output import config_option, json_option, say, show_json
from bothost.clock import SystemClock

if TYPE_CHECKING:
    from bothost.cli.examinations import Finding
    from bothost.cli.judging import Judged
    from bothost.clock import Clock
    from bothost.config import HostConfig, Reading

MARKS = {"ok": "ok  ", "warning": "warn", "problem": "BAD "}


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined."""

    reading: Reading
    host: HostConfig
    bots: list[Judged]
    clock: Clock


@click.command(epilog="Example: bothost doctor --config /etc/bothost/bots.ini")
@config_option
@json_option
def doctor(config: str, as_json: bool) -> int:
    """Examine configuration, plugins, ports, journal, disk, clock, API logins, public address and its certificate."""
    reading = read_existing(config)
    bots = judge(reading, Path(config).absolute().parent)
    patient = Patient(reading, host_of(reading), bots, SystemClock())
    findings = asyncio.run(_findings(patient))
    good = all(finding.state != "problem" for finding in findings)
    if as_json:
        rows = [{"check": one.check, "state": one.state, "text": one.text} for one in findings]
        show_json({"ok": good, "checks": rows})
    else:
        width = max(len(one.check) for one in findings)
        for one in findings:
            say(f"{MARKS[one.state]}  {one.check:<{width}}  {one.text}")
    return OK if good else PROBLEM


async def _findings(patient: Patient) -> list[Finding]:
    host, clock = patient.host, patient.clock
    findings = [examine.configuration(patient.reading), *(examine.plugin(bot) for bot in patient.bots)]
    findings.append(await asyncio.to_thread(examine.listener, host))
    if host.operator_port:
        findings.append(await asyncio.to_thread(examine.page, host))
    findings.append(examine.disk(host.state))
    # the public address and the API come before the journal: to look into that, root becomes somebody else for good
    dates: list[float] = []
    if host.public_url:
        findings += await asyncio.to_thread(examine.public, host.public_url, clock, dates)
    serving = [bot.config for bot in patient.bots if not bot.problems and bot.config.enabled]
    findings += await examine.logins([config for config in serving if config.login], clock, dates)
    findings.append(examine.time_of_day(clock, dates))
    finding, learnt = await examine.journal(host, clock)
    findings.append(finding)
    findings += [examine.without_login(config, learnt) for config in serving if not config.login]
    return findings
