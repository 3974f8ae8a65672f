"""The rules of a delivery that need neither time nor store: attempts, repeats, what a failed run leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bothost.runner import Failure
    from bothost.store import Door

ATTEMPTS = 3
"""Pyrus calls three times in all (protocol §1.4)."""
RUNS = 3
"""Runs of one event, before and after the acknowledgement together."""
DEATHS = 3
"""Deaths of the host during one event after which it is not run again."""
REPEAT_S = 600.0
"""A delivery of a known event within this time of its last one is a repeat."""
APART_S = 1.0
"""Deliveries closer than this are one attempt."""
RERUN_AFTER_S = (60.0, 120.0)
"""When the host runs an acknowledged event again by itself, the first and the second time."""
LEASE_BEYOND_S = 60.0
"""How much longer than its `timeout` a run's lease is renewed."""

_ATTEMPT = re.compile(r"\s*(\d{1,9})\s*(?:/\s*(\d{1,9})\s*)?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What `X-Pyrus-Retry` says, read leniently: `marked` 0 where it says nothing usable, `of` 3 where it does not say."""

    marked: int = 0
    of: int = ATTEMPTS

    def number(self, seen: int) -> int:
        """Which attempt this is, given how many deliveries of the event were seen before it."""
        return max(self.marked, seen + 1)

    def is_last(self, seen: int) -> bool:
        """Whether Pyrus will not come again, given how many deliveries were seen before this one."""
        return self.number(seen) >= self.of or seen + 1 >= ATTEMPTS


_FIRST = Attempt()


@lru_cache(maxsize=64)
def read_attempt(header: str) -> Attempt:
    """Read the header's value; whatever it holds, an attempt comes out."""
    if not header:
        return _FIRST
    match = _ATTEMPT.match(header)
    if not match:
        return _FIRST
    of = int(match[2]) if match[2] else ATTEMPTS
    return Attempt(int(match[1]), of if 1 <= of <= 9 else ATTEMPTS)


Failing = Literal["held", "parked", "posting", "failed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failed run leads to: the next state, what the waiting deliveries get, when it is due again."""

    state: Failing
    status: int
    speaks: bool = False
    """The error text is the answer."""
    due_in_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """A bot's `on_error`, and whether it has an error text."""

    on_error: Literal["retry", "ignore", "reply"]
    speaks: bool


def after_failure(
    policy: ErrorPolicy, failure: Failure, *, door: Door, last: bool, runs: int, again_already: bool = False
) -> Verdict:
    """Decide by the state table; `runs` counts this one, `last` tells that Pyrus will not come again, `again_already` that
    the host had run it again by itself."""
    again = policy.on_error == "retry" and failure.may_rerun and runs < RUNS
    if door == "api":
        if again:
            return Verdict("parked", 200, due_in_s=RERUN_AFTER_S[again_already])
        if policy.on_error != "ignore" and policy.speaks:
            return Verdict("posting", 200, speaks=True)
        return Verdict("failed", 200)
    if again and not last:
        return Verdict("held", 500)
    if policy.on_error == "ignore":
        return Verdict("failed", 200)
    if policy.speaks:
        return Verdict("failed", 200, speaks=True)
    return Verdict("failed", 500)
