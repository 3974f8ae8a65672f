"""Read each second the facts that the journal holds for every process of a host, and write new ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Protocol

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway
from bothost.operator.presence import RESTART
from bothost.pipeline.assembly import REFUSED_LOGIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.bots.lifecycle import BotLifecycle
    from bothost.bots.registry import Service
    from bothost.bots.reload import Reloader
    from bothost.pipeline.assembly import Pipeline

log = logging.getLogger("bothost.bots")

LOOK_S = 1.0
STARTED_AFTER = "restarted, with the whole process"


class LearntLogins(Protocol):
    """The logins that bodies taught, as the calls of this process use them."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Return those that Pyrus has refused since, by bot."""

    def learn(self, bot: str, login: str) -> None:
        """Use this login."""

    def forget(self, bot: str, login: str) -> None:
        """Use it no more."""


class HostFacts:
    """The facts: pauses, quarantines, ids and logins learnt from bodies, and the calls for a reload or a restart."""

    def __init__(self, pipeline: Pipeline, service: Service, logins: LearntLogins) -> None:
        self._pipeline = pipeline
        self._service = service
        self._logins = logins
        self._told_refused: set[tuple[str, str]] = set()
        self._tasks = BackgroundTasks()
        self._lock = asyncio.Lock()
        """A look must not fall between the writing of a fact and our note of it, because the fact would count as taken back."""
        self.facts: Mapping[str, str] = {}
        """The facts as last read or written."""

    async def start(self, lifecycle: BotLifecycle, reloader: Reloader) -> None:
        """Read once, then each second."""
        await self._look(lifecycle, reloader, first=True)
        loops = self._pipeline.context.loops
        self._tasks.spawn(loops.keep("facts", lambda: self._go_on(lifecycle, reloader)))

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.stop()

    def tell(self, key: str, value: str | None) -> None:
        """Write a fact for every process, or remove it (None), and try until the journal takes it."""
        self._tasks.spawn(self._write(key, value))

    async def _write(self, key: str, value: str | None) -> None:
        while True:
            async with self._lock:
                with contextlib.suppress(JournalAway):
                    await self._pipeline.context.journal.control(key, value)
                    others = {name: fact for name, fact in self.facts.items() if name != key}
                    self.facts = others if value is None else {**others, key: value}
                    self._pipeline.context.loop_breaker.read(self.facts)
                    return
            await asyncio.sleep(LOOK_S)

    async def _go_on(self, lifecycle: BotLifecycle, reloader: Reloader) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look(lifecycle, reloader)
            lifecycle.look_for_stuck(self._service)
            self._drop_refused()

    async def _look(self, lifecycle: BotLifecycle, reloader: Reloader, *, first: bool = False) -> None:
        async with self._lock:
            try:
                facts = await self._pipeline.context.journal.controls()
            except JournalAway:
                return
            before, self.facts = self.facts, facts
        if facts == before and not first:
            return
        self._forget(before, facts)
        self._learn(facts)
        self._pipeline.context.loop_breaker.read(facts)
        lifecycle.pause(self._service, _of_bots(facts, "pause:"))
        self._quarantine(lifecycle, _of_bots(before, "quarantine:"), _of_bots(facts, "quarantine:"))
        if first:
            reloader.restarts |= {name: (request, STARTED_AFTER) for name, request in _of_bots(facts, RESTART).items()}
            return
        if facts.get("generation") != before.get("generation"):
            reloader.now()
        for name, request in _of_bots(facts, RESTART).items():
            if before.get(RESTART + name) != request:
                reloader.restart(name, request)

    def _quarantine(self, lifecycle: BotLifecycle, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Take over quarantines of other and earlier processes, and end those that an operator has resumed."""
        for name in now.keys() - before.keys():
            bot = self._service.find(name)
            if bot is not None and bot.config.run == "process" and bot.state.word != "quarantined":
                lifecycle.quarantine(bot, now[name])
        for name in before.keys() - now.keys():
            bot = self._service.find(name)
            if bot is not None and bot.state.word == "quarantined":
                log.warning("no longer quarantined", extra={"bot": name})
                _ = lifecycle.start(bot)

    def _drop_refused(self) -> None:
        """Drop learnt logins that Pyrus has refused here, for every process; the next delivery teaches them anew."""
        for name, login in tuple(self._logins.refused.items()):
            bot = self._service.find(name)
            if bot is None or bot.config.login or bot.login != login:
                continue
            bot.login = ""
            self.tell(f"login:{name}", None)
            self.tell(REFUSED_LOGIN + name, login)
            if (name, login) not in self._told_refused:
                self._told_refused.add((name, login))
                log.warning(
                    "Pyrus refuses the learnt login %s: it is forgotten, and learnt anew from the next delivery; replies wait "
                    "meanwhile. If it is refused again, `secret` is not the key of this bot",
                    login,
                    extra={"bot": name},
                )

    def _forget(self, before: Mapping[str, str], facts: Mapping[str, str]) -> None:
        """Forget learnt logins that another process has dropped."""
        for name, login in _of_bots(before, "login:").items():
            bot = self._service.find(name)
            if bot is not None and f"login:{name}" not in facts and bot.login == login and not bot.config.login:
                bot.login = ""  # another process met the refusal
        for name, login in _of_bots(facts, REFUSED_LOGIN).items():
            if f"login:{name}" not in facts:
                self._logins.forget(name, login)

    def _learn(self, facts: Mapping[str, str]) -> None:
        for name, user_id in _of_bots(facts, "user:").items():
            bot = self._service.find(name)
            if bot is not None and bot.user_id is None and user_id.isdecimal():
                bot.user_id = int(user_id)
        for name, login in _of_bots(facts, "login:").items():
            bot = self._service.find(name)
            if bot is not None and not bot.login and self._logins.refused.get(name) != login:
                bot.login = bot.config.login or login
                self._logins.learn(name, bot.login)


def _of_bots(facts: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the facts about whole bots: `pause:bot`, not `pause:bot:task` (a bot's name has no colon)."""
    return {
        key[len(prefix) :]: value
        for key, value in facts.items()
        if key.startswith(prefix) and ":" not in key[len(prefix) :]
    }
