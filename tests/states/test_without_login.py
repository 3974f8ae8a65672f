"""A bot without a login is not acknowledged where nobody would hold a token for its reply later."""

from __future__ import annotations

from tests.states.conftest import Calls, Journal, Processes, handler_of
from tests.states.test_crash_and_drain import start_drain

from bothost.pipeline.dispatcher import WaitingLimits
from bothost.testing import Harness, task

NO_LOGIN = {"login": "", "concurrency": 1}


def test_in_a_drain_what_waits_and_arrives_comes_again_and_the_next_process_answers(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 20
    bot = bothost.bot(handler_of(calls), ini=NO_LOGIN)
    first, second, third = task(), task(), task()
    running, waiting = bot.begin(first), bot.begin(second)
    start_drain(bothost, 50)
    bothost.clock.advance("0.1s")
    assert (waiting.answer().status, bot.deliver(third).status) == (503, 503)
    bothost.clock.advance("21s")
    assert running.answer().json == {"text": "done"}
    bothost.restart()
    assert [bot.deliver(of, 2).json for of in (second, third)] == [{"text": "done"}] * 2
    assert len(calls.runs) == 3
    assert {row.state for row in journal.rows()} == {"answered"}


def test_in_a_drain_a_last_attempt_runs_and_is_answered(bothost: Harness, calls: Calls) -> None:
    calls.takes = 5
    bot = bothost.bot(handler_of(calls), ini=NO_LOGIN)
    running, waiting = bot.begin(task()), bot.begin(task(), 3)
    draining = start_drain(bothost, 50)
    bothost.clock.advance("1s")
    arriving = bot.begin(task(), 3)
    bothost.clock.advance("15s")
    assert draining.done()
    assert [one.answer().json for one in (running, waiting, arriving)] == [{"text": "done"}] * 3


def test_a_last_attempt_that_the_drain_leaves_no_time_for_fails_and_can_be_retried(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = [(200, None)]
    bot = bothost.bot(handler_of(calls), ini=NO_LOGIN)
    cut, waiting = bot.begin(task(), 3), bot.begin(task(), 3)
    draining = start_drain(bothost, 10)
    bothost.clock.advance("12s")
    assert draining.done()
    after = bot.begin(task(), 3)
    assert [one.answer().status for one in (cut, waiting, after)] == [500, 500, 500]
    rows = journal.rows()
    assert {row.state for row in rows} == {"failed"}
    assert all("bot has no login" in row.error for row in rows), [row.error for row in rows]
    bothost.restart()
    bothost.clock.advance("5m")
    bothost._state.host.resources.client.learn("bot", bot.person["email"])
    for row in rows:
        journal.ask(journal.journal.retry(row.id))
    bothost.clock.advance("2m")
    assert [comment.text for comment in bothost.pyrus.comments()] == ["done"] * 3


def test_a_cut_run_with_attempts_left_comes_again(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [(200, None)]
    bot = bothost.bot(handler_of(calls), ini=NO_LOGIN)
    of = task()
    pending = bot.begin(of)
    start_drain(bothost, 10)
    bothost.clock.advance("12s")
    assert pending.answer().status == 503
    bothost.restart()
    assert bot.deliver(of, 2).json == {"text": "done"}
    assert calls.runs == [(1, ""), (2, "drain")]


def test_while_the_host_stops_a_late_run_is_not_acknowledged(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls), ini=NO_LOGIN)
    of = task()
    pending = bot.begin(of)
    bothost.clock.advance("40s")
    start_drain(bothost, 50)
    bothost.clock.advance("12s")
    assert pending.answer().status == 503
    bothost.clock.advance("25s")
    bothost.restart()
    assert bot.deliver(of, 2).json == {"text": "done"}
    assert len(calls.runs) == 1


def test_a_full_bot_has_pyrus_come_again_and_parks_only_the_last_attempt(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    bot = bothost.bot(handler_of(calls), ini=NO_LOGIN)
    bothost._state.host.pipeline.dispatch._bounds = WaitingLimits(bot_bytes=10)
    of = task()
    assert bot.deliver(of).status == 503
    assert bot.deliver(of, 2).status == 503
    assert bot.deliver(of, 3).outcome == "parked"
    bothost.clock.advance("1m")
    assert bothost.assert_one_comment().text == "done"


def test_a_parked_event_keeps_its_token_while_the_process_lives(bothost: Harness, calls: Calls) -> None:
    calls.takes = 300
    bot = bothost.bot(handler_of(calls), ini={**NO_LOGIN, "timeout": "10m"})
    bot.begin(task())
    waiting = bot.begin(task(), 3)
    bothost.clock.advance("51s")
    assert waiting.answer().outcome == "parked"
    bothost.clock.advance("12m")
    assert [comment.text for comment in bothost.pyrus.comments()] == ["done"] * 2


def test_with_several_processes_what_waits_too_long_is_never_left_to_another_one(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 300
    processes = Processes(bothost, handler_of(calls), NO_LOGIN)
    processes.at(0).begin(task())
    first, last = processes.at(0).begin(task()), processes.at(0).begin(task(), 3)
    bothost.clock.advance("51s")
    assert (first.answer().status, last.answer().status) == (503, 500)
    assert "bot has no login" in journal.row(states=("failed",)).error
