"""Processes with a journal of their own, driven from a test: tests/programs/journal_writer.py."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.journal.journals import JournalMaker

ROOT = Path(__file__).parents[2]


@contextmanager
def process(journal: JournalMaker, what: str, number: int = 0, own: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process of tests/programs/journal_writer.py; `own` is its state folder where it is not the journal's."""
    command = [
        sys.executable, "-m", "tests.programs.journal_writer", what, str(journal.folder), journal.url,
        own or str(journal.folder), str(number),
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.send_signal(signal.SIGCONT)
            child.kill()


def line_of(child: subprocess.Popen[str], word: str) -> list[str]:
    """The words of the next line, which begins with this word."""
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line.startswith(word), line + (child.stderr.read() if not line and child.stderr else "")
    return line.split()[1:]
