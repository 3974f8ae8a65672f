"""`hosts` and `reload`: all processes of all hosts on the journal, and what a reload came to on each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.help import Command
from bothost.cli.journal_access import visit
from bothost.cli.output import config_option, json_option, say, show_json, show_table
from bothost.operator.presence import asked_at, by_place, named, presences, wait_until

if TYPE_CHECKING:
    from bothost.journal import Journal
    from bothost.operator.presence import ProcessPresence

RELOAD_S = 60.0


@click.command(cls=Command, epilog="Example: bothost hosts")
@config_option
@json_option
def hosts(config: str, as_json: bool) -> int:
    """List all processes of all hosts that work on the journal: version, since when, lease, load, plugins to restart for."""

    async def work(journal: Journal) -> tuple[list[ProcessPresence], float]:
        # by the journal's time, because the hosts' clocks and this machine's need not agree
        return presences(await journal.controls(), journal.now()), journal.now()

    found, now = visit(config, work)
    rows = [_row(one, now) for one in found]
    if as_json:
        show_json(rows)
    elif rows:
        columns = ["host", "process", "pid", "version", "since", "lease", "running", "waiting", "lag_ms"]
        show_table(columns, rows, "notes")
    else:
        say("no host works on this journal: bothost serve starts one")
    return PROBLEM if any(row["notes"] or row["lease"] != "ok" for row in rows) else OK


def _row(one: ProcessPresence, now: float) -> dict[str, Any]:
    lease = "ok" if one.alive(now) else f"lost: silent for {now - one.at:.0f} s"
    since = datetime.fromtimestamp(one.started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "host": one.host,
        "process": one.process,
        "pid": one.pid,
        "version": one.version,
        "since": since,
        "lease": lease,
        "running": one.running,
        "waiting": one.waiting,
        "lag_ms": round(one.lag_s * 1000),
        "plugins": dict(one.plugins),
        "notes": "; ".join(one.notes()),
    }


@click.command(cls=Command, name="reload", epilog="Example: bothost reload --wait")
@click.option("--wait", is_flag=True, help="Wait until all processes have reloaded, and tell what came of it.")
@config_option
@json_option
def reload_(wait: bool, config: str, as_json: bool) -> int:
    """Have all processes of all hosts read bots.ini again, even if it seems cut off."""

    async def work(journal: Journal) -> tuple[list[ProcessPresence], list[ProcessPresence]]:
        asked = f"{journal.now():.6f}"
        await journal.control("generation", asked)
        # not only this request: somebody else may have asked a moment later
        return await wait_until(journal, lambda one: not wait or asked_at(one.generation) >= asked_at(asked), RELOAD_S)

    living, behind = visit(config, work)
    done = [one for one in living if wait and one not in behind]
    failed = [one for one in done if "not as bots.ini says" in one.reloaded]
    notes = sorted({note for one in living for note in one.notes()})
    if as_json:
        told = {place: one.reloaded for place, one in by_place(done).items()}
        show_json({"done": told, "behind": list(by_place(behind)), "notes": notes})
    else:
        _say_reload(living, behind, wait=wait)
        for note in notes:
            say(note)
    return PROBLEM if behind or failed or not living else OK


def _say_reload(living: list[ProcessPresence], behind: list[ProcessPresence], *, wait: bool) -> None:
    if not living:
        say("no host works on this journal, so nothing is there to reload: bothost serve starts one")
    elif not wait:
        say("asked: every process reads bots.ini again within a second; --wait tells what came of it")
        return
    for place, one in by_place(living).items():
        if one not in behind:
            say(f"{place}: {one.reloaded}")
    if behind:
        say(f"not yet on {named(behind)}: see the log there")
