"""Several processes on one journal: attempts that reach another one join, take over, or are answered by the entry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, Processes, handler_of
from tests.states.test_own_and_forms import asked_at

from bothost import Event, GiveUp, Reply
from bothost.bots.registry import BotState
from bothost.journal.sqlite.journal import SqliteJournal
from bothost.testing import Harness, comment, me, task


def test_a_repeat_on_another_process_joins_the_run_and_gets_the_same_bytes(
    bothost: Harness, calls: Calls, processes: Processes
) -> None:
    calls.takes = 70
    of = task()
    first = processes.at(0).begin(of)
    bothost.clock.advance("30s")
    first.hang_up()
    bothost.clock.advance("31s")
    second = processes.at(1).begin(of, 2)
    bothost.clock.advance("10s")
    assert second.answer().json == {"text": "done"}
    assert processes.at(1).deliver(of, 3).body == second.answer().body
    assert processes.at(0).deliver(of, 3).body == second.answer().body
    assert calls.runs == [(1, "")]
    bothost.assert_one_comment()


def test_an_answered_event_is_known_to_all_processes(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    of = task()
    first = processes.at(0).deliver(of)
    bothost.clock.advance("61s")
    second = processes.at(1).deliver(of, 2)
    assert (second.body, second.outcome) == (first.body, "repeat")
    assert len(calls.runs) == 1
    bothost.clock.advance("11m")
    assert processes.at(1).deliver(of).outcome == "repeat"
    assert processes.at(1).deliver(of).json == {}


def test_a_process_that_claims_without_a_look_answers_a_known_event_as_after_one(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    of, later, failing = task(), task(), task()
    first = processes.at(0).deliver(of)
    assert processes.at(0).deliver(later).outcome == "replied"
    again = processes.at(1).deliver(of)
    assert (again.body, again.outcome) == (first.body, "repeat"), "within ten minutes: the stored bytes"
    bothost.clock.advance("11m")
    known = processes.at(1).deliver(later)
    assert (known.json, known.outcome) == ({}, "repeat"), "a later first attempt: its comment would be a second one"
    calls.says = ValueError("no")
    assert processes.at(0).deliver(failing).status == 500
    calls.says = "done"
    assert processes.at(1).deliver(failing).json == {"text": "done"}
    assert [rerun for _, rerun in calls.runs] == ["", "", "", "error"]
    assert journal.row(task=failing["id"]).fence == 2


def test_two_first_attempts_at_once_of_an_event_that_another_process_runs_both_get_its_reply(
    bothost: Harness, calls: Calls, processes: Processes
) -> None:
    calls.takes = 5
    of = task()
    both = [processes.at(0).begin(of), processes.at(1).begin(of), processes.at(1).begin(of)]
    bothost.clock.advance("10s")
    assert [one.answer().json for one in both] == [{"text": "done"}] * 3
    assert calls.runs == [(1, "")]
    bothost.assert_one_comment()


def test_an_older_event_that_comes_again_elsewhere_does_not_hide_at_which_step_the_bot_was_asked_last(
    bothost: Harness, calls: Calls
) -> None:
    async def handler(event: Event) -> Reply:
        await calls(event)
        return Reply.approve(f"step {event.task.current_step}")

    processes = Processes(bothost, handler)
    of = task(321, approvals=asked_at(1), current_step=1)
    processes.at(0).deliver(of)
    own = comment("step 1", author=me())
    second = {**of, "approvals": asked_at(2), "current_step": 2, "comments": [*of["comments"], own]}
    assert processes.at(0).deliver(second).outcome == "replied"
    bothost.clock.advance("11m")
    assert processes.at(1).deliver(of).outcome == "repeat"
    third = {**second, "comments": [*second["comments"], comment("again", author=me())]}
    assert processes.at(1).deliver(third).outcome == "own"
    assert len(calls.runs) == 2


def test_what_one_process_acknowledges_the_other_posts(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    """The attempt that joined on another process is acknowledged there; the one that runs learns of it by the journal."""
    calls.takes = 120
    of = task()
    first = processes.at(0).begin(of)
    bothost.clock.advance("30s")
    first.hang_up()
    bothost.clock.advance("31s")
    second = processes.at(1).begin(of, 2)
    bothost.clock.advance("50s")
    assert second.answer().json == {}
    assert journal.row().door == "api"
    third = processes.at(0).begin(of, 3)
    assert third.answered, "the process that runs it knows the door"
    assert third.answer().json == {}
    bothost.clock.advance("1m")
    assert calls.runs == [(1, "")]
    assert bothost.assert_one_comment().door == "api"


def test_with_keep_zero_the_one_that_acknowledges_brings_the_body(bothost: Harness, calls: Calls) -> None:
    calls.script = [(900, None), "again"]
    processes = Processes(bothost, handler_of(calls), {"keep": "0", "timeout": "20m"})
    of = processes.abandoned("61s")
    assert processes.at(1).deliver(of, 2).outcome == "late"
    processes.die(0)
    bothost.clock.advance("2m")
    assert bothost.assert_one_comment().text == "again"


def test_a_failure_is_told_to_all_that_wait_and_the_next_attempt_runs_anywhere(
    bothost: Harness, calls: Calls, processes: Processes
) -> None:
    calls.script = [(20, ValueError("no")), "better"]
    of = task()
    first = processes.at(0).begin(of)
    bothost.clock.advance("5s")
    second = processes.at(1).begin(of)
    bothost.clock.advance("16s")
    assert (first.answer().status, second.answer().status) == (500, 500)
    bothost.clock.advance("40s")
    assert processes.at(1).deliver(of, 2).json == {"text": "better"}
    assert [rerun for _, rerun in calls.runs] == ["", "error"]
    bothost.assert_one_comment()


def test_a_failed_event_gets_the_same_everywhere(bothost: Harness, calls: Calls) -> None:
    calls.says = ValueError("no")
    processes = Processes(bothost, handler_of(calls), {"error_text": "Sorry."})
    of = task()
    for attempt in (1, 2):
        assert processes.at(attempt % 2).deliver(of, attempt).status == 500
        bothost.clock.advance("61s")
    last = processes.at(1).deliver(of, 3)
    assert last.json == {"text": "Sorry."}
    assert processes.at(0).deliver(of, 3).body == last.body
    assert [attempt for attempt, _ in calls.runs] == [1, 2, 3]


def test_a_delivery_that_joined_takes_over_when_the_owner_dies(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.script = [(300, None), "second"]
    of = processes.abandoned("61s")
    second = processes.at(1).begin(of, 2)
    bothost.clock.advance("2s")
    processes.die(0)
    bothost.clock.advance("31s")
    assert second.answered
    assert second.answer().json == {"text": "second"}
    assert calls.runs == [(1, ""), (2, "crash")]
    assert journal.row().deaths == 1


def test_the_other_process_goes_on_with_what_a_dead_one_had_acknowledged(bothost: Harness, calls: Calls) -> None:
    calls.script = [(300, None), "second"]
    processes = Processes(bothost, handler_of(calls), {"timeout": "10m"})
    of = task()
    assert processes.at(0).deliver(of).outcome == "late"
    processes.die(0)
    bothost.clock.advance("1m")
    assert calls.runs == [(1, ""), (1, "crash")]
    assert bothost.assert_one_comment().text == "second"


@pytest.mark.parametrize("where", [(0, 1), (1, 0)])
def test_two_comments_close_together_run_in_order_over_two_processes(
    bothost: Harness, calls: Calls, processes: Processes, where: tuple[int, int]
) -> None:
    calls.takes = 10
    of = task()
    first = processes.at(where[0]).begin(of)
    second = processes.at(where[1]).begin({**of, "comments": [*of["comments"], comment("two")]})
    assert len(calls.runs) == 1
    bothost.clock.advance("30s")
    assert [one.answer().json for one in (first, second)] == [{"text": "done"}] * 2
    assert calls.most_at_once == 1
    assert calls.events == sorted(calls.events)


def test_a_held_event_whose_turn_is_taken_waits_without_being_counted_again(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.script = [ValueError("no"), (30, "other"), "better"]
    of = task()
    assert processes.at(0).deliver(of).status == 500
    bothost.clock.advance("50s")
    processes.at(0).begin({**of, "comments": [*of["comments"], comment("two")]})
    bothost.clock.advance("11s")
    second = processes.at(1).begin(of, None)
    bothost.clock.advance("25s")
    assert second.answer().json == {"text": "better"}
    assert journal.rows()[0].seen == 2
    assert [attempt for attempt, _ in calls.runs] == [1, 1, 2]


def test_an_event_whose_turn_is_taken_elsewhere_is_parked_in_time(bothost: Harness, calls: Calls) -> None:
    calls.takes = 60
    processes = Processes(bothost, handler_of(calls), {"timeout": "10m"})
    of = task()
    processes.at(0).begin(of)
    second = processes.at(1).begin({**of, "comments": [*of["comments"], comment("two")]})
    bothost.clock.advance("51s")
    assert second.answer().outcome == "parked"
    bothost.clock.advance("3m")
    assert len(calls.runs) == 2
    assert calls.most_at_once == 1
    assert len(bothost.pyrus.comments()) == 2


def test_one_that_waits_for_a_turn_elsewhere_goes_on_when_its_sender_is_gone(bothost: Harness, calls: Calls) -> None:
    calls.takes = 20
    processes = Processes(bothost, handler_of(calls))
    of = task()
    more = {**of, "comments": [*of["comments"], comment("two")]}
    processes.at(0).begin(of)
    processes.at(1).begin(more, hang_up=True)
    bothost.clock.advance("45s")
    assert len(calls.runs) == 2
    bothost.clock.advance("16s")
    assert processes.at(1).deliver(more, 2).json == {"text": "done"}


@pytest.mark.parametrize("attempt", [1, 3])
def test_without_a_journal_only_the_last_attempt_runs(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal, attempt: int
) -> None:
    of = task()
    bot = processes.at(0)
    journal.be(away=True)
    answer = bot.deliver(of, attempt)
    if attempt == 1:
        assert (answer.status, calls.runs) == (503, [])
        journal.be()
        bothost.clock.advance("11s")
        assert bot.deliver(of, 2).json == {"text": "done"}
        assert calls.runs == [(2, "")]
    else:
        assert answer.json == {"text": "done"}
        assert calls.runs == [(3, "maybe")]
        assert bot.deliver(of, 3).body == answer.body
        journal.be()
        bothost.clock.advance("1m")
        assert processes.at(1).deliver(of, 3).body == answer.body
        assert (journal.row().state, journal.row().delivered) == ("answered", True)
    bothost.assert_one_comment()


def test_a_delivery_waits_for_the_journal(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    journal.be(away=True)
    pending = processes.at(0).begin(task())
    bothost.clock.advance("30s")
    assert not pending.answered
    journal.be()
    assert pending.answer().json == {"text": "done"}
    assert calls.runs == [(1, "")]


def test_an_outcome_is_written_again_until_it_lands(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.takes = 20
    of = task()
    pending = processes.at(0).begin(of)
    journal.be(away=True)
    bothost.clock.advance("40s")
    assert not pending.answered, "nobody knows whether another process has acknowledged it"
    journal.be()
    assert pending.answer().json == {"text": "done"}
    assert processes.at(1).deliver(of, 2).body == pending.answer().body
    assert calls.runs == [(1, "")]


def test_a_late_event_runs_once_though_both_processes_know_it(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 40
    processes = Processes(bothost, handler_of(calls), {"concurrency": 1})
    tasks: list[Any] = [task() for _ in range(6)]
    pending = [processes.at(number % 2).begin(of) for number, of in enumerate(tasks)]
    bothost.clock.advance("51s")
    assert all(one.answered for one in pending)
    for number, of in enumerate(tasks):
        processes.at(1 - number % 2).begin(of, 2)
    bothost.clock.advance("10m")
    assert len(calls.runs) == len(set(calls.events)) == 6
    assert len({wrote.task_id for wrote in bothost.pyrus.comments()}) == len(bothost.pyrus.comments()) == 6


def test_a_second_attempt_at_the_process_that_runs_it_is_not_acknowledged_before_its_time(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.takes = 70
    of = processes.abandoned("61s")
    second = processes.at(0).begin(of, 2)
    assert not second.answered
    bothost.clock.advance("10s")
    assert second.answer().json == {"text": "done"}
    assert (journal.row().door, journal.row().delivered) == ("response", True)


def test_two_attempts_at_a_process_that_does_not_run_it_wait_together(
    bothost: Harness, calls: Calls, processes: Processes
) -> None:
    calls.takes = 70
    of = processes.abandoned("61s")
    second = processes.at(1).begin(of, 2)
    bothost.clock.advance("2s")
    third = processes.at(1).begin(of, 3)
    assert not third.answered
    bothost.clock.advance("10s")
    assert second.answer().json == third.answer().json == {"text": "done"}
    assert calls.runs == [(1, "")]


def test_a_held_event_that_another_process_turns_away_stays_held_for_four_minutes_more(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.script = [ValueError("no"), "better"]
    of = task()
    assert processes.at(0).deliver(of).outcome == "held"
    bothost.clock.advance("200s")
    processes.at(1).bot.state = BotState("paused", "for a test")
    assert processes.at(1).deliver(of, None).outcome == "unavailable"
    row = journal.row()
    assert (row.state, row.status, row.seen, row.due) == ("ready", 503, 2, row.seen_at + 240)
    bothost.clock.advance("200s")
    assert journal.row().state == "ready"
    assert processes.at(0).deliver(of, None).json == {"text": "better"}
    assert [attempt for attempt, _ in calls.runs] == [1, 3]


@pytest.mark.parametrize("runs", [False, True])
def test_what_an_operator_lets_run_again_is_known_at_once_to_the_process_that_failed_it(
    bothost: Harness, calls: Calls, journal: Journal, runs: bool
) -> None:
    """Its door is the API from then on: no attempt gets the error text again."""
    calls.script = [GiveUp("no")]
    processes = Processes(bothost, handler_of(calls), {"on_error": "reply", "error_text": "Sorry."})
    of = task()
    assert processes.at(0).deliver(of).json == {"text": "Sorry."}
    journal.ask(journal.journal.retry(journal.row().id))
    if runs:
        journal.ask(processes.hosts[1].look())
    assert journal.row().fence == (2 if runs else 1)
    second = processes.at(0).deliver(of, 2)
    assert (second.status, second.json, second.outcome) == (200, {}, "acknowledged")
    bothost.clock.advance("1m")
    assert [wrote.text for wrote in bothost.pyrus.comments()] == ["Sorry.", "done"]


def test_a_repeat_that_takes_an_answer_nobody_heard_makes_it_delivered(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.takes = 20
    of = processes.abandoned("30s")
    assert not journal.row().delivered
    bothost.clock.advance("31s")
    assert processes.at(1).deliver(of, 2).json == {"text": "done"}
    assert journal.row().delivered
    bothost.assert_one_comment()


def test_what_an_operator_lets_run_while_its_last_attempt_is_refused_runs(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    """Between the attempt's look at the journal and its write the door has become the API."""
    calls.script = [(30, None)]
    of = task()
    processes.at(0).begin(of, hang_up=True)
    processes.die(0)
    bothost.clock.advance("31s")
    row = journal.row()
    row.deaths = 2
    journal.ask(journal.journal.save(row))
    bothost.clock.advance(row.due - bothost.clock.now.timestamp() - 1.5)
    journal.be(slow_s=1.0)
    last = processes.at(1).begin(of, 3)
    bothost.clock.advance("1.2s")
    assert last.answer().status == 500
    bothost.clock.advance("0.4s")
    operator = SqliteJournal(journal.folder, processes.bench.time, claims_first=True, readonly=True)
    journal.ask(operator.open())
    journal.ask(operator.retry(row.id))
    journal.ask(operator.close())
    bothost.clock.advance("1m")
    assert bothost.assert_one_comment().door == "api"


def test_an_answer_nobody_heard_is_quiet_four_minutes_after_its_last_attempt(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.takes = 20
    of = processes.abandoned("61s")
    processes.at(1).begin(of, 2, hang_up=True)
    bothost.clock.advance("1s")
    row = journal.row()
    assert (row.state, row.delivered, row.seen, row.due) == ("answered", False, 2, row.seen_at + 240)
    bothost.clock.advance("200s")
    assert processes.at(0).deliver(of, 3).json == {"text": "done"}
    assert (journal.row().seen, journal.row().delivered) == (3, True)
    bothost.assert_one_comment()


def test_who_is_gone_when_another_process_ends_the_event_has_not_heard_the_answer(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.takes = 20
    of = task()
    processes.at(0).begin(of, hang_up=True)
    gone = processes.at(1).begin(of)
    bothost.clock.advance("10s")
    gone.hang_up()
    bothost.clock.advance("15s")
    assert f"task={of['id']} attempt=1 outcome=gone status=503" in processes.at(1).log()
    assert (journal.row().state, journal.row().delivered) == ("answered", False)
    bothost.clock.advance("40s")
    assert processes.at(1).deliver(of, 2).json == {"text": "done"}
    bothost.assert_one_comment()


def test_a_delivery_whose_permit_comes_after_another_process_has_failed_the_event_runs_it_again(
    bothost: Harness, calls: Calls
) -> None:
    calls.script = [(20, "busy"), (1, ValueError("no")), "better"]
    processes = Processes(bothost, handler_of(calls), {"concurrency": 1})
    of = task()
    processes.at(1).begin(task())
    waiting = processes.at(1).begin(of)
    assert processes.at(0).deliver(of).outcome == "held"
    bothost.clock.advance("20s")
    assert waiting.answer().json == {"text": "better"}
    assert [rerun for _, rerun in calls.runs] == ["", "", "error"]


def test_an_older_event_of_the_task_that_is_due_gets_the_only_permit_before_one_that_waits_behind_it(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = [(55, ValueError("no")), "late", "new"]
    processes = Processes(bothost, handler_of(calls), {"concurrency": 1})
    of = task()
    processes.at(0).begin(of)
    bothost.clock.advance("56s")
    due = journal.row().due
    bothost.clock.advance("40s")
    newer = processes.at(0).begin({**of, "comments": [*of["comments"], comment("more")]})
    bothost.clock.advance(f"{due - processes.hosts[0].journal.now() + 5:.0f}s")
    assert newer.answer().json == {"text": "new"}
    assert [rerun for _, rerun in calls.runs] == ["", "error", ""]


def test_with_keep_zero_what_was_taken_over_is_stored_once_it_is_acknowledged(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = [(900, None), (900, None)]
    processes = Processes(bothost, handler_of(calls), {"keep": "0", "timeout": "20m"})
    of = processes.abandoned("61s")
    second = processes.at(1).begin(of, 2)
    bothost.clock.advance("2s")
    processes.die(0)
    bothost.clock.advance("40s")
    assert len(calls.runs) == 2
    assert journal.body(journal.row().id) is None
    assert second.answer().outcome == "late"
    assert journal.body(journal.row().id)


def test_a_comment_that_a_handler_wrote_on_another_process_is_not_taken_for_a_reply(
    bothost: Harness, calls: Calls
) -> None:
    async def handler(event: Event) -> str | None:
        calls.runs.append((event.attempt, event.rerun))
        if len(calls.runs) == 1:
            await asyncio.sleep(70)
            return "done"
        await event.pyrus.comment(event.task_id, "done")
        return None

    processes = Processes(bothost, handler, {"order": "none"})
    of = task()
    assert processes.at(0).deliver(of).outcome == "late"
    assert processes.at(1).deliver({**of, "comments": [*of["comments"], comment("two")]}).json == {}
    bothost.clock.advance("1m")
    assert [(wrote.text, wrote.door) for wrote in bothost.pyrus.comments()] == [("done", "api")] * 2
