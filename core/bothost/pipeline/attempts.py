"""Tell which attempt a delivery is, and hold the bounds of attempts and runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

ATTEMPTS = 3
"""The number of Pyrus's attempts (protocol §1.4)."""
RUNS = 3
"""The most runs of one event, before and after the acknowledgement together."""
DEATHS = 3
"""The number of deaths of the host during one event after which it is not run again."""
REPEAT_S = 600.0
"""A delivery of a known event within this time of its last one is a repeat."""
APART_S = 1.0
"""Deliveries closer than this are one attempt."""
RERUN_AFTER_S = (60.0, 120.0)
"""The seconds after which the host runs an acknowledged event again by itself, the first and the second time."""
LEASE_BEYOND_S = 60.0
"""The seconds beyond its `timeout` for which a run's lease is renewed."""

_ATTEMPT = re.compile(r"\s*(\d{1,9})\s*(?:/\s*(\d{1,9})\s*)?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class AttemptNumber:
    """The value of `X-Pyrus-Retry`, read leniently: `marked` 0 if it says nothing usable, `of` 3 if it does not say."""

    marked: int = 0
    of: int = ATTEMPTS

    def number(self, seen: int) -> int:
        """Return the number of this attempt, given the number of the event's deliveries seen before it."""
        return self.marked if self.marked > seen else seen + 1

    def is_last(self, seen: int) -> bool:
        """Return whether Pyrus will not come again, given the number of deliveries seen before this one."""
        return self.marked >= self.of or seen + 1 >= self.of or seen + 1 >= ATTEMPTS


_FIRST = AttemptNumber()


@lru_cache(maxsize=64)
def read_attempt(header: str) -> AttemptNumber:
    """Read the header's value. Any value gives an attempt."""
    if not header:
        return _FIRST
    match = _ATTEMPT.match(header)
    if not match:
        return _FIRST
    of = int(match[2]) if match[2] else ATTEMPTS
    return AttemptNumber(int(match[1]), of if 1 <= of <= 9 else ATTEMPTS)
