"""What an operator does by hand: retry, retry --again, cancel, with their refusals."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, Processes, handler_of

from bothost import Event, GiveUp
from bothost.bots.registry import BotState
from bothost.errors import JournalError
from bothost.journal.status import phase
from bothost.journal.transitions import cancelled
from bothost.testing import Harness, comment, task
from bothost.testing.fake_pyrus.faults import answer, gateway


def test_retry_of_a_failed_run_runs_it_again_and_posts(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [ValueError("no"), "by hand"]
    bot = bothost.bot(handler_of(calls), ini={"on_error": "ignore"})
    of = task()
    bot.deliver(of)
    row = journal.row()
    journal.ask(journal.journal.retry(row.id))
    bothost.clock.advance("1m")
    assert calls.runs == [(1, ""), (1, "manual")]
    assert bothost.assert_one_comment().door == "api"
    again = journal.row()
    assert (again.id, again.state, again.door, again.runs) == (row.id, "answered", "api", 2)
    assert bot.deliver(of, 2).json == {}


def test_retry_of_a_failed_post_posts_the_stored_reply(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*", answer(403, "access_denied"))
    bothost.clock.advance("1m")
    row = journal.row()
    assert (row.state, row.tries) == ("failed", 1)
    assert "403" in row.error
    journal.ask(journal.journal.retry(row.id))
    bothost.clock.advance("1m")
    assert len(calls.runs) == 1
    bothost.assert_one_comment()
    assert (journal.row().tries, journal.row().error) == (2, "")


def test_an_answered_event_is_refused_without_again(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    with pytest.raises(JournalError, match="--again"):
        journal.ask(journal.journal.retry(journal.row().id))


def test_again_makes_a_new_entry_beside_the_event(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = ["first", "again"]
    bot = bothost.bot(handler_of(calls))
    of = task()
    first = bot.deliver(of)
    key = journal.row().id
    journal.ask(journal.journal.retry(key, again=True))
    bothost.clock.advance("1m")
    assert calls.runs == [(1, ""), (1, "manual")]
    assert calls.events == [key, f"{key}~2"]
    assert [row.kind for row in journal.rows()] == ["hook", "manual"]
    assert [wrote.text for wrote in bothost.pyrus.comments()] == ["first", "again"]
    assert bot.deliver(of, 2).body == first.body, "Pyrus's event is still the first one"
    bothost.restart()
    assert bot.deliver(of, 2).body == first.body


def test_again_of_an_event_without_comments_takes_a_number_of_its_own(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task(comments=[])
    bot.deliver(of)
    key = journal.row().id
    journal.ask(journal.journal.retry(key, again=True))
    bothost.clock.advance("1m")
    bot.deliver(of)
    assert calls.events == [key, f"{key}~2", f"{key}~3"]
    bothost.clock.advance("30m")
    journal.ask(journal.journal.retry(f"{key}~3", again=True))
    bothost.clock.advance("30m")
    bot.deliver(of)
    assert calls.events[3:] == [f"{key}~4", f"{key}~5"]


def test_after_again_a_forgotten_event_is_still_the_first_one(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = ["first", "again"]
    bot = bothost.bot(handler_of(calls))
    of = task()
    first = bot.deliver(of)
    journal.ask(journal.journal.retry(journal.row().id, again=True))
    bothost.clock.advance("30m")
    assert len(bothost._state.host.pipeline.context.event_table) == 0
    assert bot.deliver(of, 2).body == first.body
    assert len(calls.runs) == 2


def test_after_again_a_forgotten_digest_is_that_of_its_newest_event(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = ["one", "two", "by hand"]
    bot = bothost.bot(handler_of(calls))
    of = task(comments=[])
    bot.deliver(of)
    second = bot.deliver(of)
    key = journal.rows()[1].id
    journal.ask(journal.journal.retry(key, again=True))
    bothost.clock.advance("30m")
    assert [wrote.text for wrote in bothost.pyrus.comments()] == ["one", "two", "by hand"]
    assert bot.deliver(of, 2).body == second.body
    assert len(calls.runs) == 3


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize(("said", "state"), [(ValueError("no"), "ready"), (GiveUp("no"), "failed")])
def test_an_attempt_at_what_is_to_run_again_by_hand_says_nothing(
    bothost: Harness, calls: Calls, journal: Journal, said: Exception, state: str, claimed: bool
) -> None:
    """Its door is the API: it neither runs for that attempt nor gets what the last one got."""
    calls.script = [said, (30, "by hand")]
    bot = bothost.bot(handler_of(calls), ini={"late": "retry"})
    of = task()
    assert bot.deliver(of).status == 500
    bot.bot.state = BotState("paused", "for a test")
    for attempt in (2, 3):
        bothost.clock.advance("61s")
        assert bot.deliver(of, attempt).outcome == ("unavailable" if state == "ready" else "failed")
    row = journal.row()
    assert (row.state, row.door, row.seen) == (state, "response", 3)
    journal.ask(journal.journal.retry(row.id))
    if claimed:
        bot.bot.state = BotState("active")
        bothost.clock.advance("10s")
    fourth = bot.deliver(of, 3)
    bot.bot.state = BotState("active")
    assert (fourth.status, fourth.json, fourth.outcome) == (200, {}, "acknowledged")
    bothost.clock.advance("1m")
    assert [rerun for _, rerun in calls.runs] == ["", "manual"]
    assert bothost.assert_one_comment().door == "api"


def test_what_pyrus_will_bring_again_is_refused(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.says = ValueError("no")
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    comes = datetime.fromtimestamp(bothost.clock.now.timestamp() + 61).strftime("%H:%M")
    with pytest.raises(JournalError, match=f"Pyrus comes again at {comes}"):
        journal.ask(journal.journal.retry(journal.row().id))
    bothost.clock.advance("70s")
    comes = datetime.fromtimestamp(bothost.clock.now.timestamp() + 52).strftime("%H:%M")
    with pytest.raises(JournalError, match=f"Pyrus comes again at {comes}"):
        journal.ask(journal.journal.retry(journal.row().id))
    bothost.clock.advance("4m")
    journal.ask(journal.journal.retry(journal.row().id))
    bothost.clock.advance("1m")
    assert [rerun for _, rerun in calls.runs] == ["", "manual"]


def test_cancel_ends_what_is_parked(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 100
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1, "timeout": "5m"})
    of = task()
    bot.begin(task())
    bot.begin(of)
    bothost.clock.advance("51s")
    parked = journal.row(task=of["id"])
    assert parked.state == "ready"
    journal.ask(journal.journal.cancel(parked.id))
    bothost.clock.advance("5m")
    assert len(calls.runs) == 1
    assert journal.row(task=of["id"]).state == "cancelled"
    assert bot.deliver(of, 2).json == {}


def test_later_events_do_not_wait_for_a_cancelled_one(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls), ini={"timeout": "5m"})
    of = task()
    calls.script = [(60, ValueError("no"))]
    bot.deliver(of)
    bothost.clock.advance("11s")
    parked = journal.row()
    assert (parked.state, parked.rerun) == ("ready", "error")
    journal.ask(journal.journal.cancel(parked.id))
    pending = bot.begin({**of, "comments": [*of["comments"], comment("two")]})
    bothost.clock.advance("49s")
    bothost.clock.advance("12s")
    assert len(calls.runs) == 2
    assert pending.answered


def test_a_held_event_that_was_cancelled_is_not_run_by_its_next_attempt(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = [ValueError("no")]
    bot = bothost.bot(handler_of(calls))
    of = task()
    assert bot.deliver(of).status == 500
    journal.ask(journal.journal.cancel(journal.row().id))
    bothost.clock.advance("61s")
    again = bot.deliver(of, 2)
    assert (again.status, again.json, again.outcome) == (200, {}, "cancelled")
    assert len(calls.runs) == 1
    assert journal.row().state == "cancelled"


def test_a_held_event_that_is_cancelled_while_it_waits_in_line_ends_at_the_next_beat(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = [ValueError("no"), (40, "another"), (900, "never")]
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1, "timeout": "20m"})
    of = task()
    assert bot.deliver(of).status == 500
    bothost.clock.advance("61s")
    bot.begin(task())
    bot.begin(of, 2)
    journal.ask(journal.journal.cancel(journal.row(task=of["id"]).id))
    bothost.clock.advance("11m")
    assert calls.at_once == 0
    assert journal.row(task=of["id"]).state == "cancelled"
    bothost.pyrus.assert_no_comment(of["id"])


def test_those_who_wait_for_a_run_that_is_cancelled_are_told_nothing(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 900
    bot = bothost.bot(handler_of(calls), ini={"timeout": "20m"})
    bothost.clock.advance("9m 50s")
    pending = bot.begin(task())
    journal.ask(journal.journal.cancel(journal.row().id))
    bothost.clock.advance("45s")
    assert pending.answered
    assert (pending.answer().status, pending.answer().json, pending.answer().outcome) == (200, {}, "cancelled")
    row = journal.row()
    assert (row.state, row.status, row.error) == ("cancelled", 200, "cancelled by the operator")


@pytest.mark.parametrize("acknowledged", [False, True])
def test_cancel_stops_an_async_run(bothost: Harness, calls: Calls, journal: Journal, acknowledged: bool) -> None:
    calls.takes = 900
    bot = bothost.bot(handler_of(calls), ini={"timeout": "20m", "answer_within": "55s"})
    of = task()
    pending = bot.begin(of)
    bothost.clock.advance("60s" if acknowledged else "1s")
    journal.ask(journal.journal.cancel(journal.row().id))
    bothost.clock.advance("11m")
    assert calls.at_once == 0, "seen at the next beat"
    assert journal.row().state == "cancelled"
    if not acknowledged:
        assert pending.answer().outcome in ("cancelled", "late")
    assert bot.deliver(of, 2).json == {}
    bothost.pyrus.assert_no_comment()


def test_what_a_cancelled_thread_returns_is_dropped(bothost: Harness, journal: Journal) -> None:
    ended = []

    def handler(event: Event) -> str:
        time.sleep(900)
        ended.append(True)
        return "too late"

    bot = bothost.bot(handler, ini={"timeout": "20m"})
    bot.deliver(task())
    journal.ask(journal.journal.cancel(journal.row().id))
    bothost.clock.advance("16m")
    assert ended == [True]
    assert journal.row().state == "cancelled"
    bothost.pyrus.assert_no_comment()


def test_cancel_of_a_reply_on_its_way(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*", gateway(503), times=1000)
    bothost.clock.advance("1m")
    journal.ask(journal.journal.cancel(journal.row().id))
    bothost.pyrus.heal()
    bothost.clock.advance("10m")
    bothost.pyrus.assert_no_comment()
    assert journal.row().state == "cancelled"


def test_nothing_is_left_to_cancel_of_what_has_ended(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    with pytest.raises(JournalError, match="nothing to cancel"):
        journal.ask(journal.journal.cancel(journal.row().id))


def test_event_tells_why_it_runs_again(bothost: Harness, journal: Journal) -> None:
    seen: list[Any] = []

    async def handler(event: Event) -> None:
        seen.append((event.id, event.attempt, event.rerun, round(event.time_left)))
        await asyncio.sleep(0)
        raise ValueError("no")

    bot = bothost.bot(handler, ini={"timeout": "2m"})
    of = task()
    bot.deliver(of)
    bothost.clock.advance("61s")
    bot.deliver(of, 2)
    key = journal.row().id
    assert seen == [(key, 1, "", 120), (key, 2, "error", 120)]


def test_what_stands_in_line_is_listed_and_ends_when_it_is_cancelled(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 30
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1})
    late = bothost._state.host.pipeline.poller
    bot.begin(task())
    assert late.waiting() == []
    of = task()
    pending = bot.begin(of)
    (waits,) = late.waiting()
    assert (waits.task, waits.fence, phase(waits)) == (of["id"], 0, "waiting")
    late.cancel(waits.id)
    bothost.clock.advance("1s")
    assert (pending.answer().json, pending.answer().outcome) == ({}, "cancelled")
    bothost.clock.advance("1m")
    assert len(calls.runs) == 1
    row = journal.row(task=of["id"])
    assert (row.state, row.error) == ("cancelled", "cancelled by the operator")
    assert bot.deliver(of, 2).outcome == "cancelled"
    assert (bot.bot.queue.held, bot.bot.queue.waiting, bot.bot.queue.waiting_bytes) == (0, 0, 0)


def test_what_is_cancelled_while_it_is_being_parked_stays_cancelled(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 60
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1})
    bot.begin(task())
    of = task()
    pending = bot.begin(of)
    journal.be(slow_s=1.0)
    bothost.clock.advance("50.5s")
    (waits,) = bothost._state.host.pipeline.poller.waiting()
    bothost._state.host.pipeline.poller.cancel(waits.id)
    bothost.clock.advance("5s")
    assert pending.answer().outcome == "cancelled"
    journal.be()
    bothost.clock.advance("2m")
    assert journal.row(task=of["id"]).state == "cancelled"
    assert len(calls.runs) == 1


@pytest.mark.parametrize("recorded", [False, True])
def test_what_is_cancelled_while_it_is_being_claimed_does_not_run(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal, recorded: bool
) -> None:
    of = task()
    journal.be(slow_s=1.0)
    pending = processes.at(0).begin(of)
    bothost.clock.advance("0.5s")
    late = processes.hosts[0].pipeline.poller
    (waits,) = late.waiting()
    if recorded:
        journal.ask(processes.hosts[1].journal.save(cancelled(waits, waits.created)))
    late.cancel(waits.id)
    assert pending.answer().outcome == "cancelled"
    bothost.clock.advance("5s")
    journal.be()
    assert calls.runs == []
    assert (journal.row().state, journal.row().fence) == ("cancelled", 0 if recorded else 1)
    assert processes.at(1).deliver(of, 2).outcome == "cancelled"
    assert processes.at(0).deliver(of, 2).outcome == "cancelled"
