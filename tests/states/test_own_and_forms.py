"""What is not for the bot: its own comments, unless they brought it to a new step, and forms that are not in its list."""

from __future__ import annotations

from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, handler_of

from bothost import Event, Reply
from bothost.bots.registry import BotState
from bothost.pyrus.samples import BOT_ID, sample
from bothost.testing import Harness, comment, me, task


def asked_at(*steps: int, of: int = 3) -> list[list[dict[str, Any]]]:
    """Approvals in which the bot waits at these steps."""
    return [
        [{"person": me(), "approval_choice": "waiting" if step in steps else "approved"}] for step in range(1, of + 1)
    ]


def test_the_bots_own_comment_is_skipped(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task(comments=["hello", comment("my own", author=me())])
    answer = bot.deliver(of)
    assert (answer.status, answer.json, answer.outcome) == (200, {}, "own")
    assert f"task={of['id']} attempt=1 outcome=own status=200" in answer.log
    assert calls.runs == []
    assert journal.rows() == []


def test_own_is_told_by_the_highest_comment_as_integers(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    newest = comment("my own", author={**me(), "id": str(bot.person["id"])})
    older = comment("hello", id=newest["id"] - 1)
    of = task(comments=[])
    of["comments"] = [{**newest, "author": {**newest["author"], "id": bot.person["id"]}}, older]
    assert bot.deliver(of).outcome == "own", "by id, not by place"
    other = comment("by another bot", author={**me(), "id": 5})
    assert bot.deliver(task(comments=[{**other, "author": {**me(), "id": 5}}])).outcome == "replied"


def test_without_user_id_the_one_seen_last_counts(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    of = task(comments=[comment("my own", author=me())])
    of["comments"][0]["author"] = dict(bot.person)
    body = {"event": "comment", "task_id": of["id"], "task": of}
    assert bot.deliver(body).outcome == "own"


def test_own_comments_may_be_delivered(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls), ini={"own_comments": "deliver"})
    assert bot.deliver(task(comments=[comment("my own", author=me())])).outcome == "replied"


def test_other_kinds_are_never_skipped(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls), ini={"forms": "5"})
    of = task(321, comments=[comment("my own", author=me())])
    of["comments"][0]["author"] = dict(bot.person)
    body = {"event": "close", "task_id": of["id"], "task": of, "user_id": bot.person["id"]}
    assert bot.deliver(body).outcome == "replied"


def test_a_known_key_is_not_sifted_again(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task()
    first = bot.deliver(of)
    changed = {**of, "comments": [{**of["comments"][0], "author": dict(bot.person)}]}
    assert bot.deliver(changed, 2).body == first.body


@pytest.mark.parametrize("restart", [False, True])
def test_its_own_approval_may_bring_the_bot_to_its_next_step(bothost: Harness, calls: Calls, restart: bool) -> None:
    async def handler(event: Event) -> Reply:
        await calls(event)
        return Reply.approve(f"step {event.task.current_step}")

    bot = bothost.bot(handler)
    of = task(321, approvals=asked_at(1), current_step=1)
    assert bot.deliver(of).reply is not None
    if restart:
        bothost.restart()
    own = comment("step 1", author=me())
    second = {**of, "approvals": asked_at(2), "current_step": 2, "comments": [*of["comments"], own]}
    answer = bot.deliver(second)
    assert answer.outcome == "replied"
    assert len(calls.runs) == 2
    if restart:
        bothost.restart()
    third = {**second, "comments": [*second["comments"], comment("again", author=me())]}
    assert bot.deliver(third).outcome == "own", "it was asked at this step before"


def test_its_own_comment_at_the_step_it_was_asked_at_is_skipped(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task(321, approvals=asked_at(2), current_step=2)
    bot.deliver(of)
    more = {**of, "comments": [*of["comments"], comment("thinking", author=me())]}
    assert bot.deliver(more).outcome == "own"


def test_current_step_alone_does_not_make_it_wait(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task(321, approvals=asked_at(), current_step=2, comments=[comment("x", author=me())])
    assert bot.deliver(of).outcome == "own"


def test_an_own_comment_of_a_task_never_seen_is_run_where_the_bot_waits(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    of = task(321, approvals=asked_at(2), current_step=2, comments=[comment("x", author=me())])
    assert bot.deliver(of).outcome == "replied"


def test_a_form_that_is_not_in_the_list_is_skipped(bothost: Harness, calls: Calls, journal: Journal) -> None:
    bot = bothost.bot(handler_of(calls), ini={"forms": "321, 322"})
    assert bot.deliver(task(321)).outcome == "replied"
    answer = bot.deliver(task(400))
    assert (answer.status, answer.json, answer.outcome) == (200, {}, "form")
    assert len(journal.rows()) == 1


def test_a_simple_task_is_in_no_list_but_a_shorter_body_is_delivered(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls), ini={"forms": "321"})
    assert bot.deliver(task()).outcome == "form"
    assert bot.deliver({"task_id": 5, "task": {"id": 5}, "event": "comment"}).outcome == "replied"


def test_one_line_per_form_and_hour_and_a_warning_where_the_bot_is_waited_for(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls), ini={"forms": "321"})

    def lines() -> list[str]:
        return [line for line in bot.log().splitlines() if "in `forms`" in line]

    for _ in range(3):
        bot.deliver(task(400))
    assert len(lines()) == 1
    assert lines()[0].startswith("INFO")
    bot.deliver(task(401))
    assert len(lines()) == 2
    bothost.clock.advance("61m")
    bot.deliver(task(400))
    assert len(lines()) == 3
    bot.deliver(task(402, step=1))
    assert lines()[3].startswith("WARNING")
    assert "step 1" in lines()[3]


def test_a_warning_is_not_kept_back_by_an_info_line(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls), ini={"forms": "321"})
    bot.deliver(task(400))
    bot.deliver(task(400, step=1))
    assert any(line.startswith("WARNING") and "form 400" in line for line in bot.log().splitlines())


def test_an_event_that_was_turned_away_is_none_that_the_bot_ran(bothost: Harness, calls: Calls) -> None:
    bot = bothost.bot(handler_of(calls))
    bot.bot.state = BotState("paused", "for a test")
    of = task(321, approvals=asked_at(2), current_step=2)
    for attempt in (1, 2):
        assert bot.deliver(of, attempt).outcome == "unavailable"
    bot.bot.state = BotState("active")
    own = {**of, "comments": [*of["comments"], comment("I approved step 1", author=me())]}
    assert bot.deliver(own).outcome == "replied", "no event of step 2 has run"
    assert bot.deliver({**own, "comments": [*own["comments"], comment("again", author=me())]}).outcome == "own"


def test_a_trial_teaches_nothing_of_the_bot_and_asks_it_to_decide_as_its_body_says(bothost: Harness) -> None:
    steps = []

    async def quiet(event: Event) -> None:
        steps.append(event.step)

    bot = bothost.bot(quiet, ini={"login": ""})
    served = bothost._state.host.service.find("bot")
    for body in (sample(bothost.clock.now(), 10**14 + 5), sample(bothost.clock.now(), 5)):
        assert bot.deliver(body).status == 200
        assert served.login != "bot@pyrus.com"
        assert served.user_id != BOT_ID
    assert steps == [1, 1]
