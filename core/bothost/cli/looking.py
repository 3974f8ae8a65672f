"""`check`, `bots`, `plugins`: what is configured and installed, and what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.asking import asked_of_host
from bothost.cli.choosing import read_existing
from bothost.cli.judging import Judged, host_warnings, judge
from bothost.cli.output import config_option, json_option, problem_row, say, show_json, show_table, warn
from bothost.plugins import Found, find, trouble

if TYPE_CHECKING:
    from bothost.errors import Problem

FINE = ("ok", "off", "active", "starting", "paused")
"""States in which nothing is wrong: `ok` where no host runs."""


@click.command(epilog="Example: bothost check --config /etc/bothost/bots.ini")
@config_option
@json_option
def check(config: str, as_json: bool) -> int:
    """Report everything that is wrong in bots.ini and in its plugins' settings, at once; exit code 1 if anything is."""
    reading = read_existing(config)
    judged = judge(reading, _folder(config))
    problems = _sorted([*reading.problems, *(problem for bot in judged for problem in bot.problems)])
    warnings = _sorted([*host_warnings(reading, config), *(warning for bot in judged for warning in bot.warnings)])
    if as_json:
        rows = {"problems": [problem_row(one) for one in problems], "warnings": [problem_row(one) for one in warnings]}
        show_json({"ok": not problems, "bots": len(judged), **rows})
    else:
        for problem in problems:
            warn(f"error: {problem}")
        for warning in warnings:
            warn(f"warning: {warning}")
        say(_summary(config, len(judged), len(problems), len(warnings)))
    return PROBLEM if problems else OK


def _folder(config: str) -> Path:
    return Path(config).absolute().parent


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line)


def _summary(config: str, bots: int, problems: int, warnings: int) -> str:
    beside = f", {_counted(warnings, 'warning')}" if warnings else ""
    if problems:
        return f"{config}: {_counted(problems, 'error')}{beside}"
    return f"{config}: {_counted(bots, 'bot')}, all well{beside}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


@click.command(epilog="Example: bothost bots --json")
@config_option
@json_option
def bots(config: str, as_json: bool) -> int:
    """List the bots: state and reason, plugin and version, path, fingerprint of the secret.

    States are those of the running host; where none runs, what bots.ini and the installed plugins promise.
    """
    reading = read_existing(config)
    rows = asked_of_host(reading.host) if reading.host else None
    if rows is None:
        found = find()
        rows = [_bot_row(bot, found.get(bot.config.plugin)) for bot in judge(reading, _folder(config))]
    if as_json:
        show_json(rows)
    elif not rows:
        say(f"{config} has no bot: add a section [bot:NAME] with plugin and secret (`bothost plugins` lists plugins)")
    else:
        columns = ["bot", "state", "plugin", "version", "path", "secret"]
        told = [_told(row) for row in rows]
        show_table([*columns, "since", "reason"] if any(row["reason"] for row in told) else columns, told)
    return PROBLEM if reading.problems or any(row["state"] not in FINE for row in rows) else OK


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row for a person: what is wrong with the bot, be it in some of its tasks only, and since when."""
    tasks = row.get("paused_tasks") or ()
    paused = f"paused in task {', '.join(map(str, tasks))}: bothost resume {row['bot']} --task ID" if tasks else ""
    reason = "; ".join(filter(None, (row["reason"], paused)))
    return {**row, "reason": reason, "since": (row.get("since") or "") if row["reason"] else ""}


def _bot_row(bot: Judged, found: Found | None) -> dict[str, Any]:
    return {
        "bot": bot.config.name,
        "state": bot.state,
        "reason": bot.reason,
        "plugin": bot.config.plugin,
        "version": found.version if found else "",
        "path": bot.config.path,
        "secret": bot.config.fingerprint,
    }


@click.command(epilog="Example: bothost plugins")
@json_option
def plugins(as_json: bool) -> int:
    """List the installed plugins: name, distribution, version, what the entry point names, and what is wrong."""
    rows = [_plugin_row(found) for found in find().values()]
    if as_json:
        show_json(rows)
    elif not rows:
        say("no plugin is installed: pip install bothost-autoreply, or make your own: bothost new NAME")
    else:
        columns = ["plugin", "distribution", "version", "object"]
        show_table([*columns, "problem"] if any(row["problem"] for row in rows) else columns, rows)
    return PROBLEM if any(row["problem"] for row in rows) else OK


def _plugin_row(found: Found) -> dict[str, str]:
    return {
        "plugin": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "object": found.target,
        "problem": trouble(found),
    }
