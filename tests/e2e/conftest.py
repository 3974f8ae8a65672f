"""Hosts as real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.playing import Playing
from tests.e2e.site import HostSite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def site(tmp_path) -> Iterator[Callable[..., HostSite]]:
    """Makes a folder with plugins and bots; its host is killed when the test ends."""
    made: list[HostSite] = []

    def make(plugins: str, bots: str, host: str = "") -> HostSite:
        made.append(HostSite(tmp_path, plugins, bots, host))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def playing() -> Iterator[Playing]:
    """A fake Pyrus on a real socket."""
    made = Playing()
    yield made
    made.end()
