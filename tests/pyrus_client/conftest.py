"""A client on a fake Pyrus, in process, under a virtual clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bothost.errors import JournalAway
from bothost.journal.transitions import taken
from bothost.pyrus_client.client import CallingBot, CallObserver, PyrusClient
from bothost.pyrus_client.session import PyrusSession, SessionTerms
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bothost.testing.fake_pyrus import ApiAccount

LOGIN, KEY = "bot@one", "key-of-the-bot-0001"


@dataclass
class Buckets:
    """Gates as a journal keeps them, in memory; the tests of the stores show that these do the same."""

    clock: VirtualClock
    lease: bool = True
    away: bool = False
    tokens: dict[str, tuple[float, float]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    resets: list[tuple[str, float]] = field(default_factory=list)
    comments: list[tuple[str, int, int]] = field(default_factory=list)

    def alive(self) -> bool:
        return self.lease

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        if self.away:
            raise JournalAway("no journal")
        self.asked.append((name, want))
        now = self.clock.monotonic()
        left, wait_s = taken(self.tokens.get(name), want, (rate_per_s, cap), now)
        self.tokens[name] = (left, now)
        return wait_s

    async def gate_reset(self, name: str, tokens: float) -> None:
        if self.away:
            raise JournalAway("no journal")
        self.resets.append((name, tokens))
        self.tokens[name] = (tokens, self.clock.monotonic())

    async def wrote(self, bot: str, task: int, comment: int) -> None:
        if self.away:
            raise JournalAway("no journal")
        self.comments.append((bot, task, comment))

    async def wait_hint(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Bench:
    """One fake Pyrus with a bot and a task, and the client that talks to it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.pyrus = FakePyrus(self.clock)
        self.bot: ApiAccount = self.pyrus.add_bot(LOGIN, KEY, 900100)
        self.task: dict[str, Any] = self.pyrus.add_task(id=5, text="A task")
        self.shared = Buckets(self.clock)
        self.calls: list[tuple[str, int]] = []
        self.left: list[tuple[str, float]] = []
        self.client = self.another_client()

    def another_client(self) -> PyrusClient:
        """A client of another process that shares the journal."""
        return PyrusClient(
            self.clock,
            self.shared,
            self.pyrus.transport(),
            CallObserver(
                lambda account, status: self.calls.append((account, status)),
                lambda account, left: self.left.append((account, left)),
            ),
        )

    def token(self) -> str:
        """A token as a webhook brings it."""
        return self.pyrus.world.issue_token(self.bot)

    def line(self, token: str | None = None, *, login: str = LOGIN, bot: str = "one", **terms: Any) -> PyrusSession:
        """A run's way to Pyrus; by default with a fresh token of an event."""
        caller = CallingBot(bot, login=login, secrets=(KEY.encode(),))
        return PyrusSession(
            self.client, caller, SessionTerms(self.token() if token is None else token, user_id=900100, **terms)
        )


@pytest.fixture
def bench() -> Iterator[Bench]:
    """See `Bench`."""
    made = Bench()
    yield made
    made.clock.loop.close()
