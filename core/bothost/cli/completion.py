"""Complete for a shell what only the configuration or the journal knows. `selection.py` completes bots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from bothost.cli.journal_access import visit
from bothost.cli.selection import completed_config
from bothost.config import read
from bothost.errors import BothostError

if TYPE_CHECKING:
    import click


def complete_old_bot(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the bots that have open or failed events in the journal and no section in the configuration."""
    config = completed_config(context)
    reading = read(config)
    try:
        counts = visit(config, lambda journal: journal.counts())
    except (BothostError, OSError):
        return []
    there = {bot for bot, _ in counts} - {*reading.bots, *reading.broken}
    return sorted(bot for bot in there if bot.startswith(begun))


def complete_account(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the names of the configuration's accounts that begin like this."""
    return sorted(name for name in read(completed_config(context)).accounts if name.startswith(begun))


def complete_file(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Have the shell complete a file."""
    return [CompletionItem(begun, type="file")]


def complete_folder(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Have the shell complete a folder."""
    return [CompletionItem(begun, type="dir")]
