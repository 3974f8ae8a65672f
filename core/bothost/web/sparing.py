"""Tornado's own lines about what strangers send: one of a kind a minute, so that they cannot fill the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bothost.clock import Clock

QUIET_S = 60.0
MOST_KINDS = 100


class Sparing(logging.Filter):
    """Lets a line pass if none of its kind (the text before its arguments) passed within a minute; errors always pass."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes; the next of its kind says how many did not."""
        if record.levelno >= logging.ERROR:
            return True
        kind = str(record.msg).partition(":")[0][:60]
        now = self._clock.monotonic()
        since, held = self._passed.get(kind, (-QUIET_S, 0))
        if now - since < QUIET_S:
            self._passed[kind] = (since, held + 1)
            return False
        if len(self._passed) >= MOST_KINDS:
            self._passed.clear()
        self._passed[kind] = (now, 0)
        if held:
            record.msg = f"{record.msg} (and {held} times more in the minute before)"
        return True


def spare_the_log(clock: Clock) -> None:
    """Hold back Tornado's lines in this process."""
    tornado = logging.getLogger("tornado.general")
    if not any(isinstance(each, Sparing) for each in tornado.filters):
        tornado.addFilter(Sparing(clock))
