"""`pause`, `resume` and `restart`: facts in the journal, which every process reads each second and which outlive restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.help import Command
from bothost.cli.journal_access import visit
from bothost.cli.output import config_option, json_option, operator_name, say, show_json, warn, word
from bothost.cli.selection import TASK, bot_argument, check_there, read_existing
from bothost.operator.presence import ProcessPresence, by_place, named, restarted, wait_until
from bothost.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.journal import Journal

RESTART_S = 75.0
"""How long `restart` waits: a plugin's `open` may take a minute."""
HOLDS_S = 10.0
"""The seconds for which a command waits until its change holds on every process."""
Held = tuple[list[ProcessPresence], list[ProcessPresence]]
"""The living processes, and those of them on which the change does not hold yet."""

task_option = click.option("--task", type=TASK, help="Only this task of the bot.")


@click.command(cls=Command, epilog="Example: bothost pause autoreply --reason 'new release at 15:00'")
@bot_argument
@click.option("--reason", default="", help="Why; shown with the bot's state.")
@task_option
@config_option
@json_option
def pause(bot: str, reason: str, task: int | None, config: str, as_json: bool) -> int:
    """Stop running a bot's events. It answers 503 while Pyrus will try again, and keeps the others for `resume`."""
    check_there(bot, read_existing(config))
    why = reason or f"by {operator_name()}"

    async def work(journal: Journal) -> Held:
        await journal.control(_fact("pause", bot, task), why)
        return await _until(journal, bot, task, paused=True)

    held = visit(config, work)
    return _tell({"bot": bot, "task": task, "state": "paused", "reason": why}, held, as_json=as_json)


@click.command(cls=Command, epilog="Example: bothost resume autoreply --task 5600")
@bot_argument
@task_option
@config_option
@json_option
def resume(bot: str, task: int | None, config: str, as_json: bool) -> int:
    """End a pause or a quarantine of the bot, or of one task that the loop breaker stopped. What was kept now runs."""
    check_there(bot, read_existing(config))
    facts = [_fact("pause", bot, task)] + ([f"quarantine:{bot}"] if task is None else [])

    async def work(journal: Journal) -> tuple[list[str], Held]:
        there: Mapping[str, str] = await journal.controls()
        undone = [fact for fact in facts if fact in there]
        for fact in undone:
            await journal.control(fact, None)
        return undone, await _until(journal, bot, task, paused=False)

    undone, held = visit(config, work)
    return _tell({"bot": bot, "task": task, "state": "resumed" if undone else "was not paused"}, held, as_json=as_json)


@click.command(cls=Command, epilog="Example: bothost restart autoreply")
@bot_argument
@config_option
@json_option
def restart(bot: str, config: str, as_json: bool) -> int:
    """Close the bot's plugin (its process, if it has one) and open it anew, on all processes. Events that come meanwhile wait.

    What runs ends on the old instance. A process is ended with what still runs in it after `drain`; that runs again.
    """
    check_there(bot, read_existing(config))
    who = operator_name()
    living, behind = visit(config, lambda journal: restarted(journal, bot, who, RESTART_S))
    told = {place: one.restarts[bot][1] for place, one in by_place(living).items() if one not in behind}
    if as_json:
        show_json({"bot": bot, "done": told, "behind": list(by_place(behind))})
    else:
        for place, what in told.items():
            say(f"{bot} on {place}: {what}")
        if behind:
            warn(f"not yet on {named(behind)}: see the log there")
        if not living:
            say("no host works on this journal, so nothing is there to restart: bothost serve starts one")
    failed = any(not one.restarted(bot) for one in living if one not in behind)
    return PROBLEM if behind or failed or not living else OK


async def _until(journal: Journal, bot: str, task: int | None, *, paused: bool) -> Held:
    """Wait until the bot is paused, or is not, on every living process. A task's pause shows on none, so nobody waits."""
    if task is not None:
        return [], []
    return await wait_until(journal, lambda one: (bot in one.paused) == paused, HOLDS_S)


def _fact(word: str, bot: str, task: int | None) -> str:
    return f"{word}:{bot}" if task is None else f"{word}:{bot}:{task}"


def _tell(told: Mapping[str, object], held: Held, *, as_json: bool) -> int:
    """Print the result and on which processes it holds; return the exit code."""
    living, behind = held
    if as_json:
        show_json({**told, "processes": len(living), "behind": list(by_place(behind))})
    else:
        task = f" {word('task')} {told['task']}" if told["task"] is not None else ""
        reason = f": {told['reason']}" if "reason" in told else ""
        where = f" (on {counted(len(living), 'process', 'processes')})" if living and not behind else ""
        say(f"{told['bot']}{task} {word(str(told['state']))}{where}", own=reason)
        if behind:
            warn(f"not yet on {named(behind)}: see the log there (a bot that does not serve there cannot be paused)")
    return PROBLEM if behind else OK
