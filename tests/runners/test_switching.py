"""The interpreter's switch interval follows the loop's lag."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from bothost.runners.watchdog import CALM_TIMES, LATE_TIMES, NARROW_S, SwitchInterval


@pytest.fixture(autouse=True)
def usual() -> Iterator[float]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    yield 0.001
    sys.setswitchinterval(before)


def test_a_loop_that_is_late_again_and_again_gets_the_interpreter_more_often_until_it_is_calm(usual: float) -> None:
    switching = SwitchInterval()
    for _ in range(LATE_TIMES - 1):
        switching.answered(0.05)
    switching.answered(0.001)
    assert sys.getswitchinterval() == pytest.approx(usual)
    for _ in range(LATE_TIMES):
        switching.answered(0.05)
    assert sys.getswitchinterval() == pytest.approx(NARROW_S)
    for _ in range(CALM_TIMES - 1):
        switching.answered(0.001)
    assert sys.getswitchinterval() == pytest.approx(NARROW_S)
    switching.answered(0.001)
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_at_the_end_it_is_as_before(usual: float) -> None:
    switching = SwitchInterval()
    for _ in range(LATE_TIMES):
        switching.answered(0.05)
    switching.restore()
    assert sys.getswitchinterval() == pytest.approx(usual)
