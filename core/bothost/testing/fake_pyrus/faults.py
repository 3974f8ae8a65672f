"""Faults between a host and Pyrus, scripted: `pyrus.fail("POST tasks/*/comments", lose_answer(), times=2)`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Ending = Literal["answered", "lost", "refused"]


@dataclass(frozen=True, slots=True)
class ApiFault:
    """One thing that goes wrong with a request: is it applied, how does it end, after how long, and what happens first."""

    applied: bool = False
    ending: Ending = "answered"
    status: int = 0
    """What is answered instead of the true answer; 0: the true one."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    first: Callable[[], object] | None = None


def lose_request() -> ApiFault:
    """Break the connection before Pyrus has read the request."""
    return ApiFault(ending="lost")


def lose_answer() -> ApiFault:
    """Have Pyrus apply the request, and break the connection before the answer."""
    return ApiFault(applied=True, ending="lost")


def refuse_connection() -> ApiFault:
    """Nobody listens: the request surely did not arrive. (A server cannot refuse one request: `FakeServer.refuse`.)"""
    return ApiFault(ending="refused")


def tls_failure() -> ApiFault:
    """The handshake fails, so that nothing was sent; in process only."""
    return ApiFault(ending="refused")


def answer(status: int, code: str = "", text: str = "", *, applied: bool = False) -> ApiFault:
    """An error in Pyrus's envelope; `applied`: although the request was carried out."""
    body = json.dumps({"error": text or code.replace("_", " "), "error_code": code}).encode()
    return ApiFault(applied=applied, status=status, body=body)


def gateway(status: int = 502, *, applied: bool = False) -> ApiFault:
    """A page in HTML from something in front of Pyrus."""
    return ApiFault(applied=applied, status=status, body=b"<html><body>Bad gateway</body></html>")


def limited(reset_s: int = 30) -> ApiFault:
    """429, with the time of the reset."""
    fault = answer(429, "too_many_requests")
    return ApiFault(status=429, body=fault.body, headers={"X-RateLimit-Reset": str(reset_s)})


def slow(seconds: float) -> ApiFault:
    """The true answer, late; the request is applied at the end of that time."""
    return ApiFault(applied=True, delay_s=seconds)


def slow_answer(seconds: float) -> ApiFault:
    """Applied at once, answered late."""
    return ApiFault(applied=True, delay_s=-seconds)


def after(action: Callable[[], object]) -> ApiFault:
    """Something happens just before the request is carried out: a person closes the task, a step moves on."""
    return ApiFault(applied=True, first=action)


@dataclass(slots=True)
class PlannedFault:
    """A fault and the requests it is for."""

    pattern: str
    fault: ApiFault
    times: int


def check_pattern(pattern: object) -> None:
    """Raise ValueError for what no request's method and path can match."""
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

        Raises TypeError and ValueError for what could never happen, so that no test passes because its fault was lost.
        """
        check_pattern(pattern)
        if not isinstance(fault, ApiFault):
            raise TypeError(
                f"{fault!r} is no fault: write one of bothost.testing.trouble, such as trouble.answer(503) or trouble.lose_answer()"
            )
        if not isinstance(times, int) or isinstance(times, bool) or times < 1:
            raise ValueError(f"times={times!r}: a fault happens a whole number of times, at least once")
        self._plans.append(PlannedFault(pattern, fault, times))

    def take(self, title: str) -> ApiFault | None:
        """Return the fault for a request, used up once; None if it goes well."""
        for plan in self._plans:
            if plan.times > 0 and fnmatchcase(title, plan.pattern):
                plan.times -= 1
                return plan.fault
        return None

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._plans.clear()

    @property
    def left(self) -> list[str]:
        """Patterns whose faults did not all happen."""
        return [plan.pattern for plan in self._plans if plan.times > 0]
