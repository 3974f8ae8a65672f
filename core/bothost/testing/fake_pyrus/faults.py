"""What can go wrong between a host and Pyrus, scripted: `pyrus.fail("POST tasks/*/comments", lose_answer(), times=2)`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Ending = Literal["answered", "lost", "refused"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with a request: is it applied, how does it end, after how long, and what happens first."""

    applied: bool = False
    ending: Ending = "answered"
    status: int = 0
    """What is answered instead of the true answer; 0: the true one."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    first: Callable[[], object] | None = None


def lose_request() -> Fault:
    """The connection breaks before Pyrus has read the request."""
    return Fault(ending="lost")


def lose_answer() -> Fault:
    """Pyrus applies the request, and the connection breaks before the answer."""
    return Fault(applied=True, ending="lost")


def refuse_connection() -> Fault:
    """Nobody listens: the request surely did not arrive. (A server cannot refuse one request: `FakeServer.refuse`.)"""
    return Fault(ending="refused")


def tls_failure() -> Fault:
    """The handshake fails, so that nothing was sent; in process only."""
    return Fault(ending="refused")


def answer(status: int, code: str = "", text: str = "", *, applied: bool = False) -> Fault:
    """An error in Pyrus's envelope; `applied`: although the request was carried out."""
    body = json.dumps({"error": text or code.replace("_", " "), "error_code": code}).encode()
    return Fault(applied=applied, status=status, body=body)


def gateway(status: int = 502, *, applied: bool = False) -> Fault:
    """A page in HTML from something in front of Pyrus."""
    return Fault(applied=applied, status=status, body=b"<html><body>Bad gateway</body></html>")


def limited(reset_s: int = 30) -> Fault:
    """429, with the time of the reset."""
    fault = answer(429, "too_many_requests")
    return Fault(status=429, body=fault.body, headers={"X-RateLimit-Reset": str(reset_s)})


def slow(seconds: float) -> Fault:
    """The true answer, late; the request is applied at the end of that time."""
    return Fault(applied=True, delay_s=seconds)


def slow_answer(seconds: float) -> Fault:
    """Applied at once, answered late."""
    return Fault(applied=True, delay_s=-seconds)


def after(action: Callable[[], object]) -> Fault:
    """Something happens just before the request is carried out: a person closes the task, a step moves on."""
    return Fault(applied=True, first=action)


@dataclass(slots=True)
class Plan:
    """A fault and the requests it is for."""

    pattern: str
    fault: Fault
    times: int


class Script:
    """The faults to come, each for the next requests that match its pattern."""

    def __init__(self) -> None:
        self._plans: list[Plan] = []

    def add(self, pattern: str, fault: Fault, times: int) -> None:
        """Plan a fault. `pattern` is a method and path with `*`, such as "POST tasks/*/comments"."""
        self._plans.append(Plan(pattern, fault, times))

    def take(self, title: str) -> Fault | None:
        """The fault for a request, used up once; None where it goes well."""
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
