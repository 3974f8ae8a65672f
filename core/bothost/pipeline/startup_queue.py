"""Keep deliveries that come before the journal is open, each until its `answer_within` at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bothost.pipeline.delivery import UNAVAILABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.hooks import HookDelivery
    from bothost.pipeline.responses import Responses

MOST_BYTES = 64 << 20


class StartupQueue:
    """Takes each verified delivery by `receive`: it holds them while the host starts, and passes them on from `let_in` on."""

    def __init__(
        self, pass_on: Callable[[Delivery | HookDelivery], None], responses: Responses, now: Callable[[], float]
    ) -> None:
        self._pass_on = pass_on
        self.receive: Callable[[Delivery | HookDelivery], None] = self._hold
        """It becomes `pass_on` itself, because a call between the two would cost each delivery of the host's life."""
        self._responses = responses
        self._now = now
        self._waiting: dict[Delivery | HookDelivery, asyncio.TimerHandle] = {}
        self._bytes = 0

    def let_in(self) -> None:
        """Pass on the waiting deliveries in their order, and all later ones at once, because the host has started."""
        self.receive = self._pass_on
        waiting, self._waiting = self._waiting, {}
        for delivery, timer in waiting.items():
            timer.cancel()
            self._pass_on(delivery)

    def _hold(self, delivery: Delivery | HookDelivery) -> None:
        """Let a delivery wait until `answer_within`, and then answer 503, because nothing can be parked yet.

        It is answered 503 at once if too much waits already.
        """
        left_s = delivery.received + delivery.bot.config.answer_within_s - self._now()
        if self._bytes + len(delivery.body) > MOST_BYTES or left_s <= 0:
            self._responses.give(delivery, UNAVAILABLE, 0, 1)
            return
        self._bytes += len(delivery.body)
        self._waiting[delivery] = asyncio.get_running_loop().call_later(left_s, self._dismiss, delivery)

    def dismiss(self) -> None:
        """Answer 503 to all that wait, because the host stops before it has started."""
        for delivery in tuple(self._waiting):
            self._dismiss(delivery)

    def _dismiss(self, delivery: Delivery | HookDelivery) -> None:
        self._waiting.pop(delivery).cancel()
        self._bytes -= len(delivery.body)
        self._responses.give(delivery, UNAVAILABLE, 0, 1)
