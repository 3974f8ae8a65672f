"""Exceptions become texts of bounded length in bounded time, whatever they hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from bothost.runners.failures import failure_of
from bothost.telemetry.redaction import Scrubber
from bothost.telemetry.traces import trace_text

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = "x" * 8_000_000
SECRET = "a secret of some length"


class Huge(Exception):
    def __str__(self) -> str:
        return "y" * 50_000_000


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def chain(length: int) -> BaseException:
    error: BaseException = ValueError("the first")
    for number in range(length):
        later = RuntimeError(str(number))
        later.__cause__ = error
        error = later
    return error


def nested(depth: int) -> BaseException:
    error: Exception = ValueError("the innermost")
    for _ in range(depth):
        error = ExceptionGroup("outer", [error] * 3)
    return error


def round_trip() -> BaseException:
    first, second = ValueError("one"), ValueError("two")
    first.__cause__, second.__cause__ = second, first
    return first


MADE = {
    "group of long ones": lambda: ExceptionGroup(LONG, [ValueError(LONG)] * 50),
    "a hundred thousand": lambda: ExceptionGroup("many", [ValueError(str(n)) for n in range(100_000)]),
    "nested": lambda: nested(12),
    "huge": Huge,
    "broken": Broken,
    "key": lambda: KeyError(LONG),
    "chain": lambda: chain(5000),
    "circle": round_trip,
    "urls": lambda: ValueError(("a" * 20 + "://" + "b" * 64 + ":" + "c" * 256 + " ") * 20_000),
}


@pytest.mark.parametrize("name", MADE)
def test_a_failure_is_short_and_quickly_made(name: str) -> None:
    error = MADE[name]()
    scrubber = Scrubber()
    scrubber.add(SECRET)
    begun = time.thread_time()
    failure = failure_of(error, "[bot:a] handle", scrubber.scrub)
    took = time.thread_time() - begun
    print(f"{name}: {took * 1000:.0f} ms of CPU")
    assert len(failure.text) < 1000
    assert len(failure.trace) <= 20_001
    assert took < 1.0


class OddGroup(ExceptionGroup[Exception]):
    @property
    def exceptions(self) -> tuple[Exception, ...]:  # type: ignore[override]
        raise ValueError


class OddCause(Exception):
    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise KeyboardInterrupt


def odd_notes() -> Exception:
    error = ValueError("odd")
    error.__notes__ = 5  # type: ignore[assignment]
    return error


def odd_syntax() -> Exception:
    error = SyntaxError("odd")
    error.text = object()  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    "make", [lambda: OddGroup("odd", [ValueError()]), lambda: OddCause("odd"), odd_notes, odd_syntax]
)
def test_an_exception_whose_own_attributes_raise_is_told_all_the_same(make: Callable[[], Exception]) -> None:
    try:
        raise make()
    except Exception as error:
        failure = failure_of(error, "[bot:a] handle", str)
    assert "odd" in failure.text
    assert "test_traces.py" in failure.trace


def test_no_half_of_a_secret_is_left_at_the_cut() -> None:
    scrubber = Scrubber()
    scrubber.add(SECRET)
    for before in range(440, 520):
        failure = failure_of(ValueError("z" * before + " " + SECRET), "[bot:a] handle", scrubber.scrub)
        assert "a secret" not in failure.text


def test_causes_and_members_are_told() -> None:
    try:
        try:
            raise ExceptionGroup("several", [ValueError("member one"), KeyError("member two")])
        except ExceptionGroup as error:
            raise RuntimeError("after it") from error
    except RuntimeError as error:
        error.add_note("a note")
        told = trace_text(error)
    parts = ["several", "member one", "member two", "direct cause", "after it", "a note"]
    assert all(part in told for part in parts)
    assert told.index("member two") < told.index("direct cause") < told.index("after it")
