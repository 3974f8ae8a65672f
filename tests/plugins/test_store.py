"""`self.store` and `event.once` as an author uses them: plain and async, over restarts, in a process of their own."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bothost import Event, Job, Plugin, Reply, Secret, Settings, StoreError, job
from bothost.testing import Harness, task

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    CALLS.clear()


class Counting(Plugin):
    async def handle(self, event: Event) -> Reply:
        number = await self.store.add("events")
        await self.store.set(f"task:{event.task_id}", {"text": event.task.text})
        return Reply(f"{number} {[key async for key, _ in self.store.items('task:')]}")


class PlainCounting(Plugin):
    def handle(self, event: Event) -> Reply:
        number = self.store.add("events").wait()
        self.store.set(f"task:{event.task_id}", {"text": event.task.text}).wait()
        return Reply(f"{number} {[key for key, _ in self.store.items('task:')]}")


@pytest.mark.parametrize("plugin", [Counting, PlainCounting])
def test_values_outlive_the_host(bothost: Harness, plugin: type[Plugin[Any]]) -> None:
    bot = bothost.bot(plugin)
    first = bot.deliver(task(id=1)).reply
    assert first is not None
    assert first.text == "1 ['task:1']"
    bothost.restart()
    second = bot.deliver(task(id=2)).reply
    assert second is not None
    assert second.text == "2 ['task:1', 'task:2']"


def charge() -> dict[str, int]:
    CALLS.append("charged")
    return {"receipt": len(CALLS)}


async def charge_slowly() -> dict[str, int]:
    return charge()


class Charging(Plugin):
    function: Callable[[], Any] = staticmethod(charge)

    async def handle(self, event: Event) -> Reply:
        receipt = await event.once("charge", self.function)
        if not event.rerun:
            raise RuntimeError("after the call")
        return Reply(f"receipt {receipt['receipt']}")


class ChargingSlowly(Charging):
    function = staticmethod(charge_slowly)


class PlainCharging(Plugin):
    def handle(self, event: Event) -> Reply:
        receipt = event.once("charge", charge).wait()
        if not event.rerun:
            raise RuntimeError("after the call")
        return Reply(f"receipt {receipt['receipt']}")


class PlainWithCoroutine(Plugin):
    def handle(self, event: Event) -> Reply:
        receipt = event.once("charge", charge_slowly).wait()
        if not event.rerun:
            raise RuntimeError("after the call")
        return Reply(f"receipt {receipt['receipt']}")


@pytest.mark.parametrize("plugin", [Charging, ChargingSlowly, PlainCharging, PlainWithCoroutine])
def test_a_rerun_gets_the_kept_result_and_calls_nothing(bothost: Harness, plugin: type[Plugin[Any]]) -> None:
    bot = bothost.bot(plugin)
    assert bot.deliver(task()).status == 500
    bothost.restart()
    reply = bot.redeliver().reply
    assert reply is not None
    assert reply.text == "receipt 1"
    assert CALLS == ["charged"]


def test_another_event_calls_anew(bothost: Harness) -> None:
    bot = bothost.bot(PlainCharging)
    bot.deliver(task(id=1))
    bot.deliver(task(id=2))
    assert CALLS == ["charged", "charged"]


class CutInTheMiddle(Plugin):
    async def handle(self, event: Event) -> Reply:
        def fail() -> int:
            CALLS.append("called")
            if not event.rerun:
                raise OSError("the line broke")
            return 1

        return Reply(str(await event.once("call", fail)))


def test_a_call_that_did_not_end_is_made_again(bothost: Harness) -> None:
    bot = bothost.bot(CutInTheMiddle)
    assert bot.deliver(task()).status == 500
    assert bot.redeliver().status == 200
    assert CALLS == ["called", "called"]


def test_a_result_that_cannot_be_kept_is_an_error_that_says_so(bothost: Harness) -> None:
    async def handle(event: Event) -> None:
        await event.once("set", lambda: {1})

    answer = bothost.bot(handle).deliver(task())
    assert isinstance(answer.error, StoreError)
    assert "a set cannot be stored" in str(answer.error)


class Misuses(Plugin):
    what: Callable[[Plugin[Any], Event], Any]

    @job("later")
    async def later(self, job: Job) -> None:
        """Never runs here."""

    async def handle(self, event: Event) -> str | None:
        found = await type(self).what(self, event)
        return None if found is None else str(found)


async def slowly() -> int:
    return 1


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda _, event: event.once("charge", 7), 'once takes a function, not 7: write once("charge", lambda: …)'),
        (lambda _, event: event.once("charge", slowly()), "once takes a function, not <coroutine object slowly"),
        (lambda _, event: event.once("charge", event.pyrus.task(5)), "once takes a function, not <bothost"),
        (lambda self, _: self.store.update("a", 7), "update takes a function of the value, not 7"),
        (lambda self, _: all_of(self.store.items(5)), "the prefix of keys is a text, not 5"),
        (lambda self, _: all_of(self.jobs.list(None)), "the prefix of keys is a text, not None"),
        (
            lambda self, _: self.store.set("a", 1, expires=5),
            "expires=5 is no duration: write one such as 7d (it has no unit",
        ),
        (lambda self, _: self.store.set("a", 1, expires=timedelta.max), "it is longer than a hundred years"),
        (
            lambda self, _: waits_for(self, "once"),
            "only waits: `once` and `deadline` are for the job that a method of @job",
        ),
        (lambda self, _: waits_for(self, "deadline"), "only waits: `once` and `deadline` are for the job that"),
        (lambda self, _: self.store.set("a", self), "a Misused cannot be stored"),
        (lambda self, _: self.store.set("a", object()), "an object cannot be stored"),
    ],
)
def test_a_misuse_is_an_error_that_says_what_is_right(bothost: Harness, what: Any, said: str) -> None:
    answer = bothost.bot(type("Misused", (Misuses,), {"what": what})).deliver(task())
    assert isinstance(answer.error, StoreError)
    assert said.replace('"charge"', "'charge'") in str(answer.error)
    assert "test_store.py:" in answer.log


async def waits_for(self: Plugin[Any], what: str) -> None:
    await self.jobs.add("later", after="1h")
    (waiting,) = await self.jobs.list()
    await waiting.once("call", slowly) if what == "once" else waiting.deadline


async def all_of(pages: Any) -> list[Any]:
    return [one async for one in pages]


def test_a_once_is_taken_wherever_a_coroutine_is(bothost: Harness) -> None:
    async def handle(event: Event) -> str:
        made = await asyncio.create_task(event.once("made", slowly))
        async with asyncio.TaskGroup() as group:
            grouped = group.create_task(event.once("grouped", slowly))
        nested = await event.once("outer", lambda: event.once("inner", slowly))
        return f"{made} {grouped.result()} {nested} {await asyncio.gather(event.once('inner', slowly))}"

    def plain(event: Event) -> str:
        async def own_loop() -> int:
            return await event.once("own", lambda: threading.get_ident() == thread)

        thread = threading.get_ident()
        nested = event.once("outer", lambda: event.once("inner", slowly)).wait()
        return f"{asyncio.run(own_loop())} {nested}"

    assert bothost.bot(handle).deliver(task()).json == {"text": "1 1 1 [1]"}
    assert bothost.bot(plain, "plain").deliver(task()).json == {"text": "True 1"}


def test_a_once_that_nobody_awaits_fails_the_test(bothost: Harness) -> None:
    async def forgets(event: Event) -> None:
        event.once("charge", charge)

    with pytest.raises(AssertionError, match=r"coroutine 'once' was never awaited .*test_store\.py"):
        bothost.bot(forgets).deliver(task())
    assert CALLS == []


class Keeps(Plugin):
    class Settings(Settings):
        key: Secret = Secret("the key of the bank")
        where: str = "set"

    @job("later")
    async def later(self, job: Job) -> None:
        """Never runs here."""

    async def handle(self, event: Event) -> None:
        key, raw = self.settings.key.reveal(), dict(event.raw)
        if self.settings.where == "set":
            await self.store.set("raw", raw)
        elif self.settings.where == "update":
            await self.store.update("keys", lambda kept: {**kept, "bank": key}, default={})
        elif self.settings.where == "once":
            await event.once("login", lambda: {"login": "bot", "key": key})
        else:
            await self.jobs.add("later", after="1h", data=raw)


@pytest.mark.parametrize(
    ("where", "what"),
    [("set", "value of 'raw'"), ("update", "value of 'keys'"), ("once", "/login'"), ("job", "job 'later'")],
)
def test_a_token_or_a_secret_is_not_stored_and_the_error_says_so(bothost: Harness, where: str, what: str) -> None:
    answer = bothost.bot(Keeps, where=where).deliver(task())
    assert isinstance(answer.error, StoreError)
    assert what in str(answer.error)
    assert "cannot be stored: it holds an access token or a secret; leave it out" in str(answer.error)


class OnTheLoop(Plugin):
    async def handle(self, event: Event) -> None:
        event.once("charge", charge).wait()


def test_waiting_on_the_loop_is_refused_before_anything_is_called(bothost: Harness) -> None:
    answer = bothost.bot(OnTheLoop).deliver(task())
    assert isinstance(answer.error, RuntimeError)
    assert "once(...).wait() would stop the host's event loop" in str(answer.error)
    assert CALLS == []
