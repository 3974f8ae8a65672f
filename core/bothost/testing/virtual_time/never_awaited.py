"""Make a coroutine that nobody awaited, such as a forgotten `await` before `event.pyrus...`, fail the test."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator


MISTAKEN = (3, 12) <= sys.version_info < (3, 12, 4)
"""True if sqlite3 takes the journal's `?1` for a named parameter and warns of it. A test's settings may make that an error."""


@contextmanager
def noticing(found: list[str]) -> Iterator[None]:
    """Put Python's "was never awaited" into `found` within the block.

    Every other warning goes its usual way, except the one in which sqlite3 is mistaken."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if "was never awaited" in str(message):
                found.append(f"{message} ({filename}:{lineno})")
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        if MISTAKEN:
            warnings.filterwarnings("ignore", message="Binding .* is a named parameter", category=DeprecationWarning)
        warnings.filterwarnings("always", message=".*was never awaited", category=RuntimeWarning)
        yield
