"""The command line. One module a group of commands, imported when a command of it is asked for; see `commands.TABLE`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, PROBLEM, USAGE = 0, 1, 2
"""The exit codes: all is well, a problem was found, the command line cannot be understood."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. The console script `bothost`."""
    from bothost.cli.commands import run

    return run(list(sys.argv[1:] if argv is None else argv))
