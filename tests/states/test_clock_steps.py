"""The wall clock is set while events are under way: nothing expires, nothing waits for it, no reply goes out twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.states.conftest import Calls, Journal, handler_of

from bothost import Event, Job, Plugin, Request, anyone, hook, job
from bothost.bots.registry import BotState
from bothost.testing import Harness, task
from bothost.testing.fake_pyrus.faults import ApiFault

STEPS = [timedelta(hours=-1), timedelta(seconds=-20), timedelta(minutes=5), timedelta(days=8)]


def step(bothost: Harness, by: timedelta) -> None:
    bothost.clock.set(bothost.clock.now + by)


@pytest.mark.parametrize("by", STEPS)
def test_a_parked_event_neither_expires_nor_waits(bothost: Harness, calls: Calls, by: timedelta) -> None:
    bot = bothost.bot(handler_of(calls), ini={"keep": "1h"})
    bot.bot.state = BotState("paused", "for a test")
    assert bot.deliver(task(), 3).outcome == "parked"
    step(bothost, by)
    bothost.clock.advance("5s")
    bot.bot.state = BotState("active")
    bothost.clock.advance("35s")
    assert len(calls.runs) == 1
    bothost.assert_one_comment()


@pytest.mark.parametrize("by", STEPS)
def test_a_held_event_waits_for_its_next_attempt(bothost: Harness, calls: Calls, by: timedelta) -> None:
    calls.script = [ValueError("no")]
    bot = bothost.bot(handler_of(calls))
    of = task()
    assert bot.deliver(of).status == 500
    step(bothost, by)
    bothost.clock.advance("61s")
    assert bot.deliver(of, 2).json == {"text": "done"}
    assert calls.runs == [(1, ""), (2, "error")]


@pytest.mark.parametrize("by", STEPS)
def test_a_post_whose_answer_was_lost_is_found_again(bothost: Harness, calls: Calls, by: timedelta) -> None:
    calls.takes = 70
    bot = bothost.bot(handler_of(calls))
    assert bot.deliver(task()).json == {}
    bothost.pyrus.fail("POST tasks/*", ApiFault(applied=True, ending="lost"))
    bothost.clock.advance("20s")
    step(bothost, by)
    bothost.clock.advance("30s")
    bothost.assert_one_comment()


@pytest.mark.parametrize("by", STEPS)
def test_a_retry_after_the_acknowledgement_comes_in_its_time(
    bothost: Harness, calls: Calls, journal: Journal, by: timedelta
) -> None:
    calls.script = [(70, ValueError("no"))]
    bot = bothost.bot(handler_of(calls))
    bot.deliver(task())
    bothost.clock.advance("25s")
    step(bothost, by)
    bothost.clock.advance("20s")
    assert len(calls.runs) == 1, "it is due in a minute"
    bothost.clock.advance("45s")
    assert calls.runs == [(1, ""), (1, "error")]


def test_what_is_left_of_a_runs_time_is_counted_by_no_wall_clock(bothost: Harness) -> None:
    left: list[Any] = []

    async def handler(event: Any) -> str:
        left.append(event.time_left)
        bothost.clock._clock._begin += timedelta(days=-1)
        left.append(event.time_left)
        return "done"

    bothost.bot(handler, ini={"timeout": "20s"}).deliver(task())
    assert left == pytest.approx([20.0, 20.0], abs=0.1)


TOLD: list[int] = []


class Planning(Plugin):
    async def handle(self, event: Event) -> None:
        await self.jobs.add("later", after="1h", task=event.task_id)

    @job("later")
    async def later(self, job: Job) -> str:
        return "an hour later"

    @hook("told", anyone, once="/id")
    async def told(self, request: Request) -> None:
        TOLD.append(request.json["id"])


@pytest.mark.parametrize("by", STEPS)
def test_a_job_and_an_accepted_request_run_once_and_in_their_time(bothost: Harness, by: timedelta) -> None:
    TOLD.clear()
    bot = bothost.bot(Planning)
    bot.deliver(task())
    bot.bot.state = BotState("paused", "for a test")
    assert bot.hook("told", json={"id": 1}).status == 202
    step(bothost, by)
    bothost.clock.advance("5s")
    bot.bot.state = BotState("active")
    bothost.clock.advance("58m")
    bothost.pyrus.assert_no_comment()
    assert bot.hook("told", json={"id": 1}).outcome == "repeat"
    bothost.clock.advance("3m")
    assert bothost.assert_one_comment().text == "an hour later"
    assert TOLD == [1]
