"""Coroutines that nobody awaited, a forgotten `await` before `event.pyrus...`: a failure of the test, not a warning."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def noticing(found: list[str]) -> Iterator[None]:
    """Within it, Python's "was never awaited" goes into `found`; every other warning goes its usual way."""
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
        warnings.filterwarnings("always", message=".*was never awaited", category=RuntimeWarning)
        yield
