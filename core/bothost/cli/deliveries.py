"""`deliveries`: list, show, retry, cancel and export events, beside a running host."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from bothost.cli import OK
from bothost.cli.bulk import BulkOptions, bulk_options, in_bulk, rate
from bothost.cli.completion import complete_old_bot
from bothost.cli.export import ExportOptions
from bothost.cli.help import Group
from bothost.cli.host_client import cancelled_at_host, waiting_at_host
from bothost.cli.journal_access import visit
from bothost.cli.output import (
    cell,
    config_option,
    json_option,
    laid_out,
    operator_name,
    say,
    show_data,
    show_json,
    show_table,
    warn,
    word,
)
from bothost.cli.selection import (
    TASK,
    StatusChoice,
    check_there,
    complete_bot,
    duration,
    host_of,
    moment,
    read_existing,
)
from bothost.errors import BothostError, UsageError
from bothost.journal.entry import Entry, EntryFilter, Phase
from bothost.journal.status import SHOWN_KINDS, phase
from bothost.operator.bulk import Selection, obstacle, select, without_login
from bothost.operator.outlook import history_of
from bothost.operator.waiting import beside
from bothost.text import counted, nearest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from bothost.journal import Journal
    from bothost.journal.entry import State
    from bothost.operator.bulk import Verb
    from bothost.operator.outlook import HistoryRow


SHOWN = (
    "id", "bot", "kind", "task", "state", "created", "updated", "attempts", "status", "runs", "ms", "rerun", "deaths", "door",
    "due", "tries", "comment", "plugin_version",
)  # fmt: skip
"""The facts that `show` prints for a person; empty ones are left out."""
KINDS = {shown: kind for kind, shown in SHOWN_KINDS.items()}
NEAR = 200
"""The number of the newest events that are searched for a similar id."""


@click.group(
    cls=Group, invoke_without_command=True, epilog="Example: bothost deliveries list --state failed --since 24h"
)
@config_option
@json_option
@click.pass_context
def deliveries(context: click.Context, config: str, as_json: bool) -> int | None:
    """Look at events in the journal and act on them. Without a command: list the newest."""
    if context.invoked_subcommand is not None:
        return None
    code: int = context.invoke(list_, config=config, as_json=as_json)
    return code


@deliveries.command("list", epilog="Example: bothost deliveries list --bot autoreply --state failed --since 24h --json")
@click.option("--bot", shell_complete=complete_bot, help="Only events of this bot.")
@click.option(
    "--state",
    type=StatusChoice(get_args(Phase)),
    metavar="STATE",
    help="Only events in this state: waiting, running, held, parked, posting, answered, undelivered, failed or cancelled.",
)
@click.option("--task", type=TASK, help="Only events of this task.")
@click.option("--kind", type=StatusChoice(tuple(SHOWN_KINDS.values())), help="Only events of this kind.")
@click.option(
    "--since", metavar="AGE", help="Only events younger than this: 30m, 24h, 7d, or since a day in UTC: 2026-01-31."
)
@click.option("--until", metavar="AGE", help="Only events older than this, or from before a day.")
@click.option("--error", default="", metavar="TEXT", help="Only events whose error contains this text.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Show at most this many.")
@config_option
@json_option
def list_(config: str, as_json: bool, limit: int, state: Phase | None, error: str, **narrow: Any) -> int:
    """List events, newest first. Each line tells when, bot, task, state, how long it ran and why it failed."""
    want_at = _filter(state, limit, **narrow)
    waiting = _waiting(config)

    async def read(journal: Journal) -> list[Entry]:
        want = want_at(journal.now())
        if error:
            return await select(journal.list, Selection(want, error), limit)
        return beside(waiting, await journal.list(want), want)

    entries = visit(config, read)
    if not entries and narrow["bot"]:  # a removed bot may still have events
        check_there(narrow["bot"], read_existing(config))
    if as_json:
        show_json([row(entry) for entry in entries])
    elif entries:
        show_table(
            ["created", "bot", "kind", "task", "state", "ms", "id"], [_line(entry) for entry in entries], "error"
        )
    else:
        narrowed = error or state or any(narrow.values())
        say("no deliveries like that" if narrowed else "no deliveries yet: bothost send BOT makes one")
    return OK


def _waiting(config: str) -> list[Entry]:
    """Return the events that wait in the running host's memory and are not in the journal."""
    return waiting_at_host(host_of(read_existing(config)))


def _filter(
    state: Phase | None, limit: int, bot: str | None, task: int | None, kind: str | None, **times: str | None
) -> Callable[[float], EntryFilter]:
    """Return what gives the filter for the journal's time."""
    since, until = moment("--since", times["since"]), moment("--until", times["until"])
    want = EntryFilter(bot=bot, task=task, kind=KINDS.get(kind or ""), phase=state, limit=limit)
    return lambda now: msgspec.structs.replace(want, since=since(now), until=until(now))


@deliveries.command("show", epilog="Example: bothost deliveries show autoreply:5600:comment:12208")
@click.argument("id")
@config_option
@json_option
def show(id: str, config: str, as_json: bool) -> int:
    """Show one event: request, reply, attempts, runs, traceback. The token is masked."""
    waiting = _waiting(config)
    entry, body = visit(config, lambda journal: _found(journal, id, waiting))
    told = row(entry) | {
        "runs": entry.runs,
        "attempts": entry.seen,
        "status": entry.status or None,
        "rerun": entry.rerun,
        "deaths": entry.deaths,
        "door": entry.door,
        "due": _iso(entry.due) if entry.due and entry.state == "ready" else None,
        "tries": entry.tries,
        "comment": entry.posted or None,
        "owner": entry.owner,
        "plugin_version": entry.version,
        "traceparent": entry.trace,
        "history": [_shown_step(step) for step in history_of(entry, entry.error)],
        "reply": _json_of(entry.answer),
        "request": _json_of(body),
    }
    if as_json:
        show_json(told)
        return OK
    labels = {key: word(key.replace("_", " ")) for key in SHOWN}
    width = max(15, *map(len, labels.values()))
    for key, label in labels.items():
        if told[key] not in (None, "", 0):
            show_data(f"{label:{width}} {cell(told[key], key)}")
    say(f"\n{word('history')}:")
    show_table(["at", "what", "number", "status", "ms", "who"], told["history"], "outcome")
    for key in ("error", "reply", "request"):
        value = told[key]
        if value not in (None, ""):
            say(f"\n{word(key)}:")
            (say if key == "error" else show_data)(laid_out(value))
    if body is None:
        waits = told["state"] == "waiting"
        say(f"\nrequest: {'not stored yet' if waits else 'no longer kept (see `keep` in bots.ini)'}")
    return OK


def _shown_step(step: HistoryRow) -> dict[str, Any]:
    return {
        "at": _iso(step.at),
        "what": step.what,
        "number": step.number or "",
        "status": step.status or "",
        "ms": round(step.ms, 1) or "",
        "outcome": step.outcome,
        "who": step.who,
    }


async def _found(journal: Journal, key: str, waiting: Iterable[Entry] = ()) -> tuple[Entry, bytes | None]:
    entry = await journal.find(key) or next((entry for entry in waiting if entry.id == key), None)
    if entry is None:
        raise await _none(journal, key)
    return entry, await journal.body(key)


async def _none(journal: Journal, key: str) -> BothostError:
    """Return the error for an id that the journal does not have."""
    if key.lstrip("#").isdecimal():
        return BothostError(
            f"{key} is no delivery's id: bothost deliveries list --task {key.lstrip('#')} shows a task's"
        )
    bot = key.partition(":")[0]
    newest = await journal.list(EntryFilter(bot=bot, limit=NEAR)) or await journal.list(EntryFilter(limit=NEAR))
    near = nearest(key, [entry.id for entry in newest])
    return BothostError(f"there is no delivery {key}{near}: bothost deliveries list shows their ids")


def _many(config: str, verb: Verb, default: Phase | None, as_json: bool, given: dict[str, Any]) -> int:
    """Work on all events that the options choose. Raises UsageError if they choose none in particular."""
    names = ("bot", "state", "task", "since", "until", "error")
    if not any(given[name] for name in names):
        raise UsageError(f"name an ID, or choose many: bothost deliveries {verb} --bot BOT --since 2h")
    if given["bot"]:
        check_there(given["bot"], read_existing(config))
    narrow = {name: given.get(name) for name in ("bot", "task", "kind", "since", "until")}
    want_at = _filter(given["state"] or default, 0, **narrow)

    def choose(now: float) -> Selection:
        want = want_at(now)
        open_ones: tuple[State, ...] = ("ready", "running") if want.phase is None else ()
        return Selection(msgspec.structs.replace(want, states=open_ones), given["error"])

    wait_s = duration("--wait", given["wait"])
    options = BulkOptions(given["dry_run"], rate(given["pace"]), wait_s, given["anyway"], as_json)
    return in_bulk(config, verb, choose, options)


@deliveries.command(
    "retry", epilog="Example: bothost deliveries retry --bot autoreply --state failed --since 2h --dry-run"
)
@click.argument("id", required=False)
@click.option("--again", is_flag=True, help="Run an answered event once more, as a new entry.")
@bulk_options
@config_option
@json_option
def retry(id: str | None, again: bool, config: str, as_json: bool, **given: Any) -> int:
    """Run a failed event again, or post its reply again; or all events that the options choose. Comments come through the API.

    With many, it shows a plan first and then a table of how they ended. It takes failed events unless --state says otherwise.
    """
    if id is None:
        return _many(config, "retry", "failed", as_json, given)
    reading, who = read_existing(config), operator_name()

    async def work(journal: Journal) -> Entry:
        key = await _known(journal, id)
        if (entry := await journal.find(key)) is not None and not as_json:
            logins = without_login(((bot.name, bot.login) for bot in reading.bots.values()), await journal.controls())
            if why := obstacle(entry, logins):
                warn(f"warning: {why}")
        return await journal.retry(key, again=again, who=who)

    return _taken_in_hand(config, work, as_json=as_json)


@deliveries.command("cancel", epilog="Example: bothost deliveries cancel autoreply:5600:comment:12208")
@click.argument("id", required=False)
@bulk_options
@config_option
@json_option
def cancel(id: str | None, config: str, as_json: bool, **given: Any) -> int:
    """End an event that waits, runs or is about to be posted; or all events that the options choose.

    A thread cannot be stopped; its result is dropped.
    """
    if id is None:
        return _many(config, "cancel", None, as_json, given)
    host, who = host_of(read_existing(config)), operator_name()

    async def work(journal: Journal) -> Entry:
        # a running host ends the event at once; from the journal it would learn of it only at its next beat
        taken = await asyncio.to_thread(cancelled_at_host, host, id, who)
        entry = await journal.find(id) if taken else None
        return entry or await journal.cancel(await _known(journal, id), who)

    return _taken_in_hand(config, work, as_json=as_json)


async def _known(journal: Journal, key: str) -> str:
    if await journal.find(key) is None:
        raise await _none(journal, key)
    return key


def _taken_in_hand(config: str, work: Callable[[Journal], Awaitable[Entry]], *, as_json: bool) -> int:
    entry = visit(config, work)
    if as_json:
        show_json(row(entry))
    else:
        asked = entry.cancel and entry.state == "running"
        say(f"{entry.id}: {'asked to end' if asked else word(phase(entry))}")
    return OK


@deliveries.command("move", epilog="Example: bothost deliveries move --from refunds --to refunds-eu")
@click.option(
    "--from",
    "old",
    required=True,
    metavar="BOT",
    shell_complete=complete_old_bot,
    help="The old name, which is not in bots.ini any more.",
)
@click.option(
    "--to", "new", required=True, metavar="BOT", shell_complete=complete_bot, help="The new name, which is in bots.ini."
)
@config_option
@json_option
def move(config: str, as_json: bool, old: str, new: str) -> int:
    """Give the events of a renamed bot to the bot that took its place. What runs at this moment is not moved."""
    reading = read_existing(config)
    check_there(new, reading)
    if old in reading.bots or old in reading.broken:
        raise UsageError(f"[bot:{old}] is still in bots.ini: rename or remove its section first")

    async def work(journal: Journal) -> tuple[int, int]:
        moved = await journal.move(old, new)
        return moved, sum(count for (bot, _), count in (await journal.counts()).items() if bot == old)

    moved, left = visit(config, work)
    if as_json:
        show_json({"from": old, "to": new, "moved": moved, "left": left})
    else:
        rest = f"; {left} stay, because they run at this moment or {new} has the same events" if left else ""
        say(f"{counted(moved, 'event')} of {old} belong to {new} now{rest}")
    return OK


@deliveries.command("export", epilog="Example: bothost deliveries export autoreply:5600:comment:12208 --test")
@click.argument("id")
@click.option("--test", is_flag=True, help="Write NAME.json and test_NAME.py, and run the test at once.")
@click.option("--texts", is_flag=True, help="Mask free texts too.")
@click.option("--name", help="Name of the files; made from the id unless given.")
@config_option
@json_option
def export(id: str, config: str, as_json: bool, **given: Any) -> int:
    """Print an event's request, in which everything that names people is masked. --test makes a test of it for its plugin."""
    wanted = ExportOptions(**given)
    entry, body = visit(config, lambda journal: _found(journal, id))
    if body is None:
        raise BothostError(f"{id} cannot be exported: its body is no longer kept (see `keep` in bots.ini)")
    return wanted.make(entry, body, config, as_json=as_json)


def row(entry: Entry) -> dict[str, Any]:
    """Return an entry for a program."""
    return {
        "id": entry.id,
        "bot": entry.bot,
        "kind": SHOWN_KINDS[entry.kind],
        "task": entry.task or None,
        "state": phase(entry),
        "created": _iso(entry.created),
        "updated": _iso(entry.updated),
        "ms": round(entry.ms, 1),
        "error": entry.error,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _line(entry: Entry) -> dict[str, Any]:
    told = row(entry)
    when = datetime.fromtimestamp(entry.created, UTC).astimezone()
    error = entry.error.partition("\n")[0].removeprefix(f"[bot:{entry.bot}] ")
    return told | {"created": when.strftime("%m-%d %H:%M:%S"), "error": error}


def _json_of(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")
