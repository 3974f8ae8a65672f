"""Ticks run once and never over themselves; bots that talk to each other for ever are paused for that task."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, Processes, handler_of

from bothost import Event, Plugin, Settings, cron, every
from bothost.testing import Harness, comment, me, person, task
from bothost.testing.host import NoMetrics


class NoSettings(Settings):
    pass


def ticker(takes: list[float]) -> tuple[type[Plugin[Any]], list[tuple[Any, str]]]:
    """A plugin whose timer sleeps as told, the last of `takes` for ever after, and what it ran."""
    ran: list[tuple[Any, str]] = []

    class Ticker(Plugin[NoSettings]):
        def handle(self, event: Event) -> None: ...

        @every("1m")
        async def sweep(self, tick: Any) -> None:
            ran.append((tick.due, tick.rerun))
            seconds = takes.pop(0) if len(takes) > 1 else takes[0]
            await asyncio.sleep(abs(seconds))
            if seconds < 0:
                raise ValueError("no")

    return Ticker, ran


def test_ticks_come_at_multiples_of_the_interval(bothost: Harness) -> None:
    plugin, ran = ticker([0])
    bothost.clock.advance("17s")
    bothost.bot(plugin)
    bothost.clock.advance("5m")
    assert [due.strftime("%M:%S") for due, _ in ran] == ["01:00", "02:00", "03:00", "04:00", "05:00"]


def test_a_tick_that_falls_due_while_the_one_before_runs_is_skipped(bothost: Harness, journal: Journal) -> None:
    plugin, ran = ticker([130, 0])
    bothost.bot(plugin)
    bothost.clock.advance("5m 30s")
    assert [due.minute for due, _ in ran] == [1, 4, 5]
    skipped = [row for row in journal.rows(kind="timer") if row.state == "cancelled"]
    assert [row.error for row in skipped] == ["skipped: the tick before it still runs"] * 2


def test_a_failed_timer_waits_for_its_next_tick(bothost: Harness, journal: Journal) -> None:
    plugin, ran = ticker([-1, 0])
    bothost.bot(plugin)
    bothost.clock.advance("3m 30s")
    assert [due.minute for due, _ in ran] == [1, 2, 3]
    assert [row.state for row in journal.rows(kind="timer")] == ["failed", "answered", "answered"]


def test_a_timer_cut_by_a_crash_runs_again(bothost: Harness) -> None:
    plugin, ran = ticker([30, 0])
    bothost.bot(plugin)
    bothost.clock.advance("70s")
    bothost.restart()
    bothost.clock.advance("30s")
    assert [(due.minute, rerun) for due, rerun in ran] == [(1, ""), (1, "crash")]


@pytest.mark.parametrize(("away_m", "made_up"), [(0.5, []), (10, [10]), (90, [90])])
def test_of_missed_ticks_only_the_newest_runs_at_start(bothost: Harness, away_m: float, made_up: list[int]) -> None:
    plugin, ran = ticker([0])
    bothost.bot(plugin)
    bothost.clock.advance("2m 10s")
    before = len(ran)
    host = bothost._state.host
    bothost._state.turn(host.stop())
    bothost.clock._clock.set(bothost.clock.now + timedelta(minutes=away_m))
    bothost._state.host = bothost._state.turn(type(host).started(host.clock, host.folder, bothost.pyrus.transport()))
    bot = bothost._bots["bot"]
    bot.bot, bot.runner = bothost._state.turn(bothost._state.host.add(*bot.origin))
    assert [due.hour * 60 + due.minute - 542 for due, _ in ran[before:]] == made_up


def test_a_rare_timer_is_made_up_for_though_the_key_of_its_last_tick_is_forgotten(
    bothost: Harness, journal: Journal
) -> None:
    ran: list[Any] = []

    class Rare(Plugin[NoSettings]):
        def handle(self, event: Event) -> None: ...

        @cron("30 9 * * 1")
        async def weekly(self, tick: Any) -> None:
            ran.append(tick.due)

    bothost.bot(Rare)
    bothost.clock.advance("31m")
    assert len(ran) == 1
    bothost.clock.set(bothost.clock.now + timedelta(days=6))
    journal.age(6 * 86400)
    bothost.clock.advance("11m")
    assert journal.rows() == []
    host = bothost._state.host
    bothost._state.turn(host.stop())
    bothost.clock._clock.set(ran[0] + timedelta(days=7, minutes=5))
    bothost._state.host = bothost._state.turn(type(host).started(host.clock, host.folder, bothost.pyrus.transport()))
    bot = bothost._bots["bot"]
    bot.bot, bot.runner = bothost._state.turn(bothost._state.host.add(*bot.origin))
    bothost.clock.advance("1s")
    assert ran == [ran[0], ran[0] + timedelta(days=7)]


def test_a_timer_that_had_never_run_makes_nothing_up(bothost: Harness) -> None:
    plugin, ran = ticker([0])
    bothost.clock.advance("30s")
    bothost.bot(plugin)
    assert ran == []


def test_every_process_puts_each_tick_and_one_runs_it(bothost: Harness, journal: Journal) -> None:
    plugin, ran = ticker([0])
    Processes(bothost, plugin)
    bothost.clock.advance("20m 10s")
    assert len(ran) == 20
    assert {row.state for row in journal.rows(kind="timer")} == {"answered"}


def bot_comments(of: dict[str, Any], author: Any, count: int) -> list[dict[str, Any]]:
    return [{**of, "comments": [comment(f"{number}", author=author)]} for number in range(count)]


def test_more_than_thirty_replies_to_bots_pause_the_task(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    other = person("Other bot", "bot@other", type="bot", id=77)
    of = task()
    answers = [bot.deliver(body).outcome for body in bot_comments(of, other, 35)]
    assert answers == ["replied"] * 31 + ["parked"] * 4
    assert bot.deliver(task()).outcome == "replied", "only that task"
    controls = journal.ask(journal.journal.controls())
    bothost._state.host.pipeline.context.loop_breaker.read(controls)
    assert "31 replies to bots" in controls[f"pause:bot:{of['id']}"]
    # as a host does each second: what it has read once and then misses was taken back by somebody
    bothost._state.host.pipeline.context.loop_breaker.read(controls)
    bothost.clock.advance("30m")
    assert len(calls.runs) == 32
    journal.ask(journal.journal.control(f"pause:bot:{of['id']}", None))
    bothost._state.host.pipeline.context.loop_breaker.read(journal.ask(journal.journal.controls()))
    bothost.clock.advance("2m")
    assert len(calls.runs) == 36
    assert len(bothost.pyrus.comments(of["id"])) == 35


def test_replies_to_people_pause_it_only_after_two_hundred(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    answers = [bot.deliver(body).outcome for body in bot_comments(task(), person(), 203)]
    assert answers == ["replied"] * 201 + ["parked"] * 2


def test_silence_and_the_window_do_not_count(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    other = person("Other bot", "bot@other", type="bot", id=77)
    of = task()
    calls.says = None
    assert {bot.deliver(body).outcome for body in bot_comments(of, other, 40)} == {"silent"}
    calls.says = "again"
    for _ in range(4):
        assert {bot.deliver(body).outcome for body in bot_comments(of, other, 20)} == {"replied"}
        bothost.clock.advance("11m")


def test_error_texts_count_as_replies(bothost: Harness, calls: Calls) -> None:
    calls.says = ValueError("no")
    bot = bothost.bot(handler_of(calls), ini={"on_error": "reply", "error_text": "Sorry."})
    other = person("Other bot", "bot@other", type="bot", id=77)
    answers = [bot.deliver(body).json for body in bot_comments(task(), other, 33)]
    assert answers == [{"text": "Sorry."}] * 31 + [{}] * 2


def test_its_own_comments_count_where_they_are_delivered(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls), ini={"own_comments": "deliver"})
    answers = [bot.deliver(body).outcome for body in bot_comments(task(), {**me(), "type": "user"}, 33)]
    assert answers == ["replied"] * 31 + ["parked"] * 2


def test_ticks_are_counted_by_what_became_of_them(bothost: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    plugin, _ran = ticker([0, -1, 130, 0])
    monkeypatch.setattr(NoMetrics, "tick", lambda _self, _bot, result: counted.append(result))
    bothost.bot(plugin)
    bothost.clock.advance("6m 30s")
    assert counted[:2] == ["ran", "failed"]
    assert "skipped" in counted
