"""How bots stand: opened, tried again, paused, stuck; with real plugins and their real runner."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bothost import Event, Plugin
from bothost.bots import lifecycle as lifecycle_module
from bothost.bots.lifecycle import BotLifecycle
from bothost.bots.queue import BotQueue, QueueTicket
from bothost.bots.registry import Bot
from bothost.clock import SystemClock
from bothost.config import BotConfig
from bothost.config.secrets import SecretSources
from bothost.errors import PluginError
from bothost.plugins import loading
from bothost.plugins.discovery import DiscoveredPlugin
from bothost.runners.local import LocalRunner

if TYPE_CHECKING:
    from bothost.plugins.loading import LoadedPlugin
    from bothost.runners import Runner

CLOCK = SystemClock()


def bot(name: str = "one", **keys: Any) -> Bot:
    return Bot(BotConfig(name=name, plugin=name, secrets=(b"a secret of some length",), **keys), BotQueue(0))


def loads(target: Any) -> lifecycle_module.Load:
    """Loads this function or class for every bot."""

    async def load(bot: Bot) -> tuple[LoadedPlugin, Runner]:
        found = {bot.config.plugin: DiscoveredPlugin(bot.config.plugin, lambda: target)}
        resources = loading.PluginResources(CLOCK, Path("nowhere"), None, SecretSources(Path(), {}))
        plugged = loading.load(bot.config, found, resources)
        runner = LocalRunner(plugged, bot.config, CLOCK)
        await runner.open()
        return plugged, runner

    return load


def greet(event: Event) -> str:
    return "hello"


def test_a_bot_gets_its_permits_when_it_is_open():
    async def case() -> None:
        one = bot(concurrency=3)
        lifecycle = BotLifecycle(loads(greet), CLOCK)
        first = lifecycle.start(one)
        assert (one.state.word, one.queue.limit) == ("starting", 0)
        await first
        assert (one.state.word, one.queue.limit) == ("active", 3)
        assert one.plugged is not None
        await lifecycle.dismiss(one)

    asyncio.run(case())


def test_a_plugin_that_fails_to_open_says_why_and_since_when_and_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(lifecycle_module, "RETRY_S", (0.01,))
    tries = 0

    class Shy(Plugin):
        async def open(self) -> None:
            nonlocal tries
            tries += 1
            if tries < 4:
                raise ConnectionError("the database is away")

        def handle(self, event: Event) -> None:
            return None

    async def case() -> None:
        one = bot()
        lifecycle = BotLifecycle(loads(Shy), CLOCK)
        await lifecycle.start(one)
        assert one.state.word == "plugin error"
        assert "the database is away" in one.state.reason
        assert one.state.since > 1_700_000_000
        assert one.queue.limit == 0
        async with asyncio.timeout(5):
            while one.state.word != "active":
                await asyncio.sleep(0.005)
        assert one.queue.limit == 8
        await lifecycle.dismiss(one)

    asyncio.run(case())
    said = [record.getMessage() for record in caplog.records]
    assert len([text for text in said if "the database is away" in text]) == 1
    assert said[-1] == "in service again, at try 4"


def test_what_a_reload_tries_again_in_vain_is_told_once_and_stands_since_the_first_time(caplog):
    async def case() -> None:
        trouble: list[Exception] = [PluginError("no such plugin")]

        async def load(one: Bot) -> tuple[LoadedPlugin, Runner]:
            if trouble:
                raise trouble[0]
            return await loads(greet)(one)

        lifecycle = BotLifecycle(load, CLOCK)
        first = bot()
        await lifecycle.start(first)
        since = first.state.since
        again = bot()
        await lifecycle.start(again)
        assert (again.state.word, again.state.reason, again.state.since) == ("plugin error", "no such plugin", since)
        assert [record.message for record in caplog.records] == ["no such plugin; tried again in 5 s"]
        trouble[0] = PluginError("another reason")
        await lifecycle.start(bot())
        trouble.clear()
        mended = bot()
        await lifecycle.start(mended)
        assert mended.state.word == "active"
        told = [
            "no such plugin; tried again in 5 s",
            "another reason; tried again in 5 s",
            "in service again, at try 1",
        ]
        assert [record.message for record in caplog.records] == told
        for one in (first, again, mended):
            await lifecycle.dismiss(one)

    asyncio.run(case())


def test_a_dismissed_bot_is_tried_no_more(monkeypatch):
    monkeypatch.setattr(lifecycle_module, "RETRY_S", (0.01,))
    tries = 0

    async def load(bot: Bot) -> tuple[LoadedPlugin, Runner]:
        nonlocal tries
        tries += 1
        raise PluginError("never")

    async def case() -> None:
        one = bot()
        lifecycle = BotLifecycle(load, CLOCK)
        await lifecycle.start(one)
        await lifecycle.dismiss(one)
        before = tries
        await asyncio.sleep(0.05)
        assert tries == before

    asyncio.run(case())


def test_a_bot_whose_place_another_has_taken_is_tried_no_more_and_says_nothing_of_it(monkeypatch):
    monkeypatch.setattr(lifecycle_module, "RETRY_S", (0.01,))
    tried: list[Bot] = []

    async def load(bot: Bot) -> tuple[LoadedPlugin, Runner]:
        tried.append(bot)
        if bot is old:
            raise PluginError("never")
        return await loads(greet)(bot)

    old, new = bot(), bot()

    async def case() -> None:
        lifecycle = BotLifecycle(load, CLOCK)
        await lifecycle.start(old)
        lifecycle.stop_trying(old)
        await lifecycle.start(new)
        before = len(tried)
        await asyncio.sleep(0.05)
        assert len(tried) == before
        assert (new.state.word, new.queue.limit) == ("active", 8)
        await lifecycle.dismiss(old)
        assert new.state.word == "active"
        await lifecycle.dismiss(new)

    asyncio.run(case())


def test_a_bot_in_service_that_turns_out_not_to_work_is_tried_again_after_a_while(monkeypatch):
    monkeypatch.setattr(lifecycle_module, "RETRY_S", (0.05,))

    async def case() -> None:
        one = bot()
        lifecycle = BotLifecycle(loads(greet), CLOCK)
        await lifecycle.start(one)
        for _ in range(2):
            lifecycle.fail(one, PluginError("it does not open"))
            assert (one.state.word, one.state.reason, one.queue.limit) == ("plugin error", "it does not open", 0)
        async with asyncio.timeout(5):
            while one.state.word != "active":
                await asyncio.sleep(0.005)
        await lifecycle.dismiss(one)

    asyncio.run(case())


def test_a_quarantine_outlives_a_reload_unless_the_bot_leaves_its_process():
    async def case() -> None:
        one = bot(run="process")
        lifecycle = BotLifecycle(loads(greet), CLOCK)
        await lifecycle.start(one)
        lifecycle.quarantine(one, "it died three times")
        changed = bot(run="process")
        lifecycle.replace(changed)
        assert (changed.state.word, changed.state.reason, changed.queue.limit) == (
            "quarantined",
            "it died three times",
            0,
        )
        moved = bot(run="thread")
        lifecycle.replace(moved)
        assert moved.state.word == "active"
        await lifecycle.dismiss(one)

    asyncio.run(case())


def test_a_paused_bot_keeps_its_events_waiting_until_it_is_resumed():
    async def case() -> None:
        one, other = bot(), bot("other")
        lifecycle = BotLifecycle(loads(greet), CLOCK)
        for each in (one, other):
            await lifecycle.start(each)
        lifecycle.pause([one, other], {"one": "by hand"})
        assert (one.state.word, one.state.reason, other.state.word) == ("paused", "by hand", "active")
        went: list[str] = []
        place = QueueTicket("5", lambda: went.append("now"))
        one.queue.enter(place)
        assert went == []
        lifecycle.pause([one, other], {})
        assert (one.state.word, went) == ("active", ["now"])
        for each in (one, other):
            await lifecycle.dismiss(each)

    asyncio.run(case())


def test_a_bot_that_was_paused_before_the_start_is_paused_after_it():
    async def case() -> None:
        one = bot()
        lifecycle = BotLifecycle(loads(greet), CLOCK)
        lifecycle.disable(one, "starting", "")
        lifecycle.pause([one], {"one": "by hand"})
        await lifecycle.start(one)
        assert (one.state.word, one.queue.limit) == ("paused", 0)
        await lifecycle.dismiss(one)

    asyncio.run(case())


def test_a_pause_hides_no_error():
    async def load(bot: Bot) -> tuple[LoadedPlugin, Runner]:
        raise PluginError("it is not installed")

    async def case() -> None:
        one = bot()
        lifecycle = BotLifecycle(load, CLOCK)
        await lifecycle.start(one)
        lifecycle.pause([one], {"one": "by hand"})
        assert one.state.word == "plugin error"
        await lifecycle.dismiss(one)

    asyncio.run(case())


def test_a_bot_whose_permits_all_hang_in_threads_is_stuck_and_says_where(caplog):
    release = threading.Event()

    def hang(event: Event) -> None:
        release.wait(20)

    async def case() -> None:
        from bothost.plugins.event import RunContext
        from bothost.pyrus.envelope import decode

        one = bot(concurrency=1)
        lifecycle = BotLifecycle(loads(hang), CLOCK)
        await lifecycle.start(one)
        lifecycle.look_for_stuck([one])
        assert one.state.word == "active"
        ended = asyncio.Event()
        place = QueueTicket("5", lambda: None)
        one.queue.enter(place)
        context = RunContext("key", "one", 1, "", CLOCK.now(), CLOCK, None, None)
        assert one.runner is not None
        ran = await one.runner.run(decode(b'{"task_id": 5}'), context, 0.05, ended.set)
        assert ran.failure is not None
        lifecycle.look_for_stuck([one])
        assert one.state.word == "stuck"
        assert "test_lifecycle.py:" in one.state.reason
        assert one.queue.limit == 1
        release.set()
        await ended.wait()
        place.leave()
        lifecycle.look_for_stuck([one])
        assert one.state.word == "active"
        await lifecycle.dismiss(one)

    asyncio.run(case())
    assert any(
        "stuck: every permit (1) is held by a run past timeout" in record.getMessage() for record in caplog.records
    )


def test_after_a_halt_nothing_begins_even_in_a_bot_that_opens_later():
    async def case() -> None:
        one, late = bot(login="bot@example.com"), bot("late", login="bot@example.com")
        lifecycle = BotLifecycle(loads(greet), CLOCK)
        await lifecycle.start(one)
        lifecycle.halt([one])
        assert one.queue.limit == 0
        await lifecycle.start(late)
        assert (late.state.word, late.queue.limit) == ("active", 0)
        for each in (one, late):
            await lifecycle.dismiss(each)

    asyncio.run(case())


@pytest.mark.parametrize("word", ["off", "config error", "quarantined"])
def test_a_bot_that_cannot_serve_says_why(word):
    async def case() -> None:
        one = bot()
        BotLifecycle(loads(greet), CLOCK).disable(one, word, "because")
        assert (one.state.word, one.state.reason, one.queue.limit) == (word, "because", 0)

    asyncio.run(case())
