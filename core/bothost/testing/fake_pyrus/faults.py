"""Script faults between a host and Pyrus: `pyrus.fail("POST tasks/*/comments", lose_answer(), times=2)`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from bothost.plugins.explained import explained
from bothost.testing import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Ending = Literal["answered", "lost", "refused"]


@dataclass(frozen=True, slots=True)
class ApiFault:
    """One fault of a request: whether it is applied, how and after how long it ends, and what happens before it."""

    applied: bool = False
    ending: Ending = "answered"
    status: int = 0
    """The status that is answered; 0 for the true answer."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    first: Callable[[], object] | None = None


@explained
def lose_request() -> ApiFault:
    """Break the connection before Pyrus has read the request."""
    return ApiFault(ending="lost")


@explained
def lose_answer() -> ApiFault:
    """Apply the request, and break the connection before the answer."""
    return ApiFault(applied=True, ending="lost")


@explained
def refuse_connection() -> ApiFault:
    """Refuse the connection, so that the request certainly did not arrive. For a server use `FakeServer.refuse`."""
    return ApiFault(ending="refused")


@explained
def tls_failure() -> ApiFault:
    """Fail the TLS handshake, so that nothing was sent. It works in process only."""
    return ApiFault(ending="refused")


@explained
def answer(status: int, code: str = "", text: str = "", *, applied: bool = False) -> ApiFault:
    """Answer with an error in Pyrus's envelope. With `applied` the request is carried out all the same."""
    _check_status(status)
    body = json.dumps({"error": text or code.replace("_", " "), "error_code": code}).encode()
    return ApiFault(applied=applied, status=status, body=body)


@explained
def gateway(status: int = 502, *, applied: bool = False) -> ApiFault:
    """Answer with a page in HTML, as a proxy in front of Pyrus does."""
    _check_status(status)
    return ApiFault(applied=applied, status=status, body=b"<html><body>Bad gateway</body></html>")


@explained
def limited(reset_s: int = 30) -> ApiFault:
    """Answer 429 with the time of the reset."""
    fault = answer(429, "too_many_requests")
    return ApiFault(status=429, body=fault.body, headers={"X-RateLimit-Reset": str(reset_s)})


@explained
def slow(seconds: float) -> ApiFault:
    """Apply the request late, and give the true answer then."""
    return ApiFault(applied=True, delay_s=checks.duration("seconds", seconds))


@explained
def slow_answer(seconds: float) -> ApiFault:
    """Apply the request at once, and answer late."""
    return ApiFault(applied=True, delay_s=-checks.duration("seconds", seconds))


@explained
def after(action: Callable[[], object]) -> ApiFault:
    """Call `action` just before the request is carried out, so that a person closes the task, or a step moves on."""
    if not callable(action):
        checks.wrong("action", action, "a function")
    return ApiFault(applied=True, first=action)


def _check_status(status: int) -> None:
    if checks.whole("a status", status, 100) > 599:
        checks.wrong("a status", status, "a number from 100 to 599")


@dataclass(slots=True)
class PlannedFault:
    """A fault and the requests it is for."""

    pattern: str
    fault: ApiFault
    times: int


def check_pattern(pattern: object) -> None:
    """Raise ValueError for a pattern that no request's method and path can match."""
    if not isinstance(pattern, str) or not re.fullmatch(r"(GET|POST|PUT|DELETE|\*) [^/\s]\S*|\*", pattern):
        raise ValueError(
            f'{pattern!r} matches no request: write a method and a path below the base URL, such as "POST tasks/*/comments"'
        )


class FaultScript:
    """The faults to come, each for the next requests that match its pattern."""

    def __init__(self) -> None:
        self._plans: list[PlannedFault] = []

    def add(self, pattern: str, fault: ApiFault, times: int) -> None:
        """Plan a fault. `pattern` is a method and path with `*`, such as "POST tasks/*/comments".

        Raises TypeError and ValueError for a fault that could never happen, so that no test passes because its fault was lost.
        """
        check_pattern(pattern)
        if not isinstance(fault, ApiFault):
            raise TypeError(
                f"{fault!r:.80} is no fault: write one of bothost.testing.trouble, such as trouble.answer(503) or trouble.lose_answer()"
            )
        if not isinstance(times, int) or isinstance(times, bool) or times < 1:
            raise ValueError(f"times={times!r}: a fault happens a whole number of times, at least once")
        self._plans.append(PlannedFault(pattern, fault, times))

    def take(self, title: str) -> ApiFault | None:
        """Return the fault for a request, and count it as used; None if the request goes well."""
        for plan in self._plans:
            if plan.times > 0 and fnmatchcase(title, plan.pattern):
                plan.times -= 1
                return plan.fault
        return None

    def clear(self) -> None:
        """Drop all planned faults."""
        self._plans.clear()

    @property
    def left(self) -> list[str]:
        """Return the patterns whose faults did not all happen."""
        return [plan.pattern for plan in self._plans if plan.times > 0]
