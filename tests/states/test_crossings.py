"""What crosses: two deliveries in one moment, a journal that goes away between two steps, a bot that leaves while it is waited for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, Processes, handler_of

from bothost import Event, GiveUp
from bothost.bots.registry import BotState, Registry
from bothost.pipeline.dispatcher import WaitingLimits
from bothost.pyrus.signature import sign
from bothost.testing import Harness, comment, me, task
from bothost.testing.memory_http import MemoryConnection, RequestHead


def at_once(bot: Any, of: Any, attempts: tuple[int, ...]) -> list[tuple[int, Any, str]]:
    """Deliveries of one event that all arrive before the loop turns: (status, body, word) of each."""
    body = bot.as_body(of)
    host = bot.state.host

    async def start() -> list[MemoryConnection]:
        wires = []
        for attempt in attempts:
            wire = MemoryConnection()
            headers = {"X-Pyrus-Sig": sign(body, bot.bot.config.secrets[0]), "X-Pyrus-Retry": f"{attempt}/3"}
            wire.post(host.front, RequestHead(bot.bot.config.path, headers), body)
            wires.append(wire)
        for wire in wires:
            await wire.done
        return wires

    ended = [wire.done.result() for wire in bot.state.turn(start())]
    return [(one.status, json.loads(one.body), one.word) for one in ended]


def leave(processes: Processes, number: int) -> None:
    """The bot's section is removed from bots.ini, as this process reads it."""
    processes.hosts[number].service.registry = Registry([])


def test_two_deliveries_of_a_forgotten_event_are_answered_from_the_journal(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task()
    first = bot.deliver(of)
    bothost.restart()
    bothost.clock.advance("20m")
    again = at_once(bot, of, (2, 2))
    assert again == [(200, first.json, "repeat")] * 2
    assert len(calls.runs) == 1


def test_two_deliveries_after_an_own_comment_are_one_run(bothost: Harness, calls: Calls) -> None:
    """The bot waits after a comment of its own: both ask the journal whether that is a new step."""
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    waits = [[{"person": me(), "approval_choice": "waiting"}]]
    of = task(321, approvals=waits, current_step=1, comments=[comment("x", author=me())])
    answers = at_once(bot, of, (1, 1))
    assert [(status, body) for status, body, _ in answers] == [(200, {"text": "done"})] * 2
    assert len(calls.runs) == 2


def test_without_a_journal_an_own_comment_is_run_rather_than_lost(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    bot = bothost.bot(handler_of(calls))
    waits = [[{"person": me(), "approval_choice": "waiting"}]]
    of = task(321, approvals=waits, current_step=1, comments=[comment("x", author=me())])
    journal.be(away=True)
    assert bot.deliver(of).outcome == "replied"
    journal.be()
    assert len(calls.runs) == 1


def test_a_delivery_with_the_old_secret_is_taken_and_told(bothost: Harness, calls: Calls) -> None:
    old = "the secret of last year, still in use"
    bot = bothost.bot(handler_of(calls), ini={"old_secret": old})
    body = bot.as_body(task())
    answer = bot.send(body, {"X-Pyrus-Sig": sign(body, old.encode()), "X-Pyrus-Retry": "1/3"}).answer()
    assert answer.json == {"text": "done"}
    assert "Pyrus still signs with old_secret" in bot.log()
    assert bot.bot.old_secret_at is not None


def test_a_later_first_attempt_of_a_digest_that_still_runs_is_no_new_event(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 900
    bot = bothost.bot(handler_of(calls), ini={"timeout": "20m"})
    of = task(comments=[])
    assert bot.deliver(of).outcome == "late"
    bothost.clock.advance("11m")
    assert bot.deliver(of, 1).outcome == "acknowledged"
    assert len(calls.runs) == 1
    assert len(journal.rows()) == 1


def test_a_later_first_attempt_of_a_digest_that_another_process_runs_is_no_new_event(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 900
    processes = Processes(bothost, handler_of(calls), {"timeout": "20m"})
    of = task(comments=[])
    assert processes.at(0).deliver(of).outcome == "late"
    bothost.clock.advance("11m")
    assert processes.at(1).deliver(of, 1).outcome == "acknowledged"
    assert len(journal.rows()) == len(calls.runs) == 1


def test_a_later_first_attempt_of_a_digest_that_is_parked_is_no_new_event(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.bot.state = BotState("paused", "for a test")
    of = task(comments=[])
    assert bot.deliver(of, 3).outcome == "parked"
    bothost.clock.advance("11m")
    assert bot.deliver(of, 1).outcome == "acknowledged"
    assert len(journal.rows()) == 1
    bot.bot.state = BotState("active")
    bothost.clock.advance("1m")
    assert len(calls.runs) == 1


def test_an_attempt_at_what_was_cancelled_while_it_was_held_says_nothing(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.script = [ValueError("no")]
    of = task()
    assert processes.at(0).deliver(of).status == 500
    journal.ask(journal.journal.cancel(journal.row().id))
    for attempt in (2, 3):
        bothost.clock.advance("61s")
        answer = processes.at(attempt % 2).deliver(of, attempt)
        assert (answer.status, answer.json, answer.outcome) == (200, {}, "cancelled")
    assert len(calls.runs) == 1


def test_a_handler_that_waits_for_nothing_is_answered_before_anything_else_happens(bothost: Harness) -> None:
    async def handler(event: Event) -> str:
        return "at once"

    bot = bothost.bot(handler)
    body = bot.as_body(task())
    host = bot.state.host

    async def start() -> bool:
        wire = MemoryConnection()
        wire.post(
            host.front,
            RequestHead(bot.bot.config.path, {"X-Pyrus-Sig": sign(body, bot.bot.config.secrets[0])}),
            body,
        )
        return wire.done.done()

    assert bot.state.turn(start())


def test_an_answer_nobody_heard_is_given_only_where_the_journal_takes_that(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    """Another process could be about to post it, and nobody would know."""
    calls.takes = 20
    of = processes.abandoned("30s")
    assert (journal.row().state, journal.row().delivered) == ("answered", False)
    bothost.clock.advance("31s")
    journal.be(away=True)
    assert processes.at(0).deliver(of, 2).outcome == "unrecorded"
    bothost.clock.advance("61s")
    journal.be()
    assert processes.at(0).deliver(of, 3).json == {"text": "done"}
    assert journal.row().delivered
    bothost.clock.advance("10m")
    bothost.assert_one_comment()


def test_what_a_repeat_counts_may_be_lost_with_the_journal(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.says = GiveUp("no")
    of = task()
    assert processes.at(0).deliver(of).status == 500
    journal.be(away=True)
    assert processes.at(0).deliver(of, 2).status == 500
    bothost.clock.advance("1s")
    key = f"bot:{of['id']}:comment:"
    told = [line for line in processes.bot.log().splitlines() if "what a delivery changed in" in line]
    assert len(told) == 1
    assert key in told[0]


def test_an_attempt_goes_by_memory_where_the_journal_lags_behind(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    """The disk is full: the journal still has the run, and not yet that it failed."""
    calls.script = [(10, ValueError("no")), "better"]
    bot = bothost.bot(handler_of(calls))
    of = task()
    first = bot.begin(of)
    journal.be(full=True)
    assert first.answer().outcome == "held"
    assert journal.row().state == "running"
    bothost.clock.advance("20s")
    second = bot.begin(of, 2)
    assert second.answered
    assert second.answer().json == {"text": "better"}
    bothost.clock.advance("40s")
    told = "deliveries are answered as always; those that would be acknowledged before their reply get 503"
    assert f"the journal is away: the disk is full; {told}" in bot.log()
    journal.be()
    assert (journal.row().state, journal.row().runs) == ("answered", 2)


def test_what_ran_without_the_journal_is_ahead_of_it(
    bothost: Harness, calls: Calls, processes: Processes, journal: Journal
) -> None:
    calls.script = [ValueError("no"), "in memory"]
    of = task()
    assert processes.at(0).deliver(of, 1).status == 500
    assert journal.row().fence == 1
    bothost.clock.advance("61s")
    journal.be(away=True)
    last = processes.at(0).deliver(of, 3)
    assert last.json == {"text": "in memory"}
    journal.be()
    assert processes.at(0).deliver(of, 3).body == last.body, "the journal still has the run before"
    bothost.clock.advance("1m")
    assert (journal.row().fence, journal.row().answer) == (2, last.body)
    assert len(calls.runs) == 2


def test_what_falls_due_before_its_owner_has_heard_of_its_own_record_runs_a_second_later(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    """The record of a failed late run lands, and its answer does not come until the event is due again and claimed."""
    calls.script = [(30, ValueError("no")), "better"]
    bot = bothost.bot(handler_of(calls), ini={"answer_within": "25s"})
    of = task()
    assert bot.deliver(of).outcome == "late"
    journal.be(unheard=True)
    bothost.clock.advance("66s")
    journal.be()
    assert (journal.row().state, journal.row().fence) == ("ready", 1)
    bothost.clock.set(bothost.clock.now())
    assert (journal.row().state, journal.row().fence) == ("ready", 2)
    bothost.clock.advance("10s")
    assert calls.runs == [(1, ""), (1, "error")]
    assert bothost.assert_one_comment().text == "better"
    assert journal.row().state == "answered"


def test_a_delivery_that_waits_for_another_process_is_sent_away_when_its_bot_leaves(
    bothost: Harness, calls: Calls, processes: Processes
) -> None:
    calls.takes = 300
    of = processes.abandoned("30s")
    second = processes.at(1).begin(of, 2)
    bothost.clock.advance("2s")
    leave(processes, 1)
    processes.die(0)
    bothost.clock.advance("10s")
    answer = second.answer()
    assert (answer.status, answer.outcome) == (503, "unavailable")
    assert len(calls.runs) == 1


@pytest.mark.parametrize("stored", [False, True])
def test_what_waits_for_a_bot_that_leaves_is_sent_away_or_stays_ready(
    bothost: Harness, calls: Calls, journal: Journal, stored: bool
) -> None:
    calls.takes = 40
    bot = bothost.bot(handler_of(calls), ini={"concurrency": 1, "answer_within": "30s"})
    bot.begin(task())
    of = task()
    waiting = bot.begin(of)
    if stored:
        bothost.clock.advance("31s")
        assert waiting.answer().outcome == "parked"
    host = bot.state.host
    registry = host.service.registry
    host.service.registry = Registry([])
    bothost.clock.advance("45s")
    if not stored:
        assert waiting.answer().outcome in ("unavailable", "parked")
    assert len(calls.runs) == 1
    host.service.registry = registry
    bothost.clock.advance("5m")
    if stored:
        assert [entry.state for entry in journal.rows()] == ["answered", "answered"]
        assert len(calls.runs) == 2


@pytest.mark.parametrize("said", ["a\x00b", "half a character: \ud83d"])
def test_a_failure_may_quote_any_character(bothost: Harness, calls: Calls, journal: Journal, said: str) -> None:
    calls.script = [ValueError(said)]
    bot = bothost.bot(handler_of(calls))
    of = task()
    assert bot.deliver(of).status == 500
    assert "ValueError" in journal.row().error
    bothost.clock.advance("61s")
    assert bot.deliver(of, 2).json == {"text": "done"}
    assert journal.row().state == "answered"


def test_a_kind_of_event_that_no_text_can_hold_is_known_by_its_hash(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    bot = bothost.bot(handler_of(calls))
    body = json.loads(bot.as_body(task())) | {"event": "a\x00b"}
    assert bot.deliver(body).json == {"text": "done"}
    assert bot.deliver(body, 2).outcome == "repeat"
    assert "\x00" not in journal.row().id


def test_whoever_claims_what_was_parked_keeps_it_for_its_timeout_and_a_minute(
    processes: Processes, journal: Journal
) -> None:
    bot = processes.at(0)
    bot.bot.state = BotState("paused", "for a test")
    assert bot.deliver(task(), 3).outcome == "parked"
    assert journal.row().limit_s == 960


def test_what_is_claimed_while_its_parking_is_being_told_runs_once(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    """The queue is full, so each event is parked at once; the poller may claim it before the acknowledgement is through."""
    calls.says = None
    bot = bothost.bot(handler_of(calls))
    host = bot.state.host
    host.pipeline.dispatch._bounds = WaitingLimits(bot_bytes=0)
    bodies = [bot.as_body(task()) for _ in range(60)]

    async def crowd() -> list[MemoryConnection]:
        wires, looks = [], []
        for body in bodies:
            wire = MemoryConnection()
            headers = {"X-Pyrus-Sig": sign(body, bot.bot.config.secrets[0]), "X-Pyrus-Retry": "1/3"}
            wire.post(host.front, RequestHead(bot.bot.config.path, headers), body)
            wires.append(wire)
            for _ in range(len(wires) % 8):
                await asyncio.sleep(0)
            looks.append(asyncio.ensure_future(host.pipeline.poller._pump(bot.bot)))
        await asyncio.gather(*looks)
        for wire in wires:
            await wire.done
        return wires

    words = [wire.done.result().word for wire in bot.state.turn(crowd())]
    bothost.clock.advance("5m")
    assert set(words) == {"parked"}
    assert len(calls.runs) == len(bodies)
    assert {row.state for row in journal.rows()} == {"answered"}
