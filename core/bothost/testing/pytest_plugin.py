"""Offer pytest the fixture `bothost`, which gives a test a `Harness`.

pytest loads this module in every run of the environment. So it imports neither the core nor Tornado before a test asks for the
fixture.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bothost.testing.harness import Harness


@pytest.fixture
def bothost() -> Iterator[Harness]:
    """Give a host in memory with a virtual clock, a real journal and a fake Pyrus; see the plugin guide, "Tests"."""
    from bothost.testing.harness import Harness

    with Harness() as harness:
        yield harness


def pytest_runtest_setup() -> None:
    """Restart the ids of `task()` and the other factories in each test, also in one that does not use the fixture."""
    parts = sys.modules.get("bothost.testing.people")
    if parts is not None:
        parts.numbering.restart()
