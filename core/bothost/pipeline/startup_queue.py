"""Keep deliveries that come before the journal is open, each until its `answer_within` at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bothost.pipeline.delivery import UNAVAILABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.responses import Responses

MOST_BYTES = 64 << 20


class StartupQueue:
    """Takes deliveries while the host starts; `let_in` gives them to dispatch in the order in which they came."""

    def __init__(self, responses: Responses, now: Callable[[], float]) -> None:
        self._responses = responses
        self._now = now
        self._waiting: dict[Delivery, asyncio.TimerHandle] = {}
        self._bytes = 0

    def receive(self, delivery: Delivery) -> None:
        """Let it wait until `answer_within`; 503 then, and at once where too much waits: nothing could be parked yet."""
        left_s = delivery.received + delivery.bot.config.answer_within_s - self._now()
        if self._bytes + len(delivery.body) > MOST_BYTES or left_s <= 0:
            self._responses.give(delivery, UNAVAILABLE, 0, 1)
            return
        self._bytes += len(delivery.body)
        self._waiting[delivery] = asyncio.get_running_loop().call_later(left_s, self._dismiss, delivery)

    def let_in(self, receive: Callable[[Delivery], None]) -> None:
        """Give the waiting deliveries to `receive` in their order, because the host has started."""
        waiting, self._waiting = self._waiting, {}
        for delivery, timer in waiting.items():
            timer.cancel()
            receive(delivery)

    def dismiss(self) -> None:
        """Answer 503 to all that wait, because the host stops before it has started."""
        for delivery in tuple(self._waiting):
            self._dismiss(delivery)

    def _dismiss(self, delivery: Delivery) -> None:
        self._waiting.pop(delivery).cancel()
        self._bytes -= len(delivery.body)
        self._responses.give(delivery, UNAVAILABLE, 0, 1)
