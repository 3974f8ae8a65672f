"""How often threads hand over the interpreter: more often while the loop has to wait for it behind threads that compute.

The loop needs the interpreter some five times for a delivery, and each time waits behind every thread that computes. With
eight of them a neighbour's 20 ms became 65 ms (p95 123 ms) at the usual interval, and about half of that at the narrow one.
"""

from __future__ import annotations

import sys

NARROW_S = 0.0001
LATE_S = 0.01
"""The loop is late when it answers the watchdog after more than this …"""
LATE_TIMES = 3
"""… so often in a row: the interval becomes narrow."""
CALM_TIMES = 50
"""Answers in time, in a row, after which it is as before."""


class Switching:
    """Told of each answer of the loop; on the loop."""

    def __init__(self) -> None:
        self._usual_s = sys.getswitchinterval()
        self._late = 0
        self._calm = 0
        self._narrow = False

    def answered(self, lag_s: float) -> None:
        """The loop was so late."""
        if lag_s > LATE_S:
            self._late, self._calm = self._late + 1, 0
        else:
            self._late, self._calm = 0, self._calm + 1
        if not self._narrow and self._late >= LATE_TIMES:
            self._set(NARROW_S)
        elif self._narrow and self._calm >= CALM_TIMES:
            self._set(self._usual_s)

    def restore(self) -> None:
        """As it was."""
        if self._narrow:
            self._set(self._usual_s)

    def _set(self, seconds: float) -> None:
        self._narrow = seconds == NARROW_S
        sys.setswitchinterval(seconds)
