"""Run the command line: one module for each group of commands, which is imported only when one of them runs.

Decisions about events belong to the pipeline, and SQL to the journal. A command asks them. Start reading at `commands.TABLE`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, PROBLEM, USAGE = 0, 1, 2
"""The exit codes: all is well, a problem was found, the command line is wrong."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. This is the console script `bothost`."""
    open_standard_streams()
    from bothost.cli.commands import run

    return run(list(sys.argv[1:] if argv is None else argv))


def open_standard_streams() -> None:
    """Open /dev/null in place of a closed standard stream.

    Otherwise the next socket or file gets its number, and whatever is printed goes into the journal or to a sender.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))
