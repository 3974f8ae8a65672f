"""`pause` and `resume`: facts in the journal, which every process reads each second and which outlive restarts."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from bothost.cli import OK
from bothost.cli.journal_access import visit
from bothost.cli.output import config_option, json_option, say, show_json
from bothost.cli.selection import check_there, read_existing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.journal import Journal

task_option = click.option("--task", type=int, help="Only this task of the bot.")


@click.command(epilog="Example: bothost pause autoreply --reason 'new release at 15:00'")
@click.argument("bot")
@click.option("--reason", default="", help="Why; shown with the bot's state.")
@task_option
@config_option
@json_option
def pause(bot: str, reason: str, task: int | None, config: str, as_json: bool) -> int:
    """Stop running a bot's events. It answers 503 while Pyrus will try again, and keeps the others for `resume`."""
    check_there(bot, read_existing(config))
    why = reason or f"by {_user()} on the command line"

    async def work(journal: Journal) -> None:
        await journal.control(_fact("pause", bot, task), why)

    visit(config, work)
    _tell({"bot": bot, "task": task, "state": "paused", "reason": why}, as_json=as_json)
    return OK


@click.command(epilog="Example: bothost resume autoreply --task 5600")
@click.argument("bot")
@task_option
@config_option
@json_option
def resume(bot: str, task: int | None, config: str, as_json: bool) -> int:
    """End a pause or a quarantine of the bot, or of one task that the loop breaker stopped. What was kept now runs."""
    check_there(bot, read_existing(config))
    facts = [_fact("pause", bot, task)] + ([f"quarantine:{bot}"] if task is None else [])

    async def work(journal: Journal) -> list[str]:
        there: Mapping[str, str] = await journal.controls()
        undone = [fact for fact in facts if fact in there]
        for fact in undone:
            await journal.control(fact, None)
        return undone

    undone = visit(config, work)
    _tell({"bot": bot, "task": task, "state": "resumed" if undone else "was not paused"}, as_json=as_json)
    return OK


def _fact(word: str, bot: str, task: int | None) -> str:
    return f"{word}:{bot}" if task is None else f"{word}:{bot}:{task}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the uid has no name
        return "an operator"


def _tell(told: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
    else:
        task = f" task {told['task']}" if told["task"] is not None else ""
        reason = f": {told['reason']}" if "reason" in told else ""
        say(f"{told['bot']}{task} {told['state']}{reason}")
