"""Decode the bodies of deliveries: small ones at once, large ones in threads."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bothost.pyrus.envelope import decode, event_key

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.pipeline.delivery import Delivery
    from bothost.pyrus.envelope import Envelope

log = logging.getLogger("bothost.delivery")

LARGE_BYTES = 256 << 10
"""A larger body is decoded in a thread. A smaller one takes less time than the way to a thread and back."""
DECODE_AT_ONCE = 2


def decode_event(delivery: Delivery) -> tuple[Envelope, str]:
    """Return a body's typed view and its event's key. Raises BodyRefused."""
    envelope = decode(delivery.body)
    return envelope, event_key(delivery.bot.config.name, envelope)


class LargeBodies:
    """Decodes in threads, because ten megabytes of small objects take seconds and the other bots must not wait for them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(DECODE_AT_ONCE, "bothost-decode")
        """Threads apart from the loop's own, because plugins may take all of those."""

    async def decode_event(self, delivery: Delivery) -> tuple[Envelope, str]:
        """Return what `decode_event` returns. Raises BodyRefused."""
        loop = asyncio.get_running_loop()
        try:
            decoding = loop.run_in_executor(self._threads, decode_event, delivery)
        except RuntimeError as error:  # the machine or its limits allow no further thread
            log.warning("a large body is decoded on the loop: %s", error, extra={"bot": delivery.bot.config.name})
            return decode_event(delivery)
        with self._clock.real_io():
            return await decoding
