"""The table of commands and what all of them share: lazy import, near names, exit codes, errors as JSON with --json."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from bothost import __version__
from bothost.cli import OK, PROBLEM, USAGE
from bothost.cli.help import Group
from bothost.cli.output import report
from bothost.cli.privileges import explained
from bothost.errors import BothostError, UsageError
from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping


class CommandSource(NamedTuple):
    """A command's module and its line in `bothost --help`. The line stands here so that the help imports no command."""

    module: str
    attribute: str
    help: str


TABLE: Mapping[str, CommandSource] = {
    "demo": CommandSource(
        "serve", "demo", "Start the host with the bots of bots.ini, and send each a signed delivery."
    ),
    "serve": CommandSource("serve", "serve", "Start the host."),
    "dev": CommandSource(
        "dev.command", "dev", "Serve the bots beside a fake Pyrus with a page, and take up every saved file."
    ),
    "call": CommandSource("call", "call", "Ask Pyrus's API as a bot, and print the answer."),
    "shell": CommandSource("call", "shell", "Open a Python prompt with a bot's Pyrus and its store."),
    "tick": CommandSource("tick", "tick", "Run a timer of a bot once."),
    "check": CommandSource("check", "check", "List everything that is wrong in bots.ini and in its plugins' settings."),
    "bots": CommandSource("check", "bots", "Show the bots: state, plugin, path, secret's fingerprint."),
    "plugins": CommandSource("check", "plugins", "Show the plugins that are installed."),
    "send": CommandSource("send", "send", "Sign a delivery and send it to a bot."),
    "deliveries": CommandSource(
        "deliveries", "deliveries", "Work with events in the journal: list, show, retry, cancel, export."
    ),
    "rehearse": CommandSource(
        "rehearse", "rehearse", "Tell whether the installed plugin would give the same replies again."
    ),
    "journal": CommandSource("journal", "journal", "Copy the journal, back it up, restore it."),
    "pause": CommandSource("pause", "pause", "Stop running a bot's events."),
    "resume": CommandSource("pause", "resume", "End a pause or a quarantine."),
    "restart": CommandSource("pause", "restart", "Close a bot's plugin and open it anew, on all hosts."),
    "store": CommandSource("store", "store", "Read and change what a bot keeps in its store."),
    "reload": CommandSource("hosts", "reload_", "Read bots.ini again on all hosts."),
    "hosts": CommandSource("hosts", "hosts", "Show all processes of all hosts on the journal."),
    "token": CommandSource("token", "token", "Show the token that opens the operator's page."),
    "doctor": CommandSource("doctor", "doctor", "Examine everything that a host needs, and say what to do."),
    "new": CommandSource("new", "new", "Make a package with a bot of your own, whose tests pass at once."),
}


class LazyGroup(Group):
    """A group that imports a command's module only when the command runs."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names in the order of the table, which puts the most needed first."""
        return list(TABLE)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the command."""
        source = TABLE.get(name)
        if source is None:
            return None
        found: click.Command = getattr(import_module(f"bothost.cli.{source.module}"), source.attribute)
        return found

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, and name a similar command if there is none."""
        if args and args[0] not in TABLE and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}{nearest(args[0], TABLE)}", context)
        return super().resolve_command(context, args)

    def lines(self, _context: click.Context) -> dict[str, str]:
        """Return what each command does, without importing it."""
        return {name: source.help for name, source in TABLE.items()}


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(__version__, message="bothost %(version)s")
def bothost() -> None:
    """Host many Pyrus bots in one process.

    Example: `bothost demo`, then in another terminal `bothost send autoreply`.
    """


def run(argv: list[str]) -> int:
    """Run a command line. This is the only place where errors become messages and exit codes."""
    as_json = "--json" in argv
    try:
        code = bothost.main(args=argv, prog_name="bothost", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return USAGE
    except click.UsageError as error:
        report(error.format_message(), as_json=as_json, hint=_hint(error))
        return USAGE
    except UsageError as error:
        report(str(error), as_json=as_json)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return 130
    except OSError as error:
        report(_of_file(error), as_json=as_json)
        return PROBLEM
    except (BothostError, click.ClickException) as error:
        report(error, as_json=as_json)
        return PROBLEM
    except UnicodeEncodeError:
        report(_no_text(argv), as_json=as_json)
        return USAGE
    return code if isinstance(code, int) else OK


def _no_text(argv: list[str]) -> str:
    """Name the word that is no text: of bytes that are not UTF-8 Python makes halves of pairs. Raises the error again without one."""
    for word in argv:
        if any("\ud800" <= one <= "\udfff" for one in word):
            return f"{word!r} is no text: it holds bytes that are not UTF-8"
    raise  # noqa: PLE0704 - called while the error is handled


def _not_permitted(error: PermissionError) -> str:
    """Name the file's owner and the user to run as, because "Operation not permitted" alone says neither."""
    if not isinstance(error.filename, str):
        return str(error)
    return f"{error.strerror}: {explained(Path(error.filename).absolute())}"


def _of_file(error: OSError) -> str:
    """Name the file first, and the folder that is missing on the way to it."""
    if isinstance(error, PermissionError):
        return _not_permitted(error)
    if not isinstance(error.filename, str):
        return error.strerror or str(error)
    folder = Path(error.filename).absolute().parent
    missing = "" if folder.exists() else f": there is no folder {folder}"
    return f"{error.filename}: {error.strerror}{missing}"


def _hint(error: click.UsageError) -> str:
    return f"`{error.ctx.command_path} --help` shows how to use it" if error.ctx else ""
