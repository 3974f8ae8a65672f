"""The pytest plugin: the fixture `bothost` gives a test a `Harness`.

pytest loads this module in every run of the environment, so it imports nothing of the core and no Tornado: that comes when
a test asks for the fixture.
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
    """A host in memory with a virtual clock, a real journal and a fake Pyrus; see the plugin guide, "Tests"."""
    from bothost.testing.harness import Harness

    with Harness() as harness:
        yield harness


def pytest_runtest_setup() -> None:
    """Ids that `task()` and its kin give start anew in each test, also in one that does not use the fixture."""
    parts = sys.modules.get("bothost.testing.people")
    if parts is not None:
        parts.numbering.restart()
