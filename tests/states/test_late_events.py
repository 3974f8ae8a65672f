"""One door: what is acknowledged without its reply gets it by the API, everything else by the response."""

from __future__ import annotations

import asyncio

import pytest
from tests.states.conftest import Calls, Journal, handler_of

from bothost import Event, Reply
from bothost.bots.registry import BotState
from bothost.pipeline import reply_poster
from bothost.pipeline.late_replies import UNCLEAR_TRIES
from bothost.testing import Harness, comment, task
from bothost.testing.fake_pyrus.faults import ApiFault, gateway, lose_answer


def test_at_answer_within_the_door_becomes_the_api(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    of = task()
    pending = bot.begin(of)
    bothost.clock.advance("49s")
    assert not pending.answered
    assert (journal.row().state, journal.row().door) == ("running", "response")
    bothost.clock.advance("1s")
    assert (pending.answer().status, pending.answer().json, pending.answer().outcome) == (200, {}, "late")
    assert (journal.row().state, journal.row().door) == ("running", "api")
    for attempt in (2, 3):
        assert (bot.deliver(of, attempt).json, bot.deliver(of, attempt).outcome) == ({}, "acknowledged")
    bothost.clock.advance("20s")
    assert bothost.assert_one_comment().door == "api"
    row = journal.row()
    assert (row.state, row.door, row.posted) == ("answered", "api", bothost.pyrus.written[0].comment_id)
    assert bot.deliver(of, 2).json == {}, "answered by the API: never the bytes"
    assert calls.runs == [(1, "")]


def test_with_late_retry_only_the_last_attempt_is_acknowledged(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 200
    bot = bothost.bot(handler_of(calls), ini={"late": "retry", "timeout": "5m"})
    of = task()
    assert bot.deliver(of, 1).status == 503
    bothost.clock.advance("11s")
    assert bot.deliver(of, 2).status == 503
    bothost.clock.advance("11s")
    assert journal.row().door == "response"
    last = bot.deliver(of, 3)
    assert (last.status, last.json, last.outcome) == (200, {}, "late")
    bothost.clock.advance("1m")
    assert bothost.assert_one_comment().door == "api"
    assert calls.runs == [(1, "")]


def test_a_late_run_that_says_nothing_writes_nothing(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes, calls.says = 70, None
    bot = bothost.bot(handler_of(calls))
    assert bot.deliver(task()).outcome == "late"
    bothost.clock.advance("1m")
    bothost.pyrus.assert_no_comment()
    assert bothost.pyrus.titles() == []
    assert journal.row().state == "answered"


def test_a_router_that_cuts_at_30_seconds_changes_nothing(bothost: Harness, calls: Calls, journal: Journal) -> None:
    """The sender is gone before `answer_within`: it is not acknowledged, its next attempt joins."""
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    of = task()
    first = bot.begin(of)
    bothost.clock.advance("30s")
    first.hang_up()
    bothost.clock.advance("31s")
    assert (journal.row().state, journal.row().door) == ("running", "response")
    second = bot.begin(of, 2)
    bothost.clock.advance("9s")
    assert second.answer().json == {"text": "done"}
    bothost.clock.advance("61s")
    assert bot.deliver(of, 3).json == {"text": "done"}
    assert calls.runs == [(1, "")]
    bothost.assert_one_comment()


@pytest.mark.parametrize("third_at", [122, 183])
@pytest.mark.parametrize("lost", [(), (1,), (1, 2), (1, 2, 3)])
def test_seventy_seconds_through_a_router_that_cuts_at_thirty(
    bothost: Harness, calls: Calls, lost: tuple[int, ...], third_at: int
) -> None:
    """Attempts at 0, 61 and 122 s, the acknowledgements of `lost` not read: one run, one comment."""
    calls.takes = 70
    bot = bothost.bot(handler_of(calls), ini={"answer_within": "25s"})
    of = task()
    now = 0
    for attempt, at in ((1, 0), (2, 61), (3, third_at)):
        bothost.clock.advance(at - now)
        pending = bot.begin(of, attempt, hang_up=attempt in lost)
        bothost.clock.advance(30)
        now = at + 30
        if pending.answered:
            break
        pending.hang_up()
    bothost.clock.advance("10m")
    assert calls.runs == [(1, "")]
    bothost.assert_one_comment()


def test_an_answer_that_reached_nobody_is_for_the_next_attempt(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 5
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.begin(of, hang_up=True)
    bothost.clock.advance("61s")
    row = journal.row()
    assert (row.state, row.door, row.delivered) == ("answered", "response", False)
    assert bot.deliver(of, 2).json == {"text": "done"}
    assert journal.row().delivered
    bothost.clock.advance("10m")
    assert bothost.assert_one_comment().door == "response"


def test_an_answer_that_reached_nobody_is_posted_when_it_is_quiet(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 5
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.begin(of, hang_up=True)
    bothost.clock.advance("239s")
    bothost.pyrus.assert_no_comment()
    bothost.clock.advance("2s")
    assert bothost.assert_one_comment().door == "api"
    assert journal.row().door == "api"
    assert bothost.pyrus.titles() == [f"GET tasks/{of['id']}", f"POST tasks/{of['id']}/comments"], "after a look"
    assert bot.deliver(of, 3).json == {}


def test_quiet_counts_from_the_last_delivery(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.begin(of, hang_up=True)
    bothost.clock.advance("200s")
    bot.begin(of, 2, hang_up=True)
    bothost.clock.advance("200s")
    bothost.pyrus.assert_no_comment()
    bothost.clock.advance("41s")
    bothost.assert_one_comment()


def test_the_look_finds_what_pyrus_has_read_after_all(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.begin(of, hang_up=True)
    bothost.clock.advance("61s")
    said = bothost.pyrus.say(of["id"], "done", bot.person)
    bothost.clock.advance("10m")
    bothost.pyrus.assert_no_comment()
    assert (journal.row().state, journal.row().posted) == ("answered", said["id"])


def test_what_the_journal_cannot_take_is_not_acknowledged(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    of = task()
    pending = bot.begin(of)
    bothost.clock.advance("10s")
    journal.be(away=True)
    bothost.clock.advance("40s")
    assert (pending.answer().status, pending.answer().outcome) == (503, "unrecorded")
    bothost.clock.advance("11s")
    second = bot.deliver(of, 2)
    assert second.json == {"text": "done"}, "the run went on, and its reply needs no record"
    journal.be()
    bothost.clock.advance("10m")
    assert calls.runs == [(1, "")]
    assert bothost.assert_one_comment().door == "response"
    assert (journal.row().state, journal.row().door) == ("answered", "response")


def test_a_commit_that_lands_after_all_makes_the_event_late_for_the_next_attempt(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    calls.takes = 90
    bot = bothost.bot(handler_of(calls))
    of = task()
    pending = bot.begin(of)
    bothost.clock.advance("49s")
    journal.be(slow_s=8)
    bothost.clock.advance("5s")
    assert not pending.answered
    bothost.clock.advance("1s")
    assert pending.answer().status == 503, "the commit before an acknowledgement has 5 s"
    bothost.clock.advance("6s")
    journal.be()
    assert bot.deliver(of, 2).outcome == "acknowledged"
    bothost.clock.advance("1m")
    assert calls.runs == [(1, "")]
    assert bothost.assert_one_comment().door == "api"


def test_a_reply_that_comes_while_its_acknowledgement_is_committed_waits_for_that(
    bothost: Harness, calls: Calls, journal: Journal
) -> None:
    """Or a crash right after would leave an acknowledged event whose reply has been read."""
    calls.takes = 51
    bot = bothost.bot(handler_of(calls))
    pending = bot.begin(task())
    bothost.clock.advance("49s")
    journal.be(slow_s=3)
    bothost.clock.advance("30s")
    assert pending.answer().json == {}
    journal.be()
    bothost.clock.advance("1m")
    assert bothost.assert_one_comment().door == "api"
    assert journal.row().door == "api"


def test_four_hundred_seconds_over_a_handler_of_three_hundred(bothost: Harness, calls: Calls) -> None:
    calls.takes = 300
    bot = bothost.bot(handler_of(calls), ini={"timeout": "6m"})
    of = task()
    assert bot.deliver(of, 1).outcome == "late"
    bothost.clock.advance("350s")
    assert calls.runs == [(1, "")]
    bothost.assert_one_comment()
    assert calls.most_at_once == 1


def test_a_late_reply_takes_the_newest_token(bothost: Harness, calls: Calls) -> None:
    calls.takes = 130
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.deliver(of)
    newest = {
        "access_token": "newest",
        "task_id": of["id"],
        "task": of,
        "event": "comment",
        "user_id": bot.person["id"],
    }
    bothost.clock.advance("11s")
    assert bot.deliver(newest, 2).outcome == "acknowledged"
    bothost.pyrus.revoke(bot.token)
    bothost.clock.advance("2m")
    bothost.assert_one_comment()
    assert bothost.pyrus.titles("auth") == []
    assert {asked.token for asked in bothost.pyrus.requests} == {"newest"}


def test_after_a_restart_the_late_reply_logs_in(bothost: Harness, calls: Calls) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("*", gateway(), times=1)
    bothost.clock.advance("21s")
    bothost.pyrus.assert_no_comment()
    bothost.restart()
    bothost.clock.advance("1m")
    bothost.assert_one_comment()
    assert bothost.pyrus.titles("auth") == ["POST auth"]
    assert calls.runs == [(1, "")]


def test_without_a_login_the_reply_is_kept_and_retry_posts_it(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls), ini={"login": ""})
    of = task()
    bot.deliver(of)
    bothost.pyrus.fail("*", gateway(), times=1)
    bothost.clock.advance("21s")
    bothost.restart()
    bothost.clock.advance("1m")
    row = journal.row()
    assert (row.state, row.error.split(":")[0], row.answer) == ("failed", "no login", b'{"text":"done"}')
    host = bothost._state.host
    host.resources.client.learn("bot", bot.person["email"])
    journal.ask(journal.journal.retry(row.id))
    bothost.clock.advance("1m")
    assert bothost.assert_one_comment().text == "done"
    assert calls.runs == [(1, "")]


def test_an_approval_without_steps_gets_the_step_at_which_the_bot_was_asked(bothost: Harness) -> None:
    async def approve(event: Event) -> Reply:
        await asyncio.sleep(70)
        return Reply.approve("fine")

    bot = bothost.bot(approve)
    bot.deliver(task(321, step=2))
    bothost.clock.advance("1m")
    posted = next(asked.json() for asked in bothost.pyrus.requests if asked.method == "POST")
    assert posted == {"text": "fine", "approval_choice": "approved", "approval_steps": [2]}


def test_a_late_approval_never_lands_on_a_later_step(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes, calls.says = 70, Reply.approve("fine")
    bot = bothost.bot(handler_of(calls))
    of = task(321, step=2)
    bot.deliver(of)
    bothost.pyrus.move_step(of["id"], 3)
    bothost.clock.advance("1m")
    bothost.pyrus.assert_no_comment()
    row = journal.row()
    assert row.state == "failed"
    assert row.error == (
        "the step has moved on: the bot was asked at step 2, the task is at step 3; the reply (approved) is kept"
    )
    assert row.answer is not None


def test_a_lost_answer_to_a_post_is_found_by_the_look(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*", lose_answer(), times=1)
    bothost.clock.advance("10m")
    assert bothost.assert_one_comment().comment_id == journal.row().posted
    assert journal.row().error == "", "what went wrong on the way is over"


def test_a_lost_answer_is_found_also_where_the_task_was_known_before(bothost: Harness, calls: Calls) -> None:
    """What the bot writes is newer than the comment that was delivered, however high that one's id is."""
    bot = bothost.bot(handler_of(calls))
    of = task()
    bot.deliver(of)
    calls.takes = 70
    bot.deliver({**of, "comments": [*of["comments"], comment("two", id=99_000_000)]})
    bothost.pyrus.fail("POST tasks/*", lose_answer())
    bothost.clock.advance("5m")
    assert [wrote.door for wrote in bothost.pyrus.comments()] == ["response", "api"]


def test_an_unclear_post_is_tried_again_for_a_day(bothost: Harness, calls: Calls, journal: Journal) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*", gateway(503), times=1_000_000)
    bothost.clock.advance("20s")
    bothost.clock.advance("10m")
    assert len(bothost.pyrus.titles("POST tasks")) == 7, "at once, after 5, 10, 20, 40, 80, 160 s; after 300 s to come"
    set_tries = f"update delivery set tries = {UNCLEAR_TRIES - 2}"
    journal.ask(journal.journal._ask(lambda connection: connection.execute(set_tries)))
    bothost.clock.advance("5m")
    assert (journal.row().state, journal.row().door) == ("ready", "api")
    bothost.clock.advance("6m")
    row = journal.row()
    assert row.state == "failed"
    assert row.answer == b'{"text":"done"}'
    bothost.pyrus.heal()
    journal.ask(journal.journal.retry(row.id))
    bothost.clock.advance("1m")
    bothost.assert_one_comment()
    assert journal.row().tries == row.tries + 1


def test_a_late_reply_that_cannot_be_posted_yet_is_said_once_and_then_that_it_is_posted(
    bothost: Harness, calls: Calls
) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*", gateway(503), times=3)
    bothost.clock.advance("10m")
    bothost.assert_one_comment()
    said = bot.log()
    assert said.count("late reply not posted yet, tried again: POST tasks/") == 1
    assert said.index("not posted yet") < said.index("late reply posted as comment")


@pytest.mark.parametrize("body", [b'{"task":{"id":1}}', b"{}", b'{"task":{"id":1,"comments":[]}}'])
def test_a_post_that_is_answered_without_its_comment_says_that_the_id_is_unknown(
    bothost: Harness, calls: Calls, journal: Journal, body: bytes
) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.pyrus.fail("POST tasks/*/comments", ApiFault(applied=True, status=200, body=body))
    bothost.clock.advance("10m")
    bothost.assert_one_comment()
    assert (journal.row().state, journal.row().posted) == ("answered", 0)
    said = bot.log()
    assert "late reply posted; Pyrus did not show the comment's id" in said
    assert "posted as comment" not in said


def test_posts_of_one_task_go_in_the_order_of_its_events(bothost: Harness, calls: Calls) -> None:
    calls.script = [(70, "first"), (10, "second")]
    bot = bothost.bot(handler_of(calls), ini={"order": "none"})
    of = task()
    bot.deliver(of)
    bothost.pyrus.fail("POST tasks/*", gateway(503), times=2)
    bothost.clock.advance("12s")
    more = {**of, "comments": [*of["comments"], comment("two")]}
    bot.begin(more, hang_up=True)
    bothost.clock.advance("20m")
    assert [wrote.text for wrote in bothost.pyrus.comments()] == ["first", "second"]


def expect_faults(bothost: Harness, count: int) -> None:
    """The harness fails a test in which bothost failed itself; these are meant."""
    book = bothost._state.book
    assert len(book.faults()) == count
    book.lines[:] = [line for line in book.lines if "a fault of bothost" not in line[1]]


@pytest.mark.parametrize("faults", [1, 2, 3])
def test_a_post_that_meets_a_fault_of_ours_is_tried_again_and_taken_aside_at_the_third(
    bothost: Harness, calls: Calls, journal: Journal, monkeypatch: pytest.MonkeyPatch, faults: int
) -> None:
    """Whatever is raised concerns this reply alone: the row does not stay open, and another event goes its way."""
    left = [faults]

    def odd(_response: object) -> object:
        if left[0]:
            left[0] -= 1
            raise AttributeError("an answer that nobody foresaw")
        return whole(_response)

    whole = reply_poster.task_in
    monkeypatch.setattr(reply_poster, "task_in", odd)
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.clock.advance("90s")
    expect_faults(bothost, faults)
    row = journal.row()
    if faults < 3:
        assert (row.state, row.tries) == ("answered", faults + 1)
    else:
        assert row.state == "failed"
        assert "nobody foresaw" in row.error
        assert row.answer == b'{"text":"done"}'
        calls.takes = 0
        assert bot.deliver(task()).json == {"text": "done"}


@pytest.mark.parametrize("faults", [1, 3])
def test_an_event_that_cannot_be_begun_is_taken_aside_and_the_others_go_on(
    bothost: Harness, calls: Calls, journal: Journal, monkeypatch: pytest.MonkeyPatch, faults: int
) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.bot.state = BotState("paused", "for a test")
    first, second = task(), task()
    assert bot.deliver(first, 3).outcome == bot.deliver(second, 3).outcome == "parked"
    left, read = [faults], journal.journal.body
    guilty = journal.rows()[0].id

    async def body(key: str) -> bytes | None:
        if key == guilty and left[0]:
            left[0] -= 1
            raise ValueError("what stands there cannot be read")
        return await read(key)

    monkeypatch.setattr(journal.journal, "body", body)
    bot.bot.state = BotState("active")
    bothost.clock.advance("3m")
    expect_faults(bothost, faults)
    states = {row.id: row.state for row in journal.rows()}
    assert states.pop(guilty) == ("failed" if faults == 3 else "answered")
    assert list(states.values()) == ["answered"]
