"""Print results: tables and texts for people in their language, JSON for programs, errors on stderr (with --json on stdout)."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import sys
from itertools import zip_longest
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from bothost.errors import ConfigError, Problem
from bothost.language import ENGLISH, Language, of_terminal
from bothost.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WIDE = 1000
"""The width if the output is no terminal. Nothing is folded then, because grep reads it."""
GAP = 3
"""The number of blanks between two columns."""
LEAST_NOTE = 36
"""A long text with less room than this beside the other columns stands below its row."""

TRANSLATED = frozenset(
    {"state", "kind", "lease", "what", "outcome", "who", "reason", "door", "rerun", "error", "why", "notes", "problem"}
)
"""The columns whose cells are words and messages of bothost. What stands in the others is the user's."""
TYPOGRAPHY = "я…—«»"
"""What Russian texts are written with. An encoding that lacks it gets English."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
config_option = click.option(
    "--config",
    type=click.Path(),  # so that a shell completes files
    default="bots.ini",
    show_default=True,
    envvar="BOTHOST_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="The configuration to use.",
)

log_level_option = click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    help="Log from this level on, whatever [host] log_level says.",
)


def language() -> Language:
    """Return the language that the terminal asks for, or English if the terminal cannot show that one."""
    try:
        TYPOGRAPHY.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return ENGLISH
    return of_terminal(os.environ)


def word(english: str) -> str:
    """Return a word of bothost for a person: a column, a state."""
    return language().text(english)


def say(text: str = "", *, own: str = "") -> None:
    """Print a message for a person, and behind it what are somebody's own words."""
    show_data(language().message(text) + own)


def warn(text: str) -> None:
    """Print a message for a person on stderr."""
    show_data(language().message(text), err=True)


def show_data(text: str, *, err: bool = False) -> None:
    """Print a text that is no message of bothost as it is, for a person."""
    click.echo(visible(text, lines=True), err=err)


def laid_out(value: Any) -> str:
    """Return a value for a person: a text as it is, anything else as JSON, in lines."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)


def show_json(value: Any) -> None:
    """Print a result for a program."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def show_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], note: str = "") -> None:
    """Print rows as a table. The columns are keys of the rows, with blanks for underscores.

    No cell is cut or folded, because people copy ids. `note` is the key of a long text, which is folded in the last column or
    stands below its row if the terminal has no room for it.
    """
    cells = [[visible(cell(row.get(column), column)) for column in columns] for row in rows]
    notes = [visible(cell(row.get(note), note)) if note else "" for row in rows]
    heads = [word(column.replace("_", " ")) for column in columns]
    taken = sum(max(map(len, those)) + GAP for those in zip(heads, *cells, strict=True))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    if any(notes) and width - taken >= LEAST_NOTE:
        lines = [[*line, text] for line, text in zip(cells, notes, strict=True)]
        click.echo("\n".join(_table_lines([*heads, word(note)], lines, width, word(note))))
        return
    blank, head, rule, *rest = _table_lines(heads, cells, max(taken, width))
    click.echo("\n".join((blank, head, rule)))
    for line, text in zip_longest(rest, notes, fillvalue=""):
        click.echo(line)
        if text:
            click.echo(fill(text, width, initial_indent="    ", subsequent_indent="    "))


def _table_lines(heads: Sequence[str], cells: Iterable[Sequence[str]], width: int, note: str = "") -> list[str]:
    """Return the lines of a table: an empty one, head, rule, the rows, an empty one."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head != note)
    for line in cells:
        table.add_row(*map(Text, line))
    console = Console(width=width, highlight=False, emoji=False)
    with console.capture() as lines:
        console.print(table)
    return [line.rstrip() for line in lines.get().splitlines()]


def cell(value: Any, column: str) -> str:
    """Return a value of a column for a person, in the person's language if the column holds words of bothost."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return word("yes" if value else "no")
    return language().message(word(str(value))) if column in TRANSLATED else str(value)


def problem_row(problem: Problem) -> dict[str, Any]:
    """Return a problem for a program."""
    return {
        "file": problem.file,
        "line": problem.line,
        "section": problem.section,
        "key": problem.key,
        "text": problem.text,
    }


def report(error: BaseException | str, *, as_json: bool, hint: str = "") -> None:
    """Print an error and how to mend it."""
    if as_json:
        told: dict[str, Any] = {"error": str(error)}
        if isinstance(error, ConfigError):
            told["problems"] = [problem_row(problem) for problem in error.problems]
        show_json(told)
        return
    lines = str(error).splitlines() or [type(error).__name__]
    head = "error: " if len(lines) == 1 else "errors:\n  "
    warn(head + "\n  ".join(lines))
    if hint:
        warn(hint)


def operator_name() -> str:
    """Return who runs this command, for histories and logs. Call it before root becomes the state folder's owner."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # the uid has no name
        user = f"uid {os.getuid()}"
    sudo = os.environ.get("SUDO_USER", "")
    return f"{sudo} (as {user}) on the command line" if sudo and sudo != user else f"{user} on the command line"
