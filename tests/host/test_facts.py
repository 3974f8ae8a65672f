"""Facts that processes tell each other by the journal; with a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bothost.background import SupervisedLoops
from bothost.bots.lifecycle import BotLifecycle
from bothost.bots.queue import BotQueue
from bothost.bots.registry import Bot, Registry, Service
from bothost.clock import SystemClock
from bothost.config import BotConfig
from bothost.host import facts as facts_module
from bothost.host.facts import HostFacts
from bothost.journal.sqlite.journal import SqliteJournal
from bothost.pipeline.loop_breaker import LoopBreaker

CLOCK = SystemClock()


class SlowStore(SqliteJournal):
    """The embedded journal; a fact is there a while before whoever wrote it hears of that."""

    async def control(self, key: str, value: str | None) -> None:
        """See `Store.control`."""
        await super().control(key, value)
        await asyncio.sleep(0.05)


class Scene:
    """One bot in a process of its own, its standing, and the controls of this process."""

    def __init__(self, folder: Path) -> None:
        self.journal = SlowStore(folder, CLOCK, claims_first=False)
        loop_breaker = LoopBreaker(CLOCK)
        pipeline: Any = SimpleNamespace(
            context=SimpleNamespace(journal=self.journal, loop_breaker=loop_breaker, loops=SupervisedLoops(CLOCK))
        )
        self.bot = Bot(BotConfig(name="one", run="process", secrets=(b"a secret of some length",)), BotQueue(0))
        self.logins: Any = SimpleNamespace(refused={})
        self.opened = 0
        self.lifecycle = BotLifecycle(self._load, CLOCK)
        self.controls = HostFacts(pipeline, Service(Registry([self.bot])), self.logins)

        self.reloader: Any = SimpleNamespace(restarts={})

    async def _load(self, bot: Bot) -> Any:
        self.opened += 1
        return None, None


def play(folder: Path, monkeypatch: Any, act: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    monkeypatch.setattr(facts_module, "LOOK_S", 0.01)

    async def case() -> None:
        scene = Scene(folder)
        await scene.journal.open()
        await scene.controls.start(scene.lifecycle, scene.reloader)
        await scene.lifecycle.start(scene.bot)
        try:
            async with asyncio.timeout(20):
                await act(scene)
        finally:
            await scene.controls.stop()
            await scene.lifecycle.dismiss(scene.bot)
            await scene.journal.close()

    asyncio.run(case())


async def until(found: Callable[[], bool]) -> None:
    while not found():
        await asyncio.sleep(0.005)


def quarantined(facts: Mapping[str, str]) -> bool:
    return "quarantine:one" in facts


def test_a_fact_of_our_own_is_not_taken_for_one_that_was_taken_back_while_it_is_written(tmp_path, monkeypatch) -> None:
    async def act(scene: Scene) -> None:
        scene.lifecycle.quarantine(scene.bot, "it died")
        scene.controls.tell("quarantine:one", "it died")
        await until(lambda: quarantined(scene.controls.facts))
        await asyncio.sleep(0.1)  # some looks
        assert (scene.bot.state.word, scene.opened) == ("quarantined", 1)

    play(tmp_path, monkeypatch, act)


def test_one_that_an_operator_takes_back_at_once_is_noticed(tmp_path, monkeypatch) -> None:
    async def act(scene: Scene) -> None:
        scene.lifecycle.quarantine(scene.bot, "it died")
        scene.controls.tell("quarantine:one", "it died")
        while not quarantined(await scene.journal.controls()):
            await asyncio.sleep(0.001)
        await scene.journal.control("quarantine:one", None)
        await until(lambda: scene.bot.state.word == "active")
        assert scene.opened == 2

    play(tmp_path, monkeypatch, act)
