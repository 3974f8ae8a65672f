"""How bots stand: opened, tried again, paused, stuck; with real plugins and their real runner."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bothost import Event, Plugin
from bothost.bots import lifecycle as lifecycle_module
from bothost.bots.lifecycle import Standing
from bothost.bots.queue import Lane, Place
from bothost.bots.registry import Bot
from bothost.clock import SystemClock
from bothost.config import BotConfig
from bothost.config.secrets import Sources
from bothost.errors import PluginError
from bothost.plugins import loading
from bothost.plugins.discovery import Found
from bothost.runners.local import LocalRunner

if TYPE_CHECKING:
    from bothost.plugins.loading import Plugged
    from bothost.runners import Runner

CLOCK = SystemClock()


def bot(name: str = "one", **keys: Any) -> Bot:
    return Bot(BotConfig(name=name, plugin=name, secrets=(b"a secret of some length",), **keys), Lane(0))


def loads(target: Any) -> lifecycle_module.Load:
    """Loads this function or class for every bot."""

    async def load(bot: Bot) -> tuple[Plugged, Runner]:
        found = {bot.config.plugin: Found(bot.config.plugin, lambda: target)}
        ground = loading.Ground(CLOCK, Path("nowhere"), None, Sources(Path(), {}))
        plugged = loading.load(bot.config, found, ground)
        runner = LocalRunner(plugged, bot.config, CLOCK)
        await runner.open()
        return plugged, runner

    return load


def greet(event: Event) -> str:
    return "hello"


def test_a_bot_gets_its_permits_when_it_is_open():
    async def case() -> None:
        one = bot(concurrency=3)
        standing = Standing(loads(greet), CLOCK)
        first = standing.bring(one)
        assert (one.state.word, one.lane.limit) == ("starting", 0)
        await first
        assert (one.state.word, one.lane.limit) == ("active", 3)
        assert one.plugged is not None
        await standing.dismiss(one)

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
        standing = Standing(loads(Shy), CLOCK)
        await standing.bring(one)
        assert one.state.word == "plugin error"
        assert "the database is away" in one.state.reason
        assert one.state.since > 1_700_000_000
        assert one.lane.limit == 0
        async with asyncio.timeout(5):
            while one.state.word != "active":
                await asyncio.sleep(0.005)
        assert one.lane.limit == 8
        await standing.dismiss(one)

    asyncio.run(case())
    said = [record.getMessage() for record in caplog.records]
    assert len([text for text in said if "the database is away" in text]) == 1
    assert said[-1] == "in service again, at try 4"


def test_what_a_reload_tries_again_in_vain_is_told_once_and_stands_since_the_first_time(caplog):
    async def case() -> None:
        trouble: list[Exception] = [PluginError("no such plugin")]

        async def load(one: Bot) -> tuple[Plugged, Runner]:
            if trouble:
                raise trouble[0]
            return await loads(greet)(one)

        standing = Standing(load, CLOCK)
        first = bot()
        await standing.bring(first)
        since = first.state.since
        again = bot()
        await standing.bring(again)
        assert (again.state.word, again.state.reason, again.state.since) == ("plugin error", "no such plugin", since)
        assert [record.message for record in caplog.records] == ["no such plugin; tried again in 5 s"]
        trouble[0] = PluginError("another reason")
        await standing.bring(bot())
        trouble.clear()
        mended = bot()
        await standing.bring(mended)
        assert mended.state.word == "active"
        told = [
            "no such plugin; tried again in 5 s",
            "another reason; tried again in 5 s",
            "in service again, at try 1",
        ]
        assert [record.message for record in caplog.records] == told
        for one in (first, again, mended):
            await standing.dismiss(one)

    asyncio.run(case())


def test_a_dismissed_bot_is_tried_no_more(monkeypatch):
    monkeypatch.setattr(lifecycle_module, "RETRY_S", (0.01,))
    tries = 0

    async def load(bot: Bot) -> tuple[Plugged, Runner]:
        nonlocal tries
        tries += 1
        raise PluginError("never")

    async def case() -> None:
        one = bot()
        standing = Standing(load, CLOCK)
        await standing.bring(one)
        await standing.dismiss(one)
        before = tries
        await asyncio.sleep(0.05)
        assert tries == before

    asyncio.run(case())


def test_a_bot_whose_place_another_has_taken_is_tried_no_more_and_says_nothing_of_it(monkeypatch):
    monkeypatch.setattr(lifecycle_module, "RETRY_S", (0.01,))
    tried: list[Bot] = []

    async def load(bot: Bot) -> tuple[Plugged, Runner]:
        tried.append(bot)
        if bot is old:
            raise PluginError("never")
        return await loads(greet)(bot)

    old, new = bot(), bot()

    async def case() -> None:
        standing = Standing(load, CLOCK)
        await standing.bring(old)
        standing.stop_trying(old)
        await standing.bring(new)
        before = len(tried)
        await asyncio.sleep(0.05)
        assert len(tried) == before
        assert (new.state.word, new.lane.limit) == ("active", 8)
        await standing.dismiss(old)
        assert new.state.word == "active"
        await standing.dismiss(new)

    asyncio.run(case())


def test_a_bot_in_service_that_turns_out_not_to_work_is_tried_again_after_a_while(monkeypatch):
    monkeypatch.setattr(lifecycle_module, "RETRY_S", (0.05,))

    async def case() -> None:
        one = bot()
        standing = Standing(loads(greet), CLOCK)
        await standing.bring(one)
        for _ in range(2):
            standing.fell(one, PluginError("it does not open"))
            assert (one.state.word, one.state.reason, one.lane.limit) == ("plugin error", "it does not open", 0)
        async with asyncio.timeout(5):
            while one.state.word != "active":
                await asyncio.sleep(0.005)
        await standing.dismiss(one)

    asyncio.run(case())


def test_a_quarantine_outlives_a_reload_unless_the_bot_leaves_its_process():
    async def case() -> None:
        one = bot(run="process")
        standing = Standing(loads(greet), CLOCK)
        await standing.bring(one)
        standing.quarantine(one, "it died three times")
        changed = bot(run="process")
        standing.replace(changed)
        assert (changed.state.word, changed.state.reason, changed.lane.limit) == (
            "quarantined",
            "it died three times",
            0,
        )
        moved = bot(run="thread")
        standing.replace(moved)
        assert moved.state.word == "active"
        await standing.dismiss(one)

    asyncio.run(case())


def test_a_paused_bot_keeps_its_events_waiting_until_it_is_resumed():
    async def case() -> None:
        one, other = bot(), bot("other")
        standing = Standing(loads(greet), CLOCK)
        for each in (one, other):
            await standing.bring(each)
        standing.pause([one, other], {"one": "by hand"})
        assert (one.state.word, one.state.reason, other.state.word) == ("paused", "by hand", "active")
        went: list[str] = []
        place = Place("5", lambda: went.append("now"))
        one.lane.enter(place)
        assert went == []
        standing.pause([one, other], {})
        assert (one.state.word, went) == ("active", ["now"])
        for each in (one, other):
            await standing.dismiss(each)

    asyncio.run(case())


def test_a_bot_that_was_paused_before_the_start_is_paused_after_it():
    async def case() -> None:
        one = bot()
        standing = Standing(loads(greet), CLOCK)
        standing.cannot(one, "starting", "")
        standing.pause([one], {"one": "by hand"})
        await standing.bring(one)
        assert (one.state.word, one.lane.limit) == ("paused", 0)
        await standing.dismiss(one)

    asyncio.run(case())


def test_a_pause_hides_no_error():
    async def load(bot: Bot) -> tuple[Plugged, Runner]:
        raise PluginError("it is not installed")

    async def case() -> None:
        one = bot()
        standing = Standing(load, CLOCK)
        await standing.bring(one)
        standing.pause([one], {"one": "by hand"})
        assert one.state.word == "plugin error"
        await standing.dismiss(one)

    asyncio.run(case())


def test_a_bot_whose_permits_all_hang_in_threads_is_stuck_and_says_where(caplog):
    release = threading.Event()

    def hang(event: Event) -> None:
        release.wait(20)

    async def case() -> None:
        from bothost.plugins.event import Context
        from bothost.pyrus.envelope import decode

        one = bot(concurrency=1)
        standing = Standing(loads(hang), CLOCK)
        await standing.bring(one)
        standing.look_for_stuck([one])
        assert one.state.word == "active"
        ended = asyncio.Event()
        place = Place("5", lambda: None)
        one.lane.enter(place)
        context = Context("key", "one", 1, "", CLOCK.now(), CLOCK, None, None)
        assert one.runner is not None
        ran = await one.runner.run(decode(b'{"task_id": 5}'), context, 0.05, ended.set)
        assert ran.failure is not None
        standing.look_for_stuck([one])
        assert one.state.word == "stuck"
        assert "test_lifecycle.py:" in one.state.reason
        assert one.lane.limit == 1
        release.set()
        await ended.wait()
        place.leave()
        standing.look_for_stuck([one])
        assert one.state.word == "active"
        await standing.dismiss(one)

    asyncio.run(case())
    assert any("stuck: every permit is held" in record.getMessage() for record in caplog.records)


def test_after_a_halt_nothing_begins_even_in_a_bot_that_opens_later():
    async def case() -> None:
        one, late = bot(), bot("late")
        standing = Standing(loads(greet), CLOCK)
        await standing.bring(one)
        standing.halt([one])
        assert one.lane.limit == 0
        await standing.bring(late)
        assert (late.state.word, late.lane.limit) == ("active", 0)
        for each in (one, late):
            await standing.dismiss(each)

    asyncio.run(case())


@pytest.mark.parametrize("word", ["off", "config error", "quarantined"])
def test_a_bot_that_cannot_serve_says_why(word):
    async def case() -> None:
        one = bot()
        Standing(loads(greet), CLOCK).cannot(one, word, "because")
        assert (one.state.word, one.state.reason, one.lane.limit) == (word, "because", 0)

    asyncio.run(case())
