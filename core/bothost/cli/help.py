"""Write `--help` and the shells' completions in the language of the terminal.

English stands in the commands, because the site shows it. A `Command` and a `Group` translate it when it is written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from bothost.cli.output import language

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click.shell_completion import CompletionItem

_EXTRAS = re.compile(r"(?:^|  )\[(?:env var|default|required|\d)[^]]*\]$")
"""What click writes behind an option's help: its variable, its default, its range."""
_OF_CLICK = re.compile(r"\b(?:OPTIONS|COMMAND|ARGS|INTEGER RANGE|INTEGER|TEXT|env var|default|required)\b")
"""Click's own words in a usage line, in front of an option's help and behind it."""


class HelpFormatter(click.HelpFormatter):
    """Writes each text of a help in the terminal's language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how a command is called."""
        super().write_usage(prog, _words(args), prefix or f"{told('Usage')}: ")

    def write_heading(self, heading: str) -> None:
        """Write what stands above options or commands."""
        super().write_heading(told(heading))

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        super().write_text("\n\n".join(map(told, text.split("\n\n"))))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write options or commands, each with what it does."""
        super().write_dl([(_words(first), _explained(second)) for first, second in rows], col_max, col_spacing)


class HelpContext(click.Context):
    """Has the help written by our formatter."""

    formatter_class = HelpFormatter


class Command(click.Command):
    """A command that explains itself in the terminal's language."""

    context_class = HelpContext

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the options that begin like this."""
        return _translated(super().shell_complete(ctx, incomplete))


class Group(click.Group):
    """A group of such commands, which lists each with its whole first paragraph."""

    context_class = HelpContext
    command_class = Command

    def lines(self, context: click.Context) -> dict[str, str]:
        """Return what each command does, by its name."""
        commands = {name: self.get_command(context, name) for name in self.list_commands(context)}
        return {name: (command.help or "").split("\n\n")[0] for name, command in commands.items() if command}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lines(ctx).items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin like this."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=line) for name, line in self.lines(ctx).items() if name.startswith(incomplete)
        ]
        return _translated([*commands, *click.Command.shell_complete(self, ctx, incomplete)])


def told(english: str) -> str:
    """Return a text of a help in the terminal's language. An example keeps its command."""
    example, colon, command = english.partition("Example: bothost ")
    if colon and not example:
        return f"{told('Example')}: bothost {command}"
    return language().help_text(" ".join(english.split()))


def _words(text: str) -> str:
    return _OF_CLICK.sub(lambda match: told(match[0]), text)


def _explained(text: str) -> str:
    extras = _EXTRAS.search(text)
    return told(text[: extras.start()]) + _words(extras[0]) if extras else told(text)


def _translated(items: list[CompletionItem]) -> list[CompletionItem]:
    for item in items:
        if item.help:
            item.help = told(item.help)
    return items
