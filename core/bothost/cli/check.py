"""`check`, `bots`, `plugins`: show what is configured and installed, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.bot_status import BotDiagnosis, collisions, host_warnings, judge, without_login
from bothost.cli.help import Command
from bothost.cli.host_client import asked_of_host, facts_beside, wrong_with
from bothost.cli.output import (
    config_option,
    json_option,
    problem_row,
    say,
    show_data,
    show_json,
    show_table,
    warn,
    word,
)
from bothost.cli.selection import check_there, complete_bot, read_existing
from bothost.config import read
from bothost.plugins.discovery import DiscoveredPlugin, find, survey, upgrade_note
from bothost.plugins.hook_methods import shown_hook
from bothost.plugins.loading import trouble
from bothost.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.config import ConfigReading
    from bothost.errors import Problem

FINE = ("ok", "off", "active", "starting", "paused", "elsewhere")
"""States that are no problem. `ok` is the state if no host runs."""
WELL = ("ok", "off", "active", "starting", "elsewhere")
"""States that need no attention."""
MANY = 20
"""With more bots than this, a last line counts them by state."""


@click.command(cls=Command, epilog="Example: bothost check --config /etc/bothost/bots.ini")
@config_option
@json_option
@click.option("--forms", is_flag=True, help="Also ask Pyrus whether the forms have the fields that plugins name.")
def check(config: str, as_json: bool, forms: bool) -> int:
    """Report everything that is wrong in bots.ini and in its plugins' settings, at once; exit code 1 if anything is."""
    reading = read_existing(config)
    judged = judge(reading, _folder(config))
    problems = [*reading.problems, *(problem for bot in judged for problem in bot.problems), *collisions(judged)]
    problems = _sorted(problems)
    if forms:
        from bothost.cli.check_forms import form_problems

        problems = _sorted([*problems, *form_problems(judged, reading.host)])
    told = (*host_warnings(reading, config), *without_login(reading, config))
    warnings = _sorted([*told, *(warning for bot in judged for warning in bot.warnings)])
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
    beside = f", {counted(warnings, 'warning')}" if warnings else ""
    if problems:
        return f"{config}: {counted(problems, 'error')}{beside}"
    return f"{config}: {counted(bots, 'bot')}, all well{beside}"


@click.command(cls=Command, epilog="Example: bothost bots payments")
@click.argument("name", required=False, shell_complete=complete_bot)
@config_option
@json_option
def bots(name: str | None, config: str, as_json: bool) -> int:
    """List the bots, those in trouble first: state and reason, plugin and version, path, fingerprint of the secret.

    With a NAME only this bot, with its hooks: address, guard, and whether it accepts a request or answers it.

    The states are those of the running host. If none runs, they come from bots.ini and the installed plugins (`ok`).
    """
    reading = read_existing(config)
    rows = asked_of_host(reading.host) if reading.host else None
    if rows is None:
        rows = _promised(reading, config)
    hooks = _hooks_of(name, reading, config) if name is not None else []
    if name is not None:
        rows = [{**row, "hooks": hooks} for row in rows if row["bot"] == name]
    if as_json:
        show_json(rows)
    elif not rows:
        say(f"{config} has no bot: add a section [bot:NAME] with plugin and secret (`bothost plugins` lists plugins)")
    else:
        columns = ["bot", "state", "plugin", "version", "path", "secret"]
        told = [_told(row) for row in rows]
        show_table([*columns, "since"] if any(row["since"] for row in told) else columns, told, "reason")
        if name is not None:
            _show_more(rows[0], hooks)
        if len(rows) > MANY:
            say(_sum(config, rows))
    return PROBLEM if reading.problems or any(row["state"] not in FINE for row in rows) else OK


def _show_more(row: Mapping[str, Any], hooks: list[dict[str, str]]) -> None:
    """Show of one bot the traceback that keeps it out of service, and its hooks."""
    for line in str(row.get("trace") or "").splitlines():
        show_data(f"  | {line}")
    for one in hooks:
        say(f"  {one['methods']} {one['address']}  {one['guard']}  {one['requests']}")


def _hooks_of(name: str, reading: ConfigReading, config: str) -> list[dict[str, str]]:
    """Return the hooks of one bot's plugin. Raises ConfigError if there is no such bot."""
    check_there(name, reading)
    judged = [bot for bot in judge(reading, _folder(config)) if bot.config.name == name and bot.plugged is not None]
    return [shown_hook(bot.config.path, spec.rule) for bot in judged if bot.plugged for spec in bot.plugged.hooks]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for a person: with the reasons, the next command, and the time since when the bot does not serve."""
    told = [row["reason"], *wrong_with(row)]
    return {**row, "reason": "; ".join(filter(None, told)), "since": row["since"] if row["reason"] else None}


def _promised(reading: ConfigReading, config: str) -> list[dict[str, Any]]:
    found = find()
    judged = [(bot, found.get(bot.config.plugin)) for bot in judge(reading, _folder(config))]
    facts = facts_beside(reading.host) if reading.host else None
    rows = [_bot_row(bot, plugin, facts) for bot, plugin in judged]
    return sorted(rows, key=lambda row: (row["state"] in WELL, row["bot"]))


def _sum(config: str, rows: list[dict[str, Any]]) -> str:
    """Count the bots by state in a last line, because with many bots the first lines have scrolled away."""
    counts = Counter(row["state"] for row in rows)
    return f"{config}: {counted(len(rows), 'bot')}: " + ", ".join(
        f"{n} {word(state)}" for state, n in counts.most_common()
    )


def _bot_row(bot: BotDiagnosis, found: DiscoveredPlugin | None, facts: Mapping[str, str] | None) -> dict[str, Any]:
    """Return a bot's row without the host's help. `facts`: what the journal knows if a host runs that could not be asked."""
    name = bot.config.name
    state, reason = _standing(bot, facts)
    tasks = [key.removeprefix(f"pause:{name}:") for key in facts or () if key.startswith(f"pause:{name}:")]
    return {
        "bot": name,
        "state": state,
        "reason": reason,
        "since": None,
        "plugin": bot.config.plugin,
        "version": found.version if found else "",
        "path": bot.config.path,
        "secret": bot.config.fingerprint,
        "waiting": None,
        "running": None,
        "paused_tasks": sorted(int(task) for task in tasks if task.isdecimal()),
        "deliveries_last_hour": None,
        "failed_runs_last_hour": None,
        "wrong_signatures": None,
        "blocked_s": None,
        "kept": None,
    }


def _standing(bot: BotDiagnosis, facts: Mapping[str, str] | None) -> tuple[str, str]:
    if facts is None or bot.state != "ok":
        return bot.state, bot.reason
    for state in ("quarantined", "paused"):
        reason = facts.get(f"{'quarantine' if state == 'quarantined' else 'pause'}:{bot.config.name}")
        if reason is not None and (state == "paused" or bot.config.run == "process"):
            return state, reason
    return "active", ""


@click.command(cls=Command, epilog="Example: bothost plugins")
@config_option
@json_option
def plugins(config: str, as_json: bool) -> int:
    """List the installed plugins: name, distribution, version, what the entry point names, and what is wrong.

    If a host serves the configuration, it also tells which plugins run in another version there.
    """
    installed = survey()
    running = _running_versions(config)
    rows = [_plugin_row(found, running) for found in installed.by_name.values()]
    for text in installed.unreadable:
        warn(f"warning: {text}")
    if as_json:
        show_json(rows)
    elif not rows:
        say("no plugin is installed: pip install bothost-autoreply, or make your own: bothost new NAME")
    else:
        show_table(["plugin", "distribution", "version", "object"], rows, "problem")
    return PROBLEM if any(row["problem"] for row in rows) else OK


def _running_versions(config: str) -> dict[str, str]:
    """Return the versions of the plugins that the host of this configuration runs; none where there is no such host."""
    host = read(config).host if Path(config).exists() else None
    rows = asked_of_host(host) if host is not None else None
    return {row["plugin"]: row["version"] for row in rows or ()}


def _plugin_row(found: DiscoveredPlugin, running: Mapping[str, str]) -> dict[str, str]:
    runs = running.get(found.name) or found.version
    return {
        "plugin": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "object": found.target,
        "running": running.get(found.name, ""),
        "problem": trouble(found) or (upgrade_note(found.version, runs) if runs != found.version else ""),
    }
