"""Facts that every process of a host reads from the journal each second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bothost.errors import StoreAway
from bothost.means import watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bothost.bots import Service
    from bothost.breaker import Breaker
    from bothost.standing import Standing
    from bothost.store import Store

LOOK_S = 1.0


class Controls:
    """Pauses, quarantines, what bodies taught about bots, and the call for a reload."""

    def __init__(self, store: Store, service: Service, breaker: Breaker) -> None:
        self._store = store
        self._breaker = breaker
        self._service = service
        self._task: asyncio.Task[None] | None = None
        self.facts: Mapping[str, str] = {}
        """As last read."""

    async def start(self, standing: Standing, reload: Callable[[], None]) -> None:
        """Read once, then each second."""
        await self._look(standing, reload, first=True)
        self._task = asyncio.get_running_loop().create_task(self._go_on(standing, reload))
        self._task.add_done_callback(watch)

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_on(self, standing: Standing, reload: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look(standing, reload)
            standing.look_for_stuck(self._service)

    async def _look(self, standing: Standing, reload: Callable[[], None], *, first: bool = False) -> None:
        try:
            facts = await self._store.controls()
        except StoreAway:
            return
        before, self.facts = self.facts, facts
        if facts != before or first:
            self._learn(facts)
            standing.pause(self._service, _of_bots(facts, "pause:"))
            standing.quarantine(self._service, _of_bots(facts, "quarantine:"))
            self._breaker.read(facts)
            if not first and facts.get("generation") != before.get("generation"):
                reload()

    def _learn(self, facts: Mapping[str, str]) -> None:
        for name, user_id in _of_bots(facts, "user:").items():
            bot = self._service.find(name)
            if bot is not None and bot.user_id is None and user_id.isdecimal():
                bot.user_id = int(user_id)
        for name, login in _of_bots(facts, "login:").items():
            bot = self._service.find(name)
            if bot is not None and not bot.login:
                bot.login = bot.config.login or login


def _of_bots(facts: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Facts about whole bots: `pause:bot`, not `pause:bot:task` (a bot's name has no colon)."""
    return {
        key[len(prefix) :]: value
        for key, value in facts.items()
        if key.startswith(prefix) and ":" not in key[len(prefix) :]
    }
