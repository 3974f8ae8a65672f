"""Write to the file of a stream, and to no other file that has got its number since.

A plugin may close the standard streams. The next connection then gets their numbers, and whoever writes to number 2 writes to
that client.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

T = TypeVar("T")


class LogOutput:
    """Writes text to a stream. It holds the stream's file under a second number, in case the first is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._numbers: list[int] = []
        self._file: tuple[int, int] | None = None
        with contextlib.suppress(OSError):  # the stream is no file but a text in memory
            self._numbers.append(stream.fileno())
            self._file = _file_of(self._numbers[0])
            self._numbers.append(os.dup(self._numbers[0]))
            _append_to(self._numbers[0])

    def put(self, text: bytes) -> None:
        """Write all of a text, behind what the stream itself holds. Raises OSError if the file was closed or cannot be written."""
        if self._file is None:
            buffer = getattr(self._stream, "buffer", None)
            self._stream.write(text.decode()) if buffer is None else buffer.write(text)
            self._stream.flush()
            return
        number = self._number()
        if number == self._numbers[0] and not self._stream.closed:
            _patiently(number, self._stream.flush)  # text that a plugin has written to the stream itself comes first
        rest = memoryview(text)
        while rest:
            rest = rest[_patiently(number, partial(os.write, number, rest)) :]

    def close(self) -> None:
        """Let go of the second number, if it is still this file's."""
        for number in self._numbers[1:]:
            if _file_of(number) == self._file:
                os.close(number)
        del self._numbers[1:]

    def _number(self) -> int:
        for number in self._numbers:
            if _file_of(number) == self._file:
                return number
        raise OSError(errno.EBADF, "a plugin has closed the file of the log")


def _append_to(number: int) -> None:
    """Have a regular file written at its end, wherever that is: logrotate's copytruncate would leave a hole of zeros before it."""
    if stat.S_ISREG(os.fstat(number).st_mode):
        fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)


def _file_of(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _patiently(file: int, write: Callable[[], T]) -> T:
    """Write, and wait if a pipe is full. A process that shares it may have made it non-blocking: then a stream loses lines,
    and writes halves.
    """
    while True:
        try:
            return write()
        except BlockingIOError:
            poll = select.poll()
            poll.register(file, select.POLLOUT)
            poll.poll()
