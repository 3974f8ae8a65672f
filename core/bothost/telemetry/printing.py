"""Turn the output of plugins to stdout and stderr into log lines, so that no secret and no forged line leaves by `print`."""

from __future__ import annotations

import io
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from bothost.text import LONGEST_TEXT, SCRUBBED_BEYOND

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

LONGEST_LINE = LONGEST_TEXT + SCRUBBED_BEYOND
"""So much of a printed line is taken: what a log line shows, and what is searched for secrets beyond it."""
OWN: ContextVar[bool] = ContextVar("bothost_own_output", default=False)
"""True while the host itself prints for a person, such as the table of `demo`. That text is written as it is."""


class LineSplitter:
    """Makes lines of pieces of text, and hands on each when it is complete. Of a line that is too long it hands on the
    beginning at once, and at the end how much was left out."""

    def __init__(self, take: Callable[[str], None], longest: int = LONGEST_LINE) -> None:
        self._take = take
        self._longest = longest
        self.begun = ""
        self._left_out = 0

    def feed(self, text: str) -> None:
        """Take the next piece."""
        first, *others = text.split("\n")
        self._add(first)
        for line in others:
            self.end()
            self._add(line)

    def end(self) -> None:
        """Hand on what has begun, as a line."""
        line, left_out = self.begun, self._left_out
        self.begun, self._left_out = "", 0
        if left_out:
            line = f"… {left_out} more characters of this line were left out"
        if line:
            self._take(line)

    def _add(self, piece: str) -> None:
        if self._left_out:
            self._left_out += len(piece)
            return
        room = self._longest - len(self.begun)
        self.begun += piece[:room]
        if len(piece) > room:
            self._take(self.begun)
            self.begun, self._left_out = "", len(piece) - room


class PrintedLines(io.TextIOBase):
    """Replaces sys.stdout or sys.stderr, and logs each line when it is complete. Each thread has a line of its own."""

    def __init__(self, real: TextIO, take: Callable[[str], None], shown: Callable[[str], str]) -> None:
        """`take` logs a line. `shown` returns a text without secrets, for a prompt that waits for an answer."""
        super().__init__()
        self._real = real
        self._take = take
        self._shown = shown
        self._lines_of = threading.local()
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
        self._lines().feed(text)
        return len(text)

    def flush(self) -> None:
        """Show a begun line at once if a person reads, because it may be a prompt."""
        if OWN.get():
            self._real.flush()
            return
        lines = self._lines()
        if lines.begun and self.isatty():
            begun, lines.begun = lines.begun, ""
            self._real.write(self._shown(begun))
            self._real.flush()

    def _lines(self) -> LineSplitter:
        own: LineSplitter | None = getattr(self._lines_of, "own", None)
        if own is None:
            own = self._lines_of.own = LineSplitter(self._take)
        return own


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
