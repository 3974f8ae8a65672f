"""Keep the newest refusals for the page: no journal has them, and they are the first thing to see when a bot is set up."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST = 30


class RefusedLine(msgspec.Struct, frozen=True):
    """One line of the logger `bothost.refused`."""

    at: float
    bot: str
    word: str
    status: int
    peer: str
    text: str


class RefusalTail(logging.Handler):
    """Listens to the logger `bothost.refused` of this process from `start` to `close`."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self._scrub = scrub
        self._lines: deque[RefusedLine] = deque(maxlen=MOST)

    def start(self) -> None:
        """Begin to listen."""
        logging.getLogger("bothost.refused").addHandler(self)

    def close(self) -> None:
        """Stop listening."""
        logging.getLogger("bothost.refused").removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        extra = vars(record)
        line = RefusedLine(
            record.created,
            str(extra.get("bot") or ""),
            str(extra.get("outcome") or ""),
            int(extra.get("status") or 0),
            str(extra.get("peer") or ""),
            self._scrub(record.getMessage()),
        )
        self._lines.append(line)

    def newest(self) -> Sequence[RefusedLine]:
        """Return the lines, newest first."""
        return tuple(reversed(self._lines))
