"""Keep answers that may be some minutes old: definitions of forms and catalogs. Many runs need them, and few people change them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.clock import Clock
    from bothost.pyrus.rest.requests import ApiResponse

MOST_KEPT = 200
MOST_BYTES = 64 << 20


@dataclass(slots=True)
class KeptAnswer:
    """An answer and the time (monotonic) when it came. The lock joins many calls at the same time to one."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    response: ApiResponse | None = None
    since: float = 0.0


class KeptAnswers:
    """The answers of all accounts, by account and path, so that an account gets only what it may see."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], KeptAnswer] = OrderedDict()

    async def get(
        self, key: tuple[str, str], keep_s: float, fetch: Callable[[], Awaitable[ApiResponse]]
    ) -> ApiResponse:
        """Return a kept answer that is not too old, or fetch one. A failure is not kept."""
        kept = self._kept.setdefault(key, KeptAnswer())
        self._kept.move_to_end(key)
        async with kept.lock:
            if kept.response is None or self._clock.monotonic() - kept.since >= keep_s:
                kept.response = await fetch()
                kept.since = self._clock.monotonic()
                self._forget()
            return kept.response

    def _forget(self) -> None:
        """Drop the answers that were asked for longest ago, until the others fit."""
        sizes = {key: len(kept.response.body) if kept.response else 0 for key, kept in self._kept.items()}
        total = sum(sizes.values())
        while len(self._kept) > 1 and (len(self._kept) > MOST_KEPT or total > MOST_BYTES):
            key, _ = self._kept.popitem(last=False)
            total -= sizes[key]
