"""`store`: what a bot keeps, read and changed beside a running host; and as lines of JSON from one journal to another."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.help import Group
from bothost.cli.journal_access import visit
from bothost.cli.output import config_option, json_option, language, say, show_data, show_json, word
from bothost.cli.selection import bot_argument, check_there, read_existing
from bothost.clock import SystemClock
from bothost.errors import UsageError
from bothost.journal.data import JournalData, ListValues, ReadValue, WriteValue
from bothost.journal.values import check_key, decode, encode
from bothost.text import said

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.journal import Journal

Row = tuple[str, bytes, float]


@click.group(cls=Group, no_args_is_help=True, epilog="Example: bothost store list payments")
def store() -> None:
    """Read and change what a bot keeps in its store.

    Values are written as JSON; another type stands as an object, {"$": "decimal", "v": "1.5"}.
    """


@store.command("list", epilog="Example: bothost store list payments --prefix task:")
@bot_argument
@click.option("--prefix", default="", help="Only keys that begin like this.")
@config_option
@json_option
def list_values(bot: str, prefix: str, config: str, as_json: bool) -> int:
    """List keys and values in the order of the keys. With --json as `import` reads them."""
    rows = _visit(bot, config, lambda data: _all(data, prefix))
    if as_json:
        show_json([_row(row) for row in rows])
    else:
        for key, value, _ in rows:
            show_data(f"{key}  {value.decode('utf-8', 'replace')}")
    return OK


@store.command(epilog="Example: bothost store get payments balance")
@bot_argument
@click.argument("key")
@config_option
@json_option
def get(bot: str, key: str, config: str, as_json: bool) -> int:
    """Show one value. Exit code 1 if there is none."""
    found = _visit(bot, config, lambda data: data.ask("", ReadValue(check_key(key))))
    if found is None:
        say(f"{bot} has no value", own=f" {key!r}") if not as_json else show_json(None)
        return PROBLEM
    show_json(json.loads(found.decode("utf-8", "replace"))) if as_json else show_data(found.decode("utf-8", "replace"))
    return OK


@store.command("set", epilog="Example: bothost store set payments balance 7")
@bot_argument
@click.argument("key")
@click.argument("value")
@config_option
@json_option
def set_value(bot: str, key: str, value: str, config: str, as_json: bool) -> int:
    """Set a value, given as JSON; it does not expire."""
    data = _given(value)
    _visit(bot, config, lambda to: to.ask("", WriteValue(check_key(key), data)))
    _tell({"bot": bot, "key": key, "state": "set"}, as_json=as_json)
    return OK


@store.command(epilog="Example: bothost store delete payments balance")
@bot_argument
@click.argument("key")
@config_option
@json_option
def delete(bot: str, key: str, config: str, as_json: bool) -> int:
    """Delete a value. Exit code 1 if there was none."""
    there = _visit(bot, config, lambda data: data.ask("", WriteValue(check_key(key), None)))
    _tell({"bot": bot, "key": key, "state": "deleted" if there else "was not there"}, as_json=as_json)
    return OK if there else PROBLEM


@store.command(
    "import",
    epilog="Example: bothost store list payments --json > values.json; bothost store import payments values.json",
)
@bot_argument
@click.argument("file", type=click.File("r", encoding="utf-8"))
@config_option
@json_option
def import_values(bot: str, file: IO[str], config: str, as_json: bool) -> int:
    """Set the values of a file that `list --json` wrote; they expire as the file says."""
    try:
        rows = [
            (check_key(row["key"]), _given(json.dumps(row["value"])), float(row["expires_in_s"]))
            for row in json.load(file)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file.name} is no list that `bothost store list --json` wrote ({said(error)})") from None

    async def work(data: JournalData) -> None:
        for key, value, expires_in_s in rows:
            await data.ask("", WriteValue(key, value, expires_in_s))

    _visit(bot, config, work)
    what = f"{len(rows)} values"
    _tell({"bot": bot, "key": what, "state": "set"}, as_json=as_json, shown=language().message(what))
    return OK


def _visit(bot: str, config: str, work: Callable[[JournalData], Awaitable[Any]]) -> Any:
    check_there(bot, read_existing(config))

    async def inside(journal: Journal) -> Any:
        return await work(JournalData(journal, bot, SystemClock()))

    return visit(config, inside)


async def _all(data: JournalData, prefix: str) -> list[Row]:
    rows: list[Row] = []
    while page := await data.ask("", ListValues(prefix, rows[-1][0] if rows else "")):
        rows += page
    return rows


def _row(row: Row) -> dict[str, Any]:
    key, value, expires_in_s = row
    return {"key": key, "value": json.loads(value.decode("utf-8", "replace")), "expires_in_s": expires_in_s}


def _given(value: str) -> bytes:
    try:
        return encode(decode(value.encode()))
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise UsageError(f"{value:.80} is no value in JSON ({error}); a text stands in double quotes") from None


def _tell(told: dict[str, str], *, as_json: bool, shown: str = "") -> None:
    """Tell what was done, to which key; `shown` stands in the key's place for a person."""
    if as_json:
        show_json(told)
    else:
        show_data(f"{told['bot']} {shown or told['key']}: {word(told['state'])}")
