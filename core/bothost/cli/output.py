"""What commands print: tables and texts for people, JSON for programs, errors on stderr (under --json on stdout)."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from bothost.errors import ConfigError, Problem
from bothost.scrub import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
config_option = click.option(
    "--config", default="bots.ini", show_default=True, metavar="FILE", help="The configuration to use."
)


def say(text: str = "") -> None:
    """One line for a person."""
    click.echo(visible(text, lines=True))


def warn(text: str) -> None:
    """One line for a person beside the result."""
    click.echo(visible(text, lines=True), err=True)


def show_json(value: Any) -> None:
    """A result for a program."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def show_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as a table; the columns are keys of the rows, underscores shown as blanks."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(_cell(row.get(column)))) for column in columns))
    # off a terminal nothing is cut or folded: it is read by grep
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000
    Console(width=width, soft_wrap=False, highlight=False, emoji=False).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def problem_row(problem: Problem) -> dict[str, Any]:
    """A problem for a program."""
    return {
        "file": problem.file,
        "line": problem.line,
        "section": problem.section,
        "key": problem.key,
        "text": problem.text,
    }


def report(error: BaseException | str, *, as_json: bool, hint: str = "") -> None:
    """Say what went wrong, and how it would be right."""
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
