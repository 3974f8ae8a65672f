"""on_error: what a failed run leads to, before and after the acknowledgement."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, handler_of

from bothost import Event, GiveUp
from bothost.errors import CallUnsent
from bothost.pipeline.decoding import LARGE_BYTES
from bothost.runners.local import LocalRunner
from bothost.testing import Harness, task

BAD = ValueError("no")


def test_a_failure_is_held_for_the_next_attempt_which_may_succeed(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = [BAD, "better"]
    bot = bothost.bot(handler_of(calls))
    of = task()
    first = bot.deliver(of)
    assert (first.status, first.outcome) == (500, "held")
    row = journal.row()
    assert (row.state, row.door, row.rerun, row.runs) == ("ready", "response", "error", 1)
    assert "ValueError" in row.error
    bothost.clock.advance("61s")
    assert bot.deliver(of, 2).json == {"text": "better"}
    assert calls.runs == [(1, ""), (2, "error")]
    assert (journal.row().state, journal.row().error) == ("answered", "")


@pytest.mark.parametrize(
    ("ini", "status", "said"),
    [
        ({}, 500, {}),
        ({"error_text": "Sorry."}, 200, {"text": "Sorry."}),
        ({"error_choice": "rejected"}, 200, {"approval_choice": "rejected"}),
    ],
)
def test_after_three_attempts_it_has_failed(
    bothost: Harness, calls: Calls, journal: Journal, ini: Any, status: int, said: Any
) -> None:
    calls.says = BAD
    bot = bothost.bot(handler_of(calls), ini=ini)
    of = task()
    for attempt in (1, 2):
        assert bot.deliver(of, attempt).status == 500
        bothost.clock.advance("61s")
    last = bot.deliver(of, 3)
    assert (last.status, last.json) == (status, said)
    row = journal.row()
    assert (row.state, row.failed, row.runs) == ("failed", True, 3)
    assert row.error.startswith("[bot:bot] ")
    bothost.clock.advance("1m")
    again = bot.deliver(of, 3)
    assert (again.status, again.json, again.outcome) == (status, said, "failed"), "what the last one got"
    assert again.headers["X-Bothost"] == "repeat"
    assert len(calls.runs) == 3


def test_three_runs_in_all_however_many_attempts_there_are(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.says = BAD
    bot = bothost.bot(handler_of(calls), ini={"error_text": "Sorry."})
    of = task()
    answers = []
    for attempt in range(1, 5):
        answers.append(bot.deliver(of, f"{attempt}/9").status)
        bothost.clock.advance("0.5s")  # not a second apart, or the third seen were the last
    assert answers == [500, 500, 200, 200]
    assert len(calls.runs) == 3
    assert journal.row().state == "failed"


def test_an_acknowledged_failure_runs_again_after_one_and_two_minutes_then_the_text_is_posted(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes, calls.says = 55, BAD
    bot = bothost.bot(handler_of(calls), ini={"error_text": "Sorry."})
    bot.deliver(task())
    bothost.clock.advance("5s")
    row = journal.row()
    assert (row.state, row.door, row.rerun) == ("ready", "api", "error")
    bothost.clock.advance("59s")
    assert len(calls.runs) == 1
    bothost.clock.advance("2s")
    assert len(calls.runs) == 2
    bothost.clock.advance("54s")
    bothost.clock.advance("119s")
    assert len(calls.runs) == 2
    bothost.pyrus.assert_no_comment()
    bothost.clock.advance("2s")
    assert calls.runs == [(1, ""), (1, "error"), (1, "error")]
    bothost.clock.advance("1m")
    assert bothost.assert_one_comment().text == "Sorry."
    row = journal.row()
    assert (row.state, row.failed, row.posted) == ("failed", True, bothost.pyrus.written[0].comment_id)
    assert "ValueError" in row.error
    bothost.clock.advance("1h")
    assert len(calls.runs) == 3


def test_runs_before_and_after_the_acknowledgement_count_together(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.script = [BAD, (55, BAD), BAD]
    bot = bothost.bot(handler_of(calls))
    of = task()
    assert bot.deliver(of).status == 500
    bothost.clock.advance("61s")
    assert bot.deliver(of, 2).outcome == "late"
    bothost.clock.advance("64s")
    assert len(calls.runs) == 2
    bothost.clock.advance("2s")
    assert len(calls.runs) == 3
    assert journal.row().state == "failed"
    bothost.clock.advance("1h")
    assert len(calls.runs) == 3
    bothost.pyrus.assert_no_comment()


def test_an_acknowledged_failure_that_succeeds_later_is_posted(bothost: Harness, calls: Calls) -> None:
    calls.script = [(55, BAD), (1, "better")]
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.clock.advance("3m")
    assert bothost.assert_one_comment().text == "better"


@pytest.mark.parametrize(("on_error", "status", "said"), [("ignore", 200, {}), ("reply", 200, {"text": "Sorry."})])
def test_ignore_and_reply_end_it_at_the_first_failure(
    bothost: Harness, calls: Calls, journal: Journal, on_error: str, status: int, said: Any
) -> None:
    calls.says = BAD
    bot = bothost.bot(handler_of(calls), ini={"on_error": on_error, "error_text": "Sorry."})
    of = task()
    first = bot.deliver(of)
    assert (first.status, first.json) == (status, said)
    assert (journal.row().state, journal.row().failed) == ("failed", True)
    bothost.clock.advance("61s")
    assert bot.deliver(of, 2).body == first.body
    assert len(calls.runs) == 1


@pytest.mark.parametrize(("on_error", "posted"), [("ignore", []), ("reply", ["Sorry."])])
def test_ignore_and_reply_after_the_acknowledgement(
    bothost: Harness, calls: Calls, journal: Journal, on_error: str, posted: list[str]
) -> None:
    calls.takes, calls.says = 55, BAD
    bot = bothost.bot(handler_of(calls), ini={"on_error": on_error, "error_text": "Sorry."})
    bot.deliver(task())
    bothost.clock.advance("10m")
    assert [wrote.text for wrote in bothost.pyrus.comments()] == posted
    assert (journal.row().state, journal.row().failed) == ("failed", True)
    assert len(calls.runs) == 1


@pytest.mark.parametrize("said", [GiveUp("never"), {"approval_choice": "perhaps"}, 5])
def test_what_would_fail_again_is_not_run_again(bothost: Harness, calls: Calls, journal: Journal, said: Any) -> None:
    calls.says = said
    bot = bothost.bot(handler_of(calls))
    of = task()
    for attempt in (1, 2, 3):
        assert bot.deliver(of, attempt).status == 500
        bothost.clock.advance("61s")
    assert len(calls.runs) == 1
    assert journal.row().state == "failed"


def test_time_out_is_a_failure_that_names_the_line(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.script = [(100, "never"), "in time"]
    bot = bothost.bot(handler_of(calls), ini={"timeout": "30s"})
    of = task()
    pending = bot.begin(of)
    bothost.clock.advance("30s")
    assert pending.answer().status == 500
    assert "did not end within 30 s, it stood at" in journal.row().error
    bothost.clock.advance("31s")
    assert bot.deliver(of, 2).json == {"text": "in time"}


@pytest.mark.parametrize("mood", ["away", "full", "unheard"])
@pytest.mark.parametrize("plain", [False, True])
def test_a_call_whose_result_the_journal_cannot_take_is_not_made_again(
    bothost: Harness, journal: Journal, mood: str, plain: bool
) -> None:
    charges = []

    def charge() -> int:
        charges.append(1)
        journal.be(**{mood: True})
        return 7

    async def charging(event: Event) -> str:
        return str(await event.once("charge", charge))

    def charging_plain(event: Event) -> str:
        return str(event.once("charge", charge).wait())

    bot = bothost.bot(charging_plain if plain else charging)
    pending = bot.begin(task())
    bothost.clock.advance("20s")
    journal.be()
    bothost.clock.advance("1s")
    assert (pending.answer().json, charges) == ({"text": "7"}, [1])


def test_a_held_event_that_stays_quiet_has_failed_with_its_error(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.says = BAD
    bot = bothost.bot(handler_of(calls), ini={"error_text": "Sorry."})
    of = task()
    bot.deliver(of)
    bothost.clock.advance("241s")
    row = journal.row()
    assert (row.state, row.failed) == ("failed", True)
    assert "ValueError" in row.error
    bothost.pyrus.assert_no_comment()
    late = bot.deliver(of, 3)
    assert (late.status, len(calls.runs)) == (500, 1), "what the last one got"


class Stubborn:
    """A plain handler that runs past its time, then calls Pyrus and returns."""

    def __init__(self) -> None:
        self.runs = 0
        self.refused: list[str] = []
        self.ended = threading.Event()

    def __call__(self, event: Event) -> str:
        self.runs += 1
        if self.runs > 1:
            return "second"
        time.sleep(50)
        try:
            event.pyrus.comment(event.task_id, "on my own").wait()
        except CallUnsent as error:
            self.refused.append(str(error))
        self.ended.set()
        return "too late"


def stubborn_bot(bothost: Harness, stubborn: Stubborn, **ini: Any) -> Any:
    def handler(event: Event) -> str:
        return stubborn(event)

    return bothost.bot(handler, ini={"timeout": "20s", "concurrency": 1, **ini})


def test_a_thread_past_its_time_is_never_sent_nor_run_again_beside_itself(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    stubborn = Stubborn()
    bot = stubborn_bot(bothost, stubborn)
    of = task()
    pending = bot.begin(of)
    bothost.clock.advance("20s")
    assert pending.answer().status == 500
    assert journal.row().state == "failed"
    other = bot.begin(task())
    bothost.clock.advance("25s")
    assert stubborn.runs == 1, "its permit comes back when the thread ends"
    assert not other.answered
    assert bot.deliver(of, 2).status == 500
    bothost.clock.advance("10s")
    assert stubborn.refused == ["the time of this run is over"]
    assert journal.rows()[0].error.endswith('it returned after its time, and this was never sent: {"text":"too late"}')
    assert other.answer().json == {"text": "second"}
    assert [wrote.text for wrote in bothost.pyrus.comments()] == ["second"]


def test_a_retry_by_hand_waits_for_the_thread_of_the_run_before(bothost: Harness, journal: Journal) -> None:
    stubborn = Stubborn()
    bot = stubborn_bot(bothost, stubborn, concurrency=2, on_error="ignore")
    bot.begin(task())
    bothost.clock.advance("21s")
    journal.ask(journal.journal.retry(journal.row().id))
    bothost.clock.advance("25s")
    assert stubborn.runs == 1
    bothost.clock.advance("30s")
    assert stubborn.runs == 2
    assert bothost.assert_one_comment().text == "second"


def test_a_failure_is_told_in_the_log_without_the_token(bothost: Harness, journal: Journal) -> None:
    async def handler(event: Event) -> None:
        await asyncio.sleep(0)
        raise ValueError(f"{event.body!r}")

    bot = bothost.bot(handler)
    answer = bot.deliver(task())
    assert "ValueError" in answer.log
    assert bot.token not in answer.log
    assert bot.token not in journal.row().error
    assert json.loads(answer.body) == {}


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError(), OSError(11, "no process")])
def test_a_run_whose_machinery_fails_is_a_failed_run(
    bothost: Harness, journal: Journal, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """No thread and no process can be started: the event is held like any other that failed, and runs again."""
    bot = bothost.bot(lambda event: "done")
    of = task()

    async def refuse(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LocalRunner, "run", refuse)
        assert bot.deliver(of).outcome == "held"
    row = journal.row()
    assert (row.state, row.runs, bot.bot.busy) == ("ready", 1, 0)
    assert type(error).__name__ in row.error
    bothost.clock.advance("61s")
    assert bot.deliver(of, 2).json == {"text": "done"}


def test_a_large_body_is_answered_where_no_thread_can_be_started(
    bothost: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(event: Event) -> str:
        return f"{len(event.task.text)} characters"

    bot = bothost.bot(handle)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert bot.deliver(task(text="x" * LARGE_BYTES)).json == {"text": f"{LARGE_BYTES} characters"}
    assert "a large body is decoded on the loop: can't start new thread" in caplog.text
