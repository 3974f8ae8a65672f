"""Deliveries that come before the journal is open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tests.webhook.edge import bot

from bothost.bots.registry import Bot
from bothost.clock import SystemClock
from bothost.pipeline.delivery import Outcome
from bothost.pipeline.responses import Responses
from bothost.pipeline.startup_queue import MOST_BYTES, StartupQueue
from bothost.telemetry.metrics import Metrics

CLOCK = SystemClock()


@dataclass(eq=False)
class Sender:
    """A delivery without a socket: keeps what it is answered."""

    body: bytes = b"{}"
    bot: Bot = field(default_factory=bot)
    attempt: str = ""
    trace: str = ""
    received: float = field(default_factory=CLOCK.monotonic)
    outcomes: list[Outcome] = field(default_factory=list)

    def respond(self, outcome: Outcome) -> bool:
        self.outcomes.append(outcome)
        return True

    @property
    def statuses(self) -> list[int]:
        return [outcome.status for outcome in self.outcomes]


def startup_queue(taken: list[object]) -> StartupQueue:
    return StartupQueue(taken.append, Responses(CLOCK, Metrics(CLOCK)), CLOCK.monotonic)


def test_deliveries_are_let_in_in_the_order_in_which_they_came():
    async def case() -> None:
        taken: list[object] = []
        waits = startup_queue(taken)
        senders = [Sender() for _ in range(3)]
        for sender in senders:
            waits.receive(sender)
        waits.let_in()
        assert taken == senders
        late = Sender()
        waits.receive(late)
        assert taken == [*senders, late]
        assert [sender.outcomes for sender in senders] == [[], [], []]
        waits.dismiss()
        assert [sender.outcomes for sender in senders] == [[], [], []]

    asyncio.run(case())


def test_a_delivery_waits_no_longer_than_answer_within():
    async def case() -> None:
        taken: list[object] = []
        waits = startup_queue(taken)
        soon, later = Sender(bot=bot(answer_within_s=0.05)), Sender()
        waits.receive(soon)
        waits.receive(later)
        async with asyncio.timeout(5):
            while not soon.outcomes:
                await asyncio.sleep(0.01)
        assert (soon.statuses, later.statuses) == ([503], [])
        waits.let_in()
        assert taken == [later]

    asyncio.run(case())


def test_what_would_fill_the_memory_is_answered_503_at_once():
    async def case() -> None:
        waits = startup_queue([])
        large, small, one = Sender(b"x" * (MOST_BYTES - 10)), Sender(b"x" * 10), Sender(b"x")
        for sender in (large, small, one):
            waits.receive(sender)
        assert [sender.statuses for sender in (large, small, one)] == [[], [], [503]]
        waits.dismiss()
        assert [sender.statuses for sender in (large, small, one)] == [[503], [503], [503]]

    asyncio.run(case())
