"""After a crash only what was acknowledged goes on by itself; a stop parks, holds, and counts no death."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, handler_of

from bothost import Event
from bothost.bots.registry import BotState
from bothost.pipeline.drain import drain
from bothost.pipeline.event_table import TrackedEvent
from bothost.testing import Harness, task
from bothost.testing.fake_pyrus.faults import lose_answer, slow


def held(bothost: Harness, calls: Calls) -> tuple[Any, dict[str, Any]]:
    """A bot and a task whose first attempt ran for ten seconds when the host died."""
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.begin(of)
    bothost.clock.advance("10s")
    bothost.restart()
    return bot, of


def test_an_unacknowledged_event_is_held_and_the_next_attempt_runs_it(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = [(1000, None)]
    bot, of = held(bothost, calls)
    row = journal.row()
    assert (row.state, row.door, row.rerun, row.deaths) == ("ready", "response", "crash", 1)
    bothost.clock.advance("51s")
    assert len(calls.runs) == 1
    assert bot.deliver(of, 2).json == {"text": "done"}
    assert calls.runs == [(1, ""), (2, "crash")]
    assert journal.row().fence == 2


def test_an_unacknowledged_event_that_stays_quiet_is_never_posted(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 30
    bot, of = held(bothost, calls)
    bothost.clock.advance("10m")
    row = journal.row()
    assert row.state == "failed"
    assert row.error == "the host stopped before the outcome was recorded; Pyrus may have it"
    bothost.pyrus.assert_no_comment()
    assert bot.deliver(of, 2).status == 500


def test_an_acknowledged_event_runs_again_by_itself(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [(1000, None), "second"]
    bot = bothost.bot(handler_of(calls), ini={"timeout": "20m"})
    of = task()
    bot.deliver(of)
    bothost.restart()
    bothost.clock.advance("1m")
    assert calls.runs == [(1, ""), (1, "crash")]
    assert bothost.assert_one_comment().text == "second"
    assert bot.deliver(of, 2).json == {}
    assert journal.row().deaths == 1


def test_the_third_death_is_the_last(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 1000
    bot = bothost.bot(handler_of(calls), ini={"timeout": "20m"})
    bot.deliver(task())
    for _ in range(3):
        bothost.restart()
        bothost.clock.advance("1m")
    row = journal.row()
    assert (row.state, row.deaths, row.failed) == ("failed", 3, True)
    assert len(calls.runs) == 3
    bothost.clock.advance("1h")
    assert len(calls.runs) == 3


def test_a_held_event_is_not_run_at_its_last_attempt_after_two_deaths(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 30
    bot = bothost.bot(handler_of(calls))
    of = task()
    for attempt in (1, 2):
        bot.begin(of, attempt)
        bothost.clock.advance("5s")
        bothost.restart()
        bothost.clock.advance("56s")
    told: list[Any] = []
    dispatch = bothost._state.host.pipeline.dispatch
    dispatch._context = replace(dispatch._context, failed=told.append)
    last = bot.deliver(of, 3)
    assert (last.status, last.outcome) == (500, "failed")
    assert len(calls.runs) == 2
    why = "not run again: the host died 2 times while it ran"
    row = journal.row()
    assert (row.state, row.failed, row.status, row.error) == ("failed", True, 500, why)
    assert [entry.id for entry in told] == [row.id]
    assert f"ERROR bothost.delivery: {why} bot=bot task={of['id']} event={row.id}" in last.log.splitlines()
    assert bot.deliver(of, 3).status == 500


def test_a_held_event_is_run_at_its_last_attempt_after_one_death(bothost: Harness, calls: Calls) -> None:
    calls.script = [(30, None)]
    bot, of = held(bothost, calls)
    bothost.clock.advance("51s")
    assert bot.deliver(of, 3).json == {"text": "done"}
    assert calls.runs == [(1, ""), (3, "crash")]


def test_after_a_death_those_that_were_in_flight_run_one_by_one(bothost: Harness, calls: Calls) -> None:
    calls.takes = 1000
    bot = bothost.bot(handler_of(calls), ini={"timeout": "30m"})
    for _ in range(4):
        bot.begin(task())
    bothost.clock.advance("50s")
    assert calls.most_at_once == 4
    calls.takes = 5
    bothost.restart()
    calls.most_at_once = 0
    bothost.clock.advance("5m")
    assert len(calls.runs) == 8
    assert calls.most_at_once == 1
    assert len(bothost.pyrus.comments()) == 4


def test_what_waits_until_it_may_run_alone_holds_no_claim(bothost: Harness, calls: Calls, journal: Journal) -> None:
    """A death would count for each claim. One that may run, and is not claimed yet, is in nobody's row."""
    calls.takes = 1000
    bot = bothost.bot(handler_of(calls), ini={"timeout": "30m"})
    bot.deliver(task())
    bothost.restart()
    runs, other = bothost._state.host.pipeline.runs, TrackedEvent("other", journal.row())
    journal.ask(runs._suspects.enter(other))
    bothost.clock.advance("1m")
    assert (len(calls.runs), journal.row().state, journal.row().deaths) == (1, "ready", 1)
    calls.takes = 5
    runs._suspects.leave()
    bothost.clock.advance("1m")
    assert calls.runs == [(1, ""), (1, "crash")]
    assert bothost.assert_one_comment()


def test_a_post_that_takes_long_holds_up_no_run_that_must_be_alone(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    """A claim that waited for it counted a death at the next one, although its run had never begun."""
    calls.takes = 1000
    bot = bothost.bot(handler_of(calls), ini={"timeout": "30m"})
    for _ in range(2):
        bot.begin(task())
    bothost.clock.advance("50s")
    calls.takes = 5
    bothost.pyrus.fail("GET tasks/*", slow(28))
    bothost.pyrus.fail("POST tasks/*", slow(28))
    bothost.restart()
    while len(calls.runs) < 3:
        bothost.clock.advance("1s")
    while [row.state for row in journal.rows()] != ["running", "running"]:
        bothost.clock.advance("1s")
    assert [rerun for _, rerun in calls.runs] == ["", "", "crash", "crash"], "it is claimed, so it runs"
    bothost.clock.advance("5m")
    assert len(bothost.pyrus.comments()) == 2


def test_a_crash_between_answer_and_post_does_not_run_it_again(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("GET tasks/*", slow(100))
    bothost.clock.advance("25s")
    bothost.restart()
    bothost.clock.advance("1m")
    assert calls.runs == [(1, "")]
    bothost.assert_one_comment()


def test_a_reply_that_was_left_unposted_is_posted_although_its_bot_is_paused(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("GET tasks/*", slow(100))
    bothost.clock.advance("25s")
    bothost.restart()
    bot.bot.state = BotState("paused", "for a test")
    bothost.clock.advance("1m")
    assert bothost.assert_one_comment().comment_id == journal.row().posted
    assert calls.runs == [(1, "")]


def test_a_crash_after_the_post_was_applied_finds_it(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*", lose_answer())
    bothost.clock.advance("21s")
    bothost.assert_one_comment()
    bothost.restart()
    bothost.clock.advance("1m")
    assert bothost.assert_one_comment().comment_id == journal.row().posted
    assert calls.runs == [(1, "")]


def test_parked_events_survive(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 30
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1})
    pending = [bot.begin(task()) for _ in range(5)]
    bothost.clock.advance("55s")
    assert all(one.answered for one in pending)
    calls.takes = 1
    bothost.restart()
    bothost.clock.advance("2m")
    assert len({wrote.task_id for wrote in bothost.pyrus.comments()}) == len(bothost.pyrus.comments()) == 5
    assert {row.state for row in journal.rows()} == {"answered"}


def start_drain(bothost: Harness, seconds: float) -> asyncio.Task[None]:
    """As the host does at SIGTERM."""
    bench = bothost._state
    host = bench.host

    async def begin() -> asyncio.Task[None]:
        for bot in host.service:
            if bot.can_log_in:
                bot.queue.resize(0)
        return asyncio.get_running_loop().create_task(drain(host.pipeline, seconds, asyncio.Event()))

    return bench.turn(begin())


def test_a_drain_lets_end_what_runs_and_parks_what_waits_and_arrives(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 20
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1})
    running, waiting = bot.begin(task()), bot.begin(task())
    bothost.clock.advance("5s")
    draining = start_drain(bothost, 50)
    bothost.clock.advance("0.1s")
    assert waiting.answered, "at once"
    assert waiting.answer().outcome == "parked"
    arriving = bot.begin(task())
    assert arriving.answer().outcome == "parked"
    bothost.clock.advance("16s")
    assert running.answer().json == {"text": "done"}
    assert draining.done()
    assert len(calls.runs) == 1
    bothost.restart()
    bothost.clock.advance("2m")
    assert calls.runs == [(1, "")] * 3
    assert len(bothost.pyrus.comments()) == 3
    assert {row.deaths for row in journal.rows()} == {0}


def test_with_late_retry_what_waits_and_arrives_comes_again(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 20
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1, "late": "retry"})
    bot.begin(task())
    waiting = bot.begin(task())
    start_drain(bothost, 50)
    bothost.clock.advance("0.1s")
    assert waiting.answered, "at once"
    assert (waiting.answer().status, bot.deliver(task()).status) == (503, 503)
    assert bot.bot.queue.waiting_bytes == 0
    assert len(journal.rows()) == 1


def test_what_arrives_after_the_drain_is_parked_too(bothost: Harness, calls: Calls) -> None:
    """The host listens until it leaves, and nobody looks at what waits any more."""
    bot = bothost.bot(handler_of(calls))
    draining = start_drain(bothost, 50)
    bothost.clock.advance("1s")
    assert draining.done()
    arriving = bot.begin(task())
    assert arriving.answered
    assert arriving.answer().outcome == "parked"
    bothost.restart()
    bothost.clock.advance("1m")
    assert calls.runs == [(1, "")]


def test_what_outlasts_the_drain_is_parked_and_told_so(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [(200, None), (1, "again")]
    bot = bothost.bot(handler_of(calls))
    of = task()
    pending = bot.begin(of)
    draining = start_drain(bothost, 10)
    bothost.clock.advance("11s")
    assert draining.done()
    assert (pending.answer().status, pending.answer().outcome) == (200, "parked")
    row = journal.row()
    assert (row.state, row.door, row.rerun, row.deaths) == ("ready", "api", "drain", 0)
    bothost.restart()
    bothost.clock.advance("1m")
    assert calls.runs == [(1, ""), (1, "drain")]
    assert bothost.assert_one_comment().text == "again"


def test_what_outlasts_the_drain_with_late_retry_is_held(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [(200, None), (1, "again")]
    bot = bothost.bot(handler_of(calls), ini={"late": "retry"})
    of = task()
    pending = bot.begin(of)
    start_drain(bothost, 10)
    bothost.clock.advance("10s")
    assert (pending.answer().status, pending.answer().outcome) == (503, "held")
    row = journal.row()
    assert (row.state, row.door, row.rerun, row.deaths) == ("ready", "response", "drain", 0)
    bothost.restart()
    bothost.clock.advance("50s")
    assert bot.deliver(of, 2).json == {"text": "again"}
    assert calls.runs == [(1, ""), (2, "drain")]


@pytest.mark.parametrize("late", ["post", "retry"])
def test_a_late_run_that_outlasts_the_drain_is_parked(
    bothost: Harness, calls: Calls, journal: Journal, late: str
) -> None:
    """Its deliveries were acknowledged, the last one with `late = retry` too: nobody comes again."""
    calls.script = [(200, None), (1, "again")]
    bot = bothost.bot(handler_of(calls), ini={"late": late})
    assert bot.deliver(task(), 3).outcome == "late"
    start_drain(bothost, 10)
    bothost.clock.advance("10s")
    row = journal.row()
    assert (row.state, row.door, row.rerun, row.deaths) == ("ready", "api", "drain", 0)
    bothost.restart()
    bothost.clock.advance("1m")
    assert [rerun for _, rerun in calls.runs] == ["maybe", "drain"]
    bothost.assert_one_comment()


def test_a_reply_on_its_way_when_the_drain_ends_is_posted_once(bothost: Harness, calls: Calls) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*", slow(20))
    bothost.clock.advance("21s")
    start_drain(bothost, 5)
    bothost.clock.advance("10s")
    bothost.restart()
    bothost.clock.advance("5m")
    bothost.assert_one_comment()
    assert len(calls.runs) == 1


@pytest.mark.parametrize("keep", ["0", "7d"])
def test_keep_zero_writes_no_body_of_what_is_answered_in_time(
    bothost: Harness, calls: Calls, journal: Journal, keep: str
) -> None:
    bot = bothost.bot(handler_of(calls), ini={"keep": keep})
    of = task()
    bot.deliver(of)
    calls.says = ValueError("no")
    bot.deliver(task())
    for row in journal.rows():
        assert (journal.body(row.id) is None) == (keep == "0")
    raw = b"".join(path.read_bytes() for path in journal.folder.rglob("*") if path.is_file())
    assert (str(of["comments"][0]["text"]).encode() in raw and b'"access_token"' in raw) == (keep != "0")


def test_with_keep_zero_a_late_event_is_stored_until_it_ends(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [(1000, None), "again"]
    bot = bothost.bot(handler_of(calls), ini={"keep": "0", "timeout": "20m"})
    bot.deliver(task())
    key = journal.row().id
    assert journal.body(key) is not None
    bothost.restart()
    bothost.clock.advance("1m")
    assert calls.runs == [(1, ""), (1, "crash")]
    bothost.assert_one_comment()
    bothost.clock.advance("21m")
    assert journal.body(key) is None


TOKEN = "Xh3-a-token-as-long-as-those-of-pyrus-are_0123456789~"


def test_no_token_is_in_the_journal(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [(70, "late"), (70, ValueError(f"what the author said was {TOKEN}")), (70, "again")]
    bot = bothost.bot(handler_of(calls))

    def deliver() -> None:
        of: Any = task(comments=[f"the text names {TOKEN} too"])
        bot.deliver(
            {"event": "comment", "task_id": of["id"], "access_token": TOKEN, "user_id": bot.person["id"], "task": of}
        )

    deliver()
    bothost.pyrus.fail("GET *", slow(5))
    bothost.clock.advance("1m")
    deliver()
    bothost.clock.advance("1m")
    bothost.restart()
    bothost.clock.advance("5m")
    issued = [token for account in bothost.pyrus.world.accounts.values() for token in account.tokens]
    assert len(issued) > 1
    assert len(calls.runs) == 3
    files = [path for path in journal.folder.rglob("*") if path.is_file()]
    assert any(path.name == "journal.db" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not [token for token in issued if token.encode() in content], path
    assert TOKEN not in bot.log()
    assert not [row.error for row in journal.rows() if TOKEN in row.error]


def test_a_comment_that_the_handler_wrote_itself_before_a_crash_is_not_taken_for_its_reply(
    bothost: Harness, calls: Calls
) -> None:
    async def handler(event: Event) -> str:
        if not event.rerun:
            await event.pyrus.comment(event.task_id, "done")
        calls.runs.append((event.attempt, event.rerun))
        await asyncio.sleep(70)
        return "done"

    bot = bothost.bot(handler)
    assert bot.deliver(task()).outcome == "late"
    bothost.restart()
    bothost.clock.advance("3m")
    assert [rerun for _, rerun in calls.runs] == ["", "crash"]
    assert [(wrote.text, wrote.door) for wrote in bothost.pyrus.comments()] == [("done", "api")] * 2


def test_what_a_handler_wrote_while_the_journal_was_away_is_written_when_it_is_back(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    async def handler(event: Event) -> None:
        await event.pyrus.comment(event.task_id, "done")

    bot = bothost.bot(handler)
    of = task()
    journal.be(away=True)
    assert bot.deliver(of).json == {}
    journal.be()
    assert journal.ask(journal.journal.written("bot", of["id"])) == set()
    bothost.clock.advance("5s")
    assert journal.ask(journal.journal.written("bot", of["id"])) == {bothost.assert_one_comment(of).comment_id}
