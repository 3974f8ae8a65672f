"""The command line: one module for each group of commands, imported only when one of them runs.

Decisions about events belong to the pipeline, and SQL to the journal: a command asks them. Start reading at `commands.TABLE`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, PROBLEM, USAGE = 0, 1, 2
"""The exit codes: all is well, a problem was found, the command line is wrong."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. This is the console script `bothost`."""
    from bothost.cli.commands import run

    return run(list(sys.argv[1:] if argv is None else argv))
