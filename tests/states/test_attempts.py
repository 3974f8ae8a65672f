"""Attempts and repeats: one event is one run, however often and in whatever shape it comes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.states.conftest import VARIANTS, Calls, Journal, handler_of

from bothost.errors import BodyRefused
from bothost.pyrus.envelope import decode
from bothost.pyrus.signature import sign
from bothost.testing import Harness, comment, task


def body_with_comments(bot: Any, *texts: str) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(bot.as_body(task(321, comments=[comment(text) for text in texts])))
    return sent


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_repeat_of_an_answered_event_gets_the_same_bytes(
    bothost: Harness, calls: Calls, journal: Journal, variant: Any
) -> None:
    bot = bothost.bot(handler_of(calls))
    body = body_with_comments(bot, "one", "two", "three")
    first = bot.deliver(body)
    bothost.clock.advance("61s")
    again = bot.deliver(variant(body), attempt=2)
    assert (again.status, again.body, again.headers["X-Bothost"]) == (200, first.body, "repeat")
    assert f"task={body['task_id']} attempt=2 outcome=repeat status=200" in again.log
    assert calls.runs == [(1, "")]
    row = journal.row()
    assert (row.state, row.door, row.status, row.seen, row.runs) == ("answered", "response", 200, 2, 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_repeat_of_a_running_event_joins_it(bothost: Harness, calls: Calls, variant: Any) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls), ini={"answer_within": "59s"})
    body = body_with_comments(bot, "one", "two")
    first = bot.begin(body)
    bothost.clock.advance("30s")
    first.hang_up()
    bothost.clock.advance("31s")
    second = bot.begin(variant(body), attempt=2)
    assert not second.answered
    assert second.answer().json == {"text": "done"}
    assert calls.runs == [(1, "")]
    bothost.assert_one_comment()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_repeat_of_a_waiting_event_joins_it(bothost: Harness, calls: Calls, variant: Any) -> None:
    calls.script = [(40, None), (25, "second")]
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1, "answer_within": "45s", "late": "retry"})
    bot.begin(task())
    body = body_with_comments(bot, "one", "two")
    first = bot.begin(body)
    bothost.clock.advance("35s")
    second = bot.begin(variant(body), attempt=2)
    assert len(calls.runs) == 1, "it waits for the permit"
    bothost.clock.advance("30s")
    assert first.answer().status == 503
    assert second.answer().json == {"text": "second"}
    assert len(calls.runs) == 2


def test_two_deliveries_at_once_are_one_run_and_get_the_same_answer(bothost: Harness, calls: Calls) -> None:
    calls.takes = 1
    bot = bothost.bot(handler_of(calls))
    body = body_with_comments(bot, "one")
    first, second = bot.begin(body), bot.begin(body)
    assert first.answer().body == second.answer().body == b'{"text":"done"}'
    assert calls.runs == [(1, "")]


def test_deliveries_within_a_second_count_as_one(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    body = body_with_comments(bot, "one")
    calls.says = ValueError("no")
    assert bot.deliver(body, attempt=None).status == 500
    bothost.clock.advance("0.5s")
    assert bot.deliver(body, attempt=None).status == 500
    bothost.clock.advance("61s")
    assert bot.deliver(body, attempt=None).status == 500
    assert journal.row().seen == 2
    assert [attempt for attempt, _ in calls.runs] == [1, 1, 2]


def test_deliveries_a_second_apart_are_two(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    body = body_with_comments(bot, "one")
    bot.deliver(body, attempt=None)
    bothost.clock.advance("1s")
    bot.deliver(body, attempt=None)
    assert journal.row().seen == 2


def test_the_token_of_each_delivery_is_hidden_and_its_trace_is_kept(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    bot = bothost.bot(handler_of(calls))
    hidden: list[str] = []
    dispatch = bothost._state.host.pipeline.dispatch
    dispatch._context = replace(dispatch._context, hide=hidden.append)
    body = bot.as_body(task())
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    bot.send(body, {"X-Pyrus-Sig": sign(body, bot.bot.config.secrets[0]), "traceparent": trace}).answer()
    assert hidden == [bot.token]
    assert journal.row().trace == trace


def test_the_third_delivery_is_the_last_also_without_a_number(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.says = ValueError("no")
    bot = bothost.bot(handler_of(calls), ini={"error_text": "Sorry."})
    body = body_with_comments(bot, "one")
    for attempt in (1, 2):
        assert bot.deliver(body, attempt=None).status == 500
        bothost.clock.advance("61s")
        assert calls.runs[-1][0] == attempt
    last = bot.deliver(body, attempt=None)
    assert (last.status, last.json) == (200, {"text": "Sorry."})
    assert (journal.row().state, journal.row().failed) == ("failed", True)


@pytest.mark.parametrize("header", ["1/1", "3/3", "2/2", "7"])
def test_the_header_says_which_attempt_is_the_last(bothost: Harness, calls: Calls, header: str) -> None:
    calls.says = ValueError("no")
    bot = bothost.bot(handler_of(calls), ini={"error_text": "Sorry."})
    assert bot.deliver(task(), attempt=header).json == {"text": "Sorry."}


def test_an_unknown_second_attempt_is_told_that_it_may_have_run(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    assert bot.deliver(task(), attempt=2).json == {"text": "done"}
    assert calls.runs == [(2, "maybe")]


def test_a_later_first_attempt_of_a_comment_is_not_run(bothost: Harness, calls: Calls, journal: Journal) -> None:
    """An edit, or a deletion of a later comment, is not a new event."""
    bot = bothost.bot(handler_of(calls))
    body = body_with_comments(bot, "one")
    bot.deliver(body)
    bothost.clock.advance("11m")
    edited = bot.deliver(body, attempt=1)
    assert (edited.status, edited.json, edited.outcome) == (200, {}, "repeat")
    assert len(calls.runs) == 1
    assert len(journal.rows()) == 1
    assert bot.deliver(body, attempt=2).json == {"text": "done"}, "an attempt above 1 is a repeat at any time"
    assert len(bothost.pyrus.comments()) == 1


def test_ten_minutes_are_not_yet_later(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    body = body_with_comments(bot, "one")
    first = bot.deliver(body)
    bothost.clock.advance("10m")
    assert bot.deliver(body, attempt=1).body == first.body
    bothost.clock.advance("10m 1s")
    assert bot.deliver(body, attempt=1).json == {}


def test_the_key_is_still_known_after_a_restart(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    body = body_with_comments(bot, "one")
    first = bot.deliver(body)
    bothost.restart()
    assert bot.deliver(body, attempt=2).body == first.body
    bothost.clock.advance("1h")
    assert bot.deliver(body).outcome == "repeat"
    bothost.restart()
    assert bot.deliver(body).outcome == "repeat"
    assert len(calls.runs) == 1


def test_a_known_key_is_found_in_the_journal_when_memory_has_let_it_go(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    old = body_with_comments(bot, "old")
    bot.deliver(old)
    bothost.clock.advance("5m")
    assert len(bothost._state.host.pipeline.context.event_table) == 0
    bot.deliver(body_with_comments(bot, "new"))
    assert bot.deliver(old, attempt=2).json == {"text": "done"}
    assert len(calls.runs) == 2


def test_while_the_journal_is_away_memory_lets_nothing_go(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    body = body_with_comments(bot, "one")
    first = bot.deliver(body)
    journal.be(away=True)
    bothost.clock.advance("1h")
    assert bot.deliver(body, attempt=2).body == first.body
    assert len(calls.runs) == 1


def test_an_event_without_comments_is_known_by_its_digest(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task(comments=[])
    first = bot.deliver(of, attempt=None)
    changed = {**json.loads(bot.as_body(of)), "access_token": "newer", "bot_settings": "x", "api_url": "https://x"}
    bothost.clock.advance("61s")
    assert bot.deliver(changed, attempt=None).body == first.body
    assert len(calls.runs) == 1
    assert ":sha-" in journal.row().id


def test_a_first_attempt_with_a_known_digest_is_a_new_event(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task(comments=[])
    bot.deliver(of)
    bot.deliver(of)
    assert len(calls.runs) == 2
    bothost.clock.advance("11m")
    bot.deliver(of, attempt=None)
    keys = [row.id for row in journal.rows()]
    assert keys == [keys[0], f"{keys[0]}~2", f"{keys[0]}~3"]
    assert calls.events == keys
    bothost.clock.advance("30m")
    assert bot.deliver(of, attempt=2).outcome == "repeat"
    bothost.restart()
    bot.deliver(of)
    assert [row.id for row in journal.rows()][3:] == [f"{keys[0]}~4"]


def test_two_comments_close_together_are_two_runs_in_order(bothost: Harness, calls: Calls) -> None:
    calls.takes = 5
    bot = bothost.bot(handler_of(calls))
    of = task(comments=["one"])
    more = {**of, "comments": [*of["comments"], comment("two")]}
    first, second = bot.begin(of), bot.begin(more)
    assert first.answer().status == second.answer().status == 200
    assert len(calls.runs) == 2
    assert calls.most_at_once == 1
    assert calls.events == sorted(calls.events)


def test_bodies_that_are_no_event_are_refused_and_kept_nowhere(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    bot = bothost.bot(handler_of(calls))
    for body in (b"", b"[]", b"{", b'{"task": {}}'):
        answer = bot.deliver(body)
        assert (answer.status, answer.json, answer.outcome) == (400, {}, "malformed")
        with pytest.raises(BodyRefused) as refused:
            decode(body)
        (line,) = answer.log.splitlines()
        assert "task=0 attempt=1 outcome=malformed status=400" in line
        assert f"why={refused.value}" in line
    assert journal.rows() == []
    assert calls.runs == []
