"""`@job` and `self.jobs` as an author uses them, in virtual time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from bothost import Event, Job, Plugin, Reply, StoreError, job
from bothost.errors import PluginError
from bothost.testing import Harness, task
from bothost.testing.fake_pyrus import faults

RUNS: list[tuple[Any, ...]] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    RUNS.clear()


class Nudging(Plugin):
    async def handle(self, event: Event) -> str:
        text = event.comment.text if event.comment else ""
        if text == "stop":
            return str(await self.jobs.cancel(f"nudge-{event.task_id}"))
        key = f"nudge-{event.task_id}"
        return await self.jobs.add("nudge", after="3h", key=key, task=event.task_id, data={"hours": 3})

    @job("nudge")
    async def nudge(self, job: Job) -> Reply | None:
        RUNS.append((job.task_id, job.key, job.rerun, job.late))
        return Reply(f"Still open after {job.data['hours']} h.")


class PlainNudging(Plugin):
    def handle(self, event: Event) -> str:
        return self.jobs.add("nudge", after=timedelta(hours=3), task=event.task_id, data={"hours": 3}).wait()

    @job("nudge")
    def nudge(self, job: Job) -> Reply:
        RUNS.append((job.task_id, job.key, job.rerun, job.late))
        return Reply(f"Still open after {job.data['hours']} h.")


def texts(bothost: Harness) -> list[str]:
    return [one.text for one in bothost.pyrus.comments(5600) if one.door == "api"]


@pytest.mark.parametrize("plugin", [Nudging, PlainNudging])
def test_a_job_runs_once_at_its_time_and_its_reply_is_written(bothost: Harness, plugin: type[Plugin[Any]]) -> None:
    bot = bothost.bot(plugin)
    bot.deliver(task(id=5600))
    bothost.clock.advance("2h 59m")
    assert RUNS == []
    bothost.clock.advance("2m")
    assert [run[0] for run in RUNS] == [5600]
    assert RUNS[0][3] < timedelta(seconds=1)
    assert texts(bothost) == ["Still open after 3 h."]
    bothost.clock.advance("1d")
    assert len(RUNS) == 1


def test_the_same_key_replaces_and_cancel_takes_out(bothost: Harness) -> None:
    bot = bothost.bot(Nudging)
    bot.deliver(task(id=5600, comments=["a"]))
    bothost.clock.advance("2h")
    bot.deliver(task(id=5600, comments=["b"]))
    bothost.clock.advance("2h")
    assert RUNS == []
    assert [(one.key, one.task_id, one.data) for one in bot.jobs()] == [("nudge-5600", 5600, {"hours": 3})]
    cancelled = bot.deliver(task(id=5600, comments=["stop"])).reply
    assert cancelled is not None
    assert cancelled.text == "True"
    assert bot.jobs() == ()
    bothost.clock.advance("1d")
    assert RUNS == []
    nothing = bot.deliver(task(id=5600, comments=["stop"])).reply
    assert nothing is not None
    assert nothing.text == "False"


def test_what_fell_due_while_nothing_ran_runs_at_start_and_says_how_late(bothost: Harness) -> None:
    bot = bothost.bot(Nudging)
    bot.deliver(task(id=5600))
    bothost._state.turn(bothost._state.host.stop())
    bothost._state.time.advance("5h")
    bothost._state.host = bothost._state.turn(
        type(bothost._state.host).started(bothost._state.time, bothost._state.host.folder, bothost.pyrus.transport())
    )
    bot.bot, bot.runner = bothost._state.turn(bothost._state.host.add(*bot.origin))
    bothost.clock.advance("31s")
    assert len(RUNS) == 1
    assert RUNS[0][3] >= timedelta(hours=2)


class Failing(Plugin):
    async def handle(self, event: Event) -> None:
        await self.jobs.add("fails", after="1m", task=event.task_id)

    @job("fails")
    async def fails(self, job: Job) -> None:
        RUNS.append((job.id, job.rerun, await job.once("call", lambda: len(RUNS))))
        raise RuntimeError("on purpose")


def test_a_failing_job_runs_three_times_and_is_then_failed(bothost: Harness) -> None:
    bot = bothost.bot(Failing, ini={"on_error": "reply", "error_text": "sorry"})
    bot.deliver(task(id=5600))
    bothost.clock.advance("10m")
    assert [(rerun, once) for _, rerun, once in RUNS] == [("", 0), ("error", 0), ("error", 0)]
    assert len({key for key, _, _ in RUNS}) == 1
    assert texts(bothost) == []
    rows = bothost._state.turn(bothost._state.host.journal.counts())
    assert rows == {("bot", "failed"): 1}


def test_a_reply_is_posted_once_although_the_answer_of_the_post_is_lost(bothost: Harness) -> None:
    bot = bothost.bot(Nudging)
    bot.deliver(task(id=5600))
    bothost.pyrus.fail("POST tasks/5600/comments", faults.lose_answer())
    bothost.clock.advance("4h")
    assert texts(bothost) == ["Still open after 3 h."]


class Wrong(Plugin):
    keys: dict[str, Any]

    async def handle(self, event: Event) -> None:
        await self.jobs.add("fine", **self.keys)

    @job("fine")
    def fine(self, job: Job) -> None:
        RUNS.append((job.id,))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "needs either"),
        ({"after": "3h", "at": datetime(2030, 1, 1)}, "needs either"),
        ({"at": datetime(2030, 1, 1)}, "no aware datetime"),
        ({"after": "soon"}, "no duration"),
        ({"after": "20000d"}, "ten years"),
        ({"after": "1h", "key": "a" * 201}, "key of a job"),
        ({"after": "1h", "key": ""}, "key of a job"),
        ({"after": 5}, "after=5 is no duration: write one such as 3h (it has no unit"),
        ({"after": "1h", "task": "5"}, "no task's id"),
        ({"after": "1h", "data": {1}}, "a set cannot be stored"),
    ],
)
def test_a_job_that_cannot_be_kept_is_an_error_that_says_so(bothost: Harness, keys: dict[str, Any], said: str) -> None:
    answer = bothost.bot(type("Wronger", (Wrong,), {"keys": keys})).deliver(task())
    assert isinstance(answer.error, StoreError)
    assert said in str(answer.error)


def test_a_job_that_the_plugin_does_not_have_is_refused_with_a_near_name(bothost: Harness) -> None:
    class Mistaken(Nudging):
        async def handle(self, event: Event) -> str:
            return await self.jobs.add("nugde", after="1h")

    class Method(Nudging):
        async def handle(self, event: Event) -> str:
            return await self.jobs.add(self.nudge, after="1h")  # type: ignore[arg-type]

    answer = bothost.bot(Mistaken).deliver(task())
    assert "no job 'nugde' (did you mean 'nudge'" in str(answer.error)
    answer = bothost.bot(Method, "method").deliver(task())
    assert "a job is added by its name, a text, and not by <bound method" in str(answer.error)
    assert "(the plugin has: nudge)" in str(answer.error)


def test_two_methods_with_one_name_are_refused(bothost: Harness) -> None:
    class Twice(Nudging):
        @job("nudge")
        def other(self, job: Job) -> None:
            """The name is taken."""

    with pytest.raises(PluginError, match="is the job 'nudge' already"):
        bothost.bot(Twice)


def test_a_reply_without_a_task_is_a_failure_that_says_so(bothost: Harness) -> None:
    class Homeless(Plugin):
        async def handle(self, event: Event) -> None:
            await self.jobs.add("says", after="1m")

        @job("says")
        async def says(self, job: Job) -> str:
            return "to whom?"

    bot = bothost.bot(Homeless)
    bot.deliver(task())
    bothost.clock.advance("2m")
    assert "without task=" in bot.log()
    assert "test_jobs.py:" in bot.log().partition("without task=")[2]
