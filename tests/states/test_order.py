"""Turns and permits: a task's events in order, busy tasks that delay no others, what waits is parked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, handler_of

from bothost.bots.registry import BotState
from bothost.pipeline.dispatcher import WaitingLimits
from bothost.testing import Harness, comment, task


def said_more(of: dict[str, Any], *texts: str) -> dict[str, Any]:
    return {**of, "comments": [*of["comments"], *(comment(text) for text in texts)]}


def order_of(calls: Calls) -> list[int]:
    return [int(key.split(":")[3]) for key in calls.events]


def test_a_busy_task_does_not_delay_another_one_of_the_same_bot(bothost: Harness, calls: Calls) -> None:
    calls.script = [(20, None)]
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 2})
    of = task()
    bot.begin(of)
    for number in range(5):
        of = said_more(of, f"more {number}")
        bot.begin(of)
    other = bot.begin(task())
    assert other.answered, "what waits for a turn holds no permit"
    assert other.answer().json == {"text": "done"}


def test_without_order_events_of_one_task_run_at_once(bothost: Harness, calls: Calls) -> None:
    calls.takes = 5
    bot = bothost.bot(handler_of(calls), ini={"order": "none"})
    of = task()
    bot.begin(of)
    bot.begin(said_more(of, "two"))
    assert calls.most_at_once == 2


def test_concurrency_bounds_the_runs_of_a_bot(bothost: Harness, calls: Calls) -> None:
    calls.takes = 5
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 3})
    pending = [bot.begin(task()) for _ in range(10)]
    bothost.clock.advance("21s")
    assert all(one.answer().json == {"text": "done"} for one in pending)
    assert calls.most_at_once == 3


def test_what_waits_too_long_is_parked_and_runs_in_its_turn(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 40
    bot = bothost.bot(handler_of(calls))
    of = task()
    first = bot.begin(of)
    with_two = said_more(of, "two")
    with_three = said_more(with_two, "three")
    second, third = bot.begin(with_two), bot.begin(with_three)
    bothost.clock.advance("50s")
    assert first.answer().json == {"text": "done"}
    assert (second.answer().outcome, third.answer().outcome) == ("late", "parked")
    assert [(row.state, row.door) for row in journal.rows()][1:] == [("running", "api"), ("ready", "api")]
    assert bot.deliver(with_three, 2).outcome == "acknowledged"
    bothost.clock.advance("80s")
    assert len(calls.runs) == 3
    assert calls.most_at_once == 1
    assert order_of(calls) == sorted(order_of(calls))
    assert len(bothost.pyrus.comments()) == 3


def test_what_waits_and_cannot_be_parked_stays_in_line(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [(70, "first"), (1, "second")]
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1})
    of = task()
    bot.begin(task())
    waiting = bot.begin(of)
    bothost.clock.advance("49s")
    journal.be(away=True)
    bothost.clock.advance("6s")
    assert (waiting.answer().status, waiting.answer().outcome) == (503, "unrecorded")
    journal.be()
    bothost.clock.advance("6s")
    again = bot.begin(of, 2)
    bothost.clock.advance("10s")
    assert again.answer().json == {"text": "second"}
    assert calls.runs == [(1, ""), (2, "")]


def test_parked_events_go_before_later_arrivals(bothost: Harness, calls: Calls) -> None:
    calls.script = [(60, None), (1, None)]
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.begin(of)
    second = said_more(of, "two")
    bot.begin(second)
    bothost.clock.advance("55s")
    third = bot.begin(said_more(second, "three"))
    bothost.clock.advance("10s")
    assert third.answered
    assert order_of(calls) == sorted(order_of(calls))
    assert len(calls.runs) == 3


def test_a_held_failure_gives_its_turn_back(bothost: Harness, calls: Calls) -> None:
    calls.script = [ValueError("no"), "second", "first"]
    bot = bothost.bot(handler_of(calls))
    of = task()
    assert bot.deliver(of).status == 500
    assert bot.deliver(said_more(of, "two")).json == {"text": "second"}
    bothost.clock.advance("61s")
    assert bot.deliver(of, 2).json == {"text": "first"}


def test_a_turn_ends_when_the_late_reply_was_tried(bothost: Harness, calls: Calls) -> None:
    from bothost.testing.fake_pyrus.faults import slow

    calls.script = [(70, "late"), "next"]
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.deliver(of)
    bothost.pyrus.fail("POST tasks/*", slow(10))
    bothost.clock.advance("5s")
    second = bot.begin(said_more(of, "two"))
    bothost.clock.advance("20s")
    assert len(calls.runs) == 1, "the POST is under way"
    bothost.clock.advance("6s")
    assert second.answer().json == {"text": "next"}
    assert [wrote.text for wrote in bothost.pyrus.comments()] == ["late", "next"]


def bounds(bothost: Harness, **sizes: int) -> None:
    bothost._state.host.pipeline.dispatch._bounds = WaitingLimits(**sizes)


@pytest.mark.parametrize("bound", ["bot_bytes", "host_bytes"])
@pytest.mark.parametrize("late", ["post", "retry"])
def test_beyond_the_bound_of_waiting_bodies_events_are_parked_at_once(
    bothost: Harness, calls: Calls, journal: Journal, bound: str, late: str
) -> None:
    calls.takes = 20
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1, "late": late})
    size = len(bot.as_body(task()))
    bounds(bothost, **{bound: 3 * size})
    pending = [bot.begin(task()) for _ in range(6)]
    answered = [one for one in pending if one.answered]
    assert len(answered) == 2, "one runs, three wait"
    wanted = (200, "parked") if late == "post" else (503, "busy")
    assert {(one.answer().status, one.answer().outcome) for one in answered} == {wanted}
    queue = bot.bot.queue
    assert queue.waiting_bytes == bothost._state.host.pipeline.context.event_table.waiting_bytes > 0
    bothost.clock.advance("10m")
    assert queue.waiting_bytes == bothost._state.host.pipeline.context.event_table.waiting_bytes == 0
    assert len(calls.runs) == (6 if late == "post" else 4)
    assert len(bothost.pyrus.comments()) == (6 if late == "post" else 4)


def test_beyond_the_bound_and_without_a_journal_pyrus_comes_again(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 20
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1})
    bounds(bothost, bot_bytes=10)
    journal.be(away=True)
    of = task()
    assert (bot.deliver(of).status, len(calls.runs)) == (503, 0)
    journal.be()
    assert bot.deliver(of, 2).outcome == "parked"
    bothost.clock.advance("1m")
    assert len(calls.runs) == 1
    bothost.assert_one_comment()


BROKEN = ["config error", "plugin error", "stuck", "quarantined", "paused"]


@pytest.mark.parametrize("word", BROKEN)
def test_a_broken_bot_answers_503_while_attempts_are_left_and_parks_the_last(
    bothost: Harness, calls: Calls, journal: Journal, word: Any
) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.bot.state = BotState(word, "for a test")
    of = task()
    for attempt in (1, 2):
        answer = bot.deliver(of, attempt)
        assert (answer.status, answer.outcome) == (503, "unavailable")
        assert journal.rows() == []
        bothost.clock.advance("61s")
    last = bot.deliver(of, 3)
    assert (last.status, last.outcome) == (200, "parked")
    assert journal.row().limit_s == 0, "memory is the truth, and keeps it without an end"
    assert calls.runs == []
    bothost.clock.advance("10m")
    assert calls.runs == []
    bot.bot.state = BotState("active")
    bothost.clock.advance("1m")
    assert calls.runs == [(3, "")]
    bothost.assert_one_comment()


@pytest.mark.parametrize(("late", "away"), [("retry", False), ("post", True)])
def test_a_broken_bot_answers_503_also_to_the_last_where_it_cannot_be_parked(
    bothost: Harness, calls: Calls, journal: Journal, late: str, away: bool
) -> None:
    bot = bothost.bot(handler_of(calls), ini={"late": late})
    bot.bot.state = BotState("paused", "for a test")
    journal.be(away=away)
    of = task()
    for attempt in (1, 2, 3):
        assert bot.deliver(of, attempt).status == 503
        bothost.clock.advance("61s")


@pytest.mark.parametrize("late", ["post", "retry"])
def test_a_held_event_that_is_turned_away_stays_held_for_four_minutes_more(
    bothost: Harness, calls: Calls, journal: Journal, late: str
) -> None:
    calls.script = [ValueError("no"), "better"]
    bot = bothost.bot(handler_of(calls), ini={"late": late})
    of = task()
    assert bot.deliver(of).outcome == "held"
    bothost.clock.advance("200s")
    bot.bot.state = BotState("paused", "for a test")
    away = bot.deliver(of, 2)
    assert (away.status, away.outcome) == (503, "unavailable")
    assert f"task={of['id']} attempt=2 outcome=unavailable status=503" in away.log
    row = journal.row()
    assert (row.state, row.status, row.seen, row.due) == ("ready", 503, 2, row.seen_at + 240)
    bothost.clock.advance("200s")
    assert journal.row().state == "ready"
    bot.bot.state = BotState("active")
    assert bot.deliver(of, 3).json == {"text": "better"}


def test_a_broken_bot_that_is_back_runs_the_next_attempt(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.bot.state = BotState("plugin error", "for a test")
    of = task()
    bot.deliver(of)
    bothost.clock.advance("61s")
    bot.bot.state = BotState("active")
    assert bot.deliver(of, 2).json == {"text": "done"}
    assert calls.runs == [(2, "")], "the event is known, and has not run"


def test_a_starting_bot_lets_events_wait(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.bot.state = BotState("starting")
    bot.bot.queue.resize(0)
    quick, slow = bot.begin(task()), bot.begin(task())
    bothost.clock.advance("30s")
    slow.hang_up()
    assert not quick.answered

    async def comes_into_service() -> None:
        bot.bot.state = BotState("active")
        bot.bot.queue.resize(8)

    journal.ask(comes_into_service())
    assert quick.answer().json == {"text": "done"}


def test_parked_events_of_a_bot_that_does_not_come_back_expire(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    bot = bothost.bot(handler_of(calls), ini={"keep": "1h"})
    bot.bot.state = BotState("paused", "for a test")
    of = task()
    assert bot.deliver(of, 3).outcome == "parked"
    journal.age(23 * 3600)
    bothost.clock.advance("1m")
    assert journal.row().state == "ready"
    bothost.clock.advance("10m")
    told: list[Any] = []
    poller = bothost._state.host.pipeline.poller
    poller._context = replace(poller._context, failed=told.append)
    journal.age(3600)
    bothost.clock.advance("1m")
    assert [entry.id for entry in told] == [journal.row().id], "on_failure hears of it once"
    assert (journal.row().state, journal.row().error.split(":")[0]) == ("failed", "expired")
    assert bot.deliver(of, 3).json == {}


def test_the_memory_is_flat_when_all_is_over(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    for _ in range(50):
        bot.deliver(task())
    event_table = bothost._state.host.pipeline.context.event_table
    assert len(event_table) == 50
    bothost.clock.advance("12m")
    assert len(event_table) == 0
    assert (bot.bot.queue.held, bot.bot.queue.waiting, bot.bot.queue._turns) == (0, 0, {})
