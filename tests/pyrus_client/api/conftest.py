"""`event.pyrus` on a fake Pyrus, under a virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.pyrus_client.unlimited import Unlimited

from bothost.pyrus_client.api import Pyrus
from bothost.pyrus_client.client import CallingBot, PyrusClient
from bothost.pyrus_client.session import PyrusSession, SessionTerms
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


class Desk:
    """A fake Pyrus and the API on it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.pyrus = FakePyrus(self.clock)
        self.bot = self.pyrus.add_bot("bot@one", "key-of-the-bot-0001", 900100)

    def run(self, work: Callable[[Pyrus], Coroutine[Any, Any, Any]]) -> Any:
        """Do something with the API on the virtual loop."""

        async def begin() -> Any:
            client = PyrusClient(self.clock, Unlimited(), self.pyrus.transport())
            line = PyrusSession(client, CallingBot("one"), SessionTerms(self.pyrus.world.issue_token(self.bot)))
            return await work(Pyrus(line, self.clock))

        return self.clock.run(begin())


@pytest.fixture
def desk() -> Iterator[Desk]:
    """See `Desk`."""
    made = Desk()
    yield made
    made.clock.loop.close()
