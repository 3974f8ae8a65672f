"""Turn the output of plugins to stdout and stderr into log lines, so that no secret and no forged line leaves by `print`."""

from __future__ import annotations

import io
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

LONGEST_PART = 1 << 16
OWN: ContextVar[bool] = ContextVar("bothost_own_output", default=False)
"""True while the host itself prints for a person, such as the table of `demo`. That text is written as it is."""


class PrintedLines(io.TextIOBase):
    """Replaces sys.stdout or sys.stderr, and logs each line when it is complete. Each thread has a line of its own."""

    def __init__(self, real: TextIO, take: Callable[[str], None], shown: Callable[[str], str]) -> None:
        """`take` logs a line. `shown` returns a text without secrets, for a prompt that waits for an answer."""
        super().__init__()
        self._real = real
        self._take = take
        self._shown = shown
        self._begun = threading.local()
        self.buffer = _PrintedBytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return the encoding of the real stream."""
        return self._real.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Return the name of the way in which the real stream treats characters that it cannot encode."""
        return self._real.errors

    def fileno(self) -> int:
        """Return the real descriptor, for processes that a plugin starts."""
        return self._real.fileno()

    def isatty(self) -> bool:
        """Return whether a person reads."""
        return self._real.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Log the lines that are complete now, and keep the rest until its line is complete."""
        if OWN.get():
            return self._real.write(text)
        *lines, rest = (getattr(self._begun, "text", "") + text).split("\n")
        while len(rest) > LONGEST_PART:
            lines.append(rest[:LONGEST_PART])
            rest = rest[LONGEST_PART:]
        self._begun.text = rest
        for line in lines:
            if line:
                self._take(line)
        return len(text)

    def flush(self) -> None:
        """Show a begun line at once if a person reads, because it may be a prompt."""
        if OWN.get():
            self._real.flush()
            return
        begun = getattr(self._begun, "text", "")
        if begun and self.isatty():
            self._begun.text = ""
            self._real.write(self._shown(begun))
            self._real.flush()


class _PrintedBytes(io.BufferedIOBase):
    """Takes bytes for the text stream above it."""

    def __init__(self, lines: PrintedLines) -> None:
        super().__init__()
        self._lines = lines

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        text = bytes(data).decode("utf-8", "replace")
        self._lines.write(text)
        return len(data)

    def flush(self) -> None:
        self._lines.flush()
