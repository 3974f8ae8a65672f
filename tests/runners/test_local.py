"""Handlers on the loop and in threads: what they return, raise, outlive, and where they stand meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.runners.conftest import TOKEN

import bothost
from bothost import Event, GiveUp, Plugin, Reply, Secret, Settings, Tick, every
from bothost.clock import SystemClock
from bothost.errors import PluginError, ReplyError
from bothost.plugins import run_hooks
from bothost.plugins.attribution import BOT
from bothost.pyrus.reply.reply import LARGEST_REPLY
from bothost.runners.calls import GRACE_S
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runners.conftest import Bench

    from bothost.runners import RunFailure, RunResult

    Make = Callable[..., Bench]

HI = b'{"text":"hi"}'


def failure_of(ran: RunResult) -> RunFailure:
    assert ran.failure is not None
    return ran.failure


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds that another thread brings about."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def plain(event: Event) -> str:
    return "hi"


async def on_the_loop(event: Event) -> str:
    return "hi"


@functools.wraps(on_the_loop)
def wrapped(*args: Any) -> Any:
    return on_the_loop(*args)


@pytest.mark.parametrize("run", ["auto", "loop", "thread"])
@pytest.mark.parametrize(
    "handler", [plain, on_the_loop, wrapped, functools.partial(on_the_loop), lambda event: on_the_loop(event)]
)
def test_what_a_handler_returns_is_encoded(bench: Make, handler: Any, run: str) -> None:
    made = bench(handler, run=run)
    ran = asyncio.run(made.run())
    assert (ran.reply, ran.failure) == (HI, None)
    assert made.ended == 1


@pytest.mark.parametrize(
    ("run", "is_async", "in_thread"),
    [("auto", False, True), ("auto", True, False), ("loop", False, False), ("thread", True, False), ("thread", False, True)],
)  # fmt: skip
def test_plain_handlers_run_in_threads_and_async_ones_on_the_loop(
    bench: Make, run: str, is_async: bool, in_thread: bool
) -> None:
    seen: list[threading.Thread] = []

    def note(event: Event) -> None:
        seen.append(threading.current_thread())

    async def note_on_loop(event: Event) -> None:
        note(event)

    asyncio.run(bench(note_on_loop if is_async else note, run=run).run())
    assert (seen[0] is not threading.main_thread()) is in_thread
    if in_thread:
        assert seen[0].daemon
        assert seen[0].name == "bothost-bot-a-1"


def test_an_awaitable_that_a_thread_returns_is_awaited_on_the_loop(bench: Make) -> None:
    seen: list[Any] = []

    async def inner(event: Event) -> str:
        seen.append((threading.current_thread() is threading.main_thread(), asyncio.get_running_loop()))
        return "hi"

    def outer(event: Event) -> Any:
        seen.append(threading.current_thread() is threading.main_thread())
        return inner(event)

    made = bench(outer)
    assert asyncio.run(made.run()).reply == HI
    assert seen[0] is False
    assert seen[1][0] is True
    assert made.ended == 1


@pytest.mark.parametrize("run", ["loop", "thread"])
@pytest.mark.parametrize("is_async", [True, False])
def test_the_context_names_the_bot_wherever_the_handler_runs(bench: Make, run: str, is_async: bool) -> None:
    leaked: contextvars.ContextVar[str] = contextvars.ContextVar("leaked", default="")
    seen: list[str] = []

    def look(event: Event) -> None:
        seen.extend([BOT.get(), leaked.get()])
        leaked.set("x")

    async def look_on_loop(event: Event) -> None:
        look(event)

    async def main() -> None:
        made = bench(look_on_loop if is_async else look, run=run)
        await made.run()
        await made.run()
        assert BOT.get() == ""

    asyncio.run(main())
    assert seen == ["a", "", "a", ""]


def raising(error: BaseException) -> tuple[Callable[[Event], Any], Callable[[Event], Any]]:
    def handler(event: Event) -> None:
        raise error

    async def handler_on_loop(event: Event) -> None:
        raise error

    return handler, handler_on_loop


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("error", "why", "may_rerun", "text"),
    [
        (KeyError("Сумма"), "raised", True, "raised KeyError: 'Сумма' ("),
        (TimeoutError("theirs"), "raised", True, "raised TimeoutError: theirs ("),
        (asyncio.CancelledError(), "raised", True, "raised asyncio.exceptions.CancelledError ("),
        (SystemExit(3), "raised", True, "raised SystemExit: 3 ("),
        (KeyboardInterrupt(), "raised", True, "raised KeyboardInterrupt ("),
        (GiveUp("no such customer"), "gave up", False, "gave up: no such customer"),
        (ReplyError("text: 5 cannot stand here"), "unusable", False, "made a reply that cannot be used: text: 5"),
        (ValueError("two\nlines and hunter2 and \x1b[31m"), "raised", True, "raised ValueError: two ("),
    ],
)
def test_what_a_handler_raises_is_a_failure_that_says_where(
    bench: Make, which: int, error: BaseException, why: str, may_rerun: bool, text: str
) -> None:
    made = bench(raising(error)[which])
    failure = failure_of(asyncio.run(made.run()))
    assert (failure.why, failure.may_rerun) == (why, may_rerun)
    assert failure.text.startswith("[bot:a] handler")
    assert text in failure.text
    assert "test_local.py:" in failure.text
    assert failure.trace
    assert "hunter2" not in failure.text + failure.trace
    assert "\x1b" not in failure.text
    assert made.ended == 1


class Later:
    def __await__(self) -> Any:
        yield


def test_a_misspelt_key_of_a_reply_suggests_the_right_one(bench: Make) -> None:
    async def handler(event: Event) -> Reply:
        return Reply(aproval_choice="approved")  # type: ignore[call-arg]

    failure = failure_of(asyncio.run(bench(handler).run()))
    assert "'aproval_choice' (did you mean 'approval_choice'?) (" in failure.text
    assert "test_local.py:" in failure.text


def misspelt_module(_event: Event) -> Any:
    return bothost.Replay("x")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("handler", "near"),
    [
        (lambda event: event.taks.id, "task"),
        (lambda event: event.task.formid, "form_id"),
        (lambda event: event.once(nme="charge"), "name"),
        (lambda event: event.task.value(key="A", knd=int), "kind"),
        (misspelt_module, "Reply"),
    ],
)
def test_a_misspelt_name_of_the_api_suggests_the_right_one(bench: Make, handler: Any, near: str) -> None:
    failure = failure_of(asyncio.run(bench(handler).run()))
    # from Python 3.13 on the interpreter itself suggests keywords, in a sentence of its own
    assert f"did you mean {near!r}?" in failure.text.replace("Did", "did")
    assert failure.text.count("ou mean") == 1
    assert "test_local.py:" in failure.text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: Reply("Paid.", "approved"), 'only the text stands without its key: Reply("Paid.", approval_choice='),  # type: ignore[call-arg]
        (lambda: Reply, "not the class Reply itself"),
        (lambda: (one for one in "ab"), "not a value of type generator"),
        (Later, "not a value of type Later: write await before the call that gave it"),
    ],
)
def test_a_reply_that_is_none_says_how_it_is_made(bench: Make, answer: Callable[[], Any], said: str) -> None:
    async def handler(event: Event) -> Any:
        return answer()

    failure = failure_of(asyncio.run(bench(handler).run()))
    assert said in failure.text
    assert "test_local.py:" in failure.text


def test_the_trace_begins_at_the_plugin_and_holds_no_token(bench: Make) -> None:
    def deeper(event: Event) -> None:
        try:
            {}["lost"]
        except KeyError as error:
            raise ValueError(f"with {event.raw['access_token']}") from error

    def handler(event: Event) -> None:
        deeper(event)

    made = bench(handler)
    failure = failure_of(asyncio.run(made.run()))
    assert made.token not in failure.trace + failure.text
    assert "bothost/runner" not in failure.trace
    assert failure.trace.index("in handler") < failure.trace.index("ValueError: with ***")
    assert "KeyError: 'lost'" in failure.trace
    assert "direct cause" in failure.trace


def test_endless_recursion_is_a_failure_like_any_other(bench: Make) -> None:
    def handler(event: Event) -> Any:
        return handler(event)

    failure = failure_of(asyncio.run(bench(handler).run()))
    assert "RecursionError" in failure.text
    assert len(failure.trace) < 25_000


@pytest.mark.parametrize("answer", [5, [], {"due": "soon"}, {"approval_choice": "yes"}, object()])
def test_an_unusable_reply_is_a_failure_that_is_not_run_again(bench: Make, answer: Any) -> None:
    failure = failure_of(asyncio.run(bench(lambda event: answer).run()))
    assert (failure.why, failure.may_rerun) == ("unusable", False)
    assert "returned a reply that cannot be used" in failure.text


class Discloses(Plugin):
    class Settings(Settings):
        key: Secret = Secret('a "key" of the bank')
        short: Secret = Secret("thanks")

    async def handle(self, event: Event) -> Any:
        told = {1: event.raw["access_token"], 2: self.settings.key.reveal(), 3: self.settings.short.reveal()}
        return {"text": "hi", "field_updates": [{"id": 1, "value": f"<{told[event.task_id]}>"}]}


@pytest.mark.parametrize(("number", "which"), [(1, "the access token of the event"), (2, "a Secret of the settings")])
def test_a_reply_that_holds_a_secret_is_unusable(bench: Make, number: int, which: str) -> None:
    failure = failure_of(asyncio.run(bench(Discloses).run(task_id=number)))
    assert f"handle returned a reply that cannot be used: it holds {which}; leave it out" in failure.text
    assert not failure.may_rerun
    assert TOKEN not in failure.text
    assert "of the bank" not in failure.text


@pytest.mark.parametrize("token", ["", "hi"])
def test_a_text_as_short_as_a_word_is_no_secret(bench: Make, token: str) -> None:
    assert asyncio.run(bench(Discloses).run(task_id=3)).failure is None
    assert asyncio.run(bench(plain).run(access_token=token)).reply == HI


@pytest.mark.parametrize("answer", [Reply("x" * LARGEST_REPLY), {"text": "x", "subject": "y" * LARGEST_REPLY}])
def test_a_reply_that_no_task_could_hold_is_unusable(bench: Make, answer: Any) -> None:
    failure = failure_of(asyncio.run(bench(lambda event: answer).run()))
    assert (failure.why, failure.may_rerun) == ("unusable", False)
    assert f"no comment is so long: cut it, the most is {LARGEST_REPLY}" in failure.text


def test_a_mapping_that_raises_when_it_is_read_is_an_unusable_reply(bench: Make) -> None:
    class Trap(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("trap")

    failure = failure_of(asyncio.run(bench(lambda event: Trap(text="x")).run()))
    assert (failure.why, failure.text) == (
        "unusable",
        "[bot:a] <lambda> returned a reply that cannot be read: RuntimeError",
    )


def test_unofficial_keys_are_sent_and_logged_once(bench: Make, caplog: pytest.LogCaptureFixture) -> None:
    made = bench(lambda event: {"text": "hi", "txt": 1})

    async def main() -> None:
        for _ in range(3):
            assert (await made.run()).reply == b'{"text":"hi","txt":1}'

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "[bot:a] <lambda>: the reply's key 'txt' is none of Pyrus's (did you mean 'text'?)"
    ]


def test_fields_are_resolved_against_the_events_task(bench: Make) -> None:
    made = bench(lambda event: Reply(field_updates={"Сумма": 5}))
    task = {"id": 5, "form_id": 1, "fields": [{"id": 9, "type": "money", "name": "Сумма"}]}
    assert asyncio.run(made.run(task=task)).reply == b'{"field_updates":[{"id":9,"value":5}]}'
    assert "no field 'Сумма'" in failure_of(asyncio.run(made.run())).text


def test_an_async_handler_past_its_time_is_cancelled_where_it_stands(bench: Make) -> None:
    cleaned: list[bool] = []

    async def slow(event: Event) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            cleaned.append(True)

    clock = VirtualClock()
    made = bench(slow, clock=clock)
    failure = failure_of(clock.run(made.run(limit_s=60)))
    assert (failure.why, failure.may_rerun) == ("timeout", True)
    assert failure.text.startswith("[bot:a] slow did not end within 60 s, it stood at ")
    assert "test_local.py:" in failure.text
    assert cleaned == [True]
    assert made.ended == 1
    assert made.pyrus.why == []
    clock.loop.close()


def test_an_async_handler_that_swallows_its_cancellation_does_not_keep_the_run(bench: Make) -> None:
    async def stubborn(event: Event) -> str:
        for _ in range(3):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                continue
        return "hi"

    clock = VirtualClock()
    made = bench(stubborn, clock=clock)
    start = clock.monotonic()
    failure = failure_of(clock.run(made.run(limit_s=50)))
    assert clock.monotonic() - start == 50 + GRACE_S
    assert (failure.why, failure.may_rerun) == ("timeout", False)
    assert made.ended == 0
    assert made.runner.held()[0].endswith("stubborn")
    assert made.pyrus.why == ["the time of this run is over"]
    clock.advance(500)
    assert (made.ended, made.returned) == (1, b'{"text":"hi"}')
    assert made.runner.held() == ()
    clock.loop.close()


def test_a_thread_past_its_time_keeps_its_permit_until_it_ends(bench: Make, caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    def stuck(event: Event) -> str:
        go.wait(30)
        return "too late"

    async def main() -> None:
        made = bench(stuck)
        failure = failure_of(await made.run(limit_s=0.05))
        assert (failure.why, failure.may_rerun) == ("timeout", False)
        assert "did not end within 0.05 s" in failure.text
        assert "cannot be stopped and runs on" in failure.text
        assert made.ended == 0
        assert made.pyrus.why == ["the time of this run is over"]
        (place,) = made.runner.held()
        assert place.startswith(__file__)
        assert place.endswith("stuck")
        go.set()
        await until(lambda: made.ended == 1)
        assert made.returned == b'{"text":"too late"}'
        assert made.runner.held() == ()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "what it returned is not sent" in caplog.text


def test_what_a_handler_left_undone_in_a_thread_counts_against_the_same_limit(bench: Make) -> None:
    async def second(event: Event) -> None:
        await asyncio.sleep(1000)

    def first(event: Event) -> Any:
        return second(event)

    clock = VirtualClock()
    made = bench(first, clock=clock)
    start = clock.monotonic()
    assert failure_of(clock.run(made.run(limit_s=60))).why == "timeout"
    assert clock.monotonic() - start == 60
    assert made.ended == 1
    clock.loop.close()


def test_a_cancelled_run_cancels_an_async_handler(bench: Make) -> None:
    seen: list[str] = []

    async def slow(event: Event) -> None:
        seen.append("began")
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        made = bench(slow)
        run = asyncio.create_task(made.run())
        await until(lambda: bool(seen))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await until(lambda: made.ended == 1)
        assert seen == ["began", "cancelled"]

    asyncio.run(main())


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_cancelled_run_drops_what_a_thread_returns(bench: Make, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks around the run are left as well, the last one first."""
    go, began = threading.Event(), threading.Event()
    stood: list[str] = []

    def around(name: str) -> Any:
        @contextlib.contextmanager
        def hook(_subject: object) -> Iterator[None]:
            token = BOT.set(BOT.get())
            stood.append(f"in {name}")
            yield
            stood.append(f"out {name}")
            BOT.reset(token)

        return hook

    names = ["a", "b"][:number]
    monkeypatch.setattr(run_hooks, "_hooks", {name: around(name) for name in names})

    async def never(event: Event) -> None: ...

    def stuck(event: Event) -> Any:
        began.set()
        go.wait(30)
        return never(event)

    async def main() -> None:
        made = bench(stuck)
        run = asyncio.create_task(made.run())
        await until(began.is_set)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert made.ended == 0
        assert len(made.runner.held()) == 1
        assert made.pyrus.why
        go.set()
        await until(lambda: made.ended == 1)

    asyncio.run(main())
    assert stood == [f"in {name}" for name in names] + [f"out {name}" for name in reversed(names)]


@pytest.mark.parametrize("run", ["loop", "thread"])
def test_hooks_are_left_with_what_came_of_the_run_and_show_where_it_stands(
    bench: Make, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    sleeps = [0.0, 3600.0]

    class Around:
        def __enter__(self) -> None: ...

        def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
            seen.append(kind)

    monkeypatch.setattr(run_hooks, "_hooks", {"around": lambda _subject: Around()})

    async def handler(event: Event) -> str:
        await asyncio.sleep(sleeps.pop(0))
        return "hi"

    def outer(event: Event) -> Any:
        return handler(event)

    async def main() -> None:
        made = bench(handler if run == "loop" else outer, run=run)
        assert (await made.run()).reply == HI
        failure = failure_of(await made.run(limit_s=0.1))
        assert "test_local.py:" in failure.text

    asyncio.run(main())
    assert seen == [None, asyncio.CancelledError]


def test_a_run_cancelled_in_the_moment_its_thread_returned_ends_once(bench: Make) -> None:
    both_told = threading.Event()

    class Clock(SystemClock):
        def in_thread(self, work: Any) -> Any:
            def work_then_cancel() -> None:
                work()
                run.get_loop().call_soon_threadsafe(run.cancel)
                both_told.set()

            return work_then_cancel

    made = bench(plain, clock=Clock())

    async def main() -> None:
        nonlocal run
        run = asyncio.create_task(made.run())
        await asyncio.sleep(0)
        both_told.wait(10)  # the loop stands still until it has result and cancellation at once
        with pytest.raises(asyncio.CancelledError):
            await run
        assert made.ended == 1
        assert made.runner.held() == ()

    run: asyncio.Task[Any]
    asyncio.run(main())


def test_what_no_thread_has_begun_when_its_time_is_up_never_begins(bench: Make) -> None:
    go = threading.Event()
    calls: list[int] = []

    def stuck(event: Event) -> None:
        calls.append(event.task_id)
        go.wait(30)

    async def main() -> None:
        made = bench(stuck, concurrency=1)
        first = asyncio.create_task(made.run(task_id=1))
        await until(lambda: calls == [1])
        failure = failure_of(await made.run(limit_s=0.01, task_id=2))
        assert failure.why == "timeout"
        go.set()
        await first
        await until(lambda: made.ended == 2)
        assert calls == [1]

    asyncio.run(main())


class Opens(Plugin[Settings]):
    """Plain `open`, async `close`."""

    def open(self) -> None:
        self.opened_in = threading.current_thread().name
        self.events: list[str] = []

    async def close(self) -> None:
        self.events.append("closed")

    def handle(self, event: Event) -> str:
        self.events.append("ran")
        return "hi"

    @every("1m")
    def plain_timer(self) -> None:
        self.events.append("plain")

    @every("1m")
    async def on_loop(self, tick: Tick) -> None:
        self.events.append(f"tick {tick.rerun!r}")

    @every("1m")
    def broken(self) -> None:
        raise GiveUp("enough")


def test_open_comes_first_close_last_and_timers_between(bench: Make) -> None:
    async def main() -> None:
        made = bench(Opens)
        await made.runner.open()
        plugin = made.runner.plugged.instance
        assert plugin.opened_in == "bothost-bot-a-1"
        await made.run()
        assert (await made.tick("plain_timer")).failure is None
        assert (await made.tick("on_loop")).failure is None
        failure = failure_of(await made.tick("broken"))
        assert failure.why == "gave up"
        assert failure.text.startswith("[bot:a] timer broken gave up: enough (")
        assert "no such timer" in failure_of(await made.tick("gone")).text
        assert made.ended == 5
        await made.runner.close()
        assert plugin.events == ["ran", "plain", "tick ''", "closed"]
        await until(lambda: made.runner._pool.threads == 0)

    asyncio.run(main())


def test_a_plugin_that_cannot_open_says_why(bench: Make) -> None:
    class Shut(Plugin[Settings]):
        closed = False

        async def open(self) -> None:
            raise OSError("no database")

        def close(self) -> None:
            type(self).closed = True

    async def main() -> None:
        made = bench(Shut)
        with pytest.raises(PluginError, match=r"\[bot:a\] plugin 'p': open raised OSError: no database \(.*test_local"):
            await made.runner.open()
        await made.runner.close()
        assert not Shut.closed

    asyncio.run(main())


def test_a_plugin_that_opens_for_ever_is_given_a_minute(bench: Make) -> None:
    class Slow(Plugin[Settings]):
        async def open(self) -> None:
            await asyncio.sleep(1000)

    clock = VirtualClock()
    made = bench(Slow, clock=clock)
    with pytest.raises(PluginError, match="open did not end within 60 s"):
        clock.run(made.runner.open())
    clock.loop.close()


def test_what_close_raises_is_logged_and_the_threads_end(bench: Make, caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Plugin[Settings]):
        def close(self) -> None:
            raise OSError("gone")

    async def main() -> None:
        made = bench(Bad)
        await made.runner.open()
        await made.runner.close()
        await until(lambda: made.runner._pool.threads == 0)

    asyncio.run(main())
    assert "close raised OSError: gone" in caplog.text


def test_close_runs_beside_a_thread_past_its_time(bench: Make) -> None:
    go = threading.Event()

    class Stuck(Plugin[Settings]):
        closed = False

        def handle(self, event: Event) -> None:
            go.wait(30)

        def close(self) -> None:
            type(self).closed = True

    async def main() -> None:
        made = bench(Stuck, concurrency=1)
        await made.runner.open()
        await made.run(limit_s=0.01)
        await made.runner.close()
        assert Stuck.closed
        go.set()
        await until(lambda: made.ended == 1)

    asyncio.run(main())


def test_a_virtual_clock_waits_for_threads_and_not_for_the_time_limit(bench: Make) -> None:
    """The race of a thread's result against a jump of the clock, many times over."""
    clock = VirtualClock()
    made = bench(plain, clock=clock)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)

    async def main() -> None:
        for _ in range(1500):
            assert (await made.run(limit_s=5)).reply == HI

    try:
        start = clock.monotonic()
        clock.run(main())
        assert clock.monotonic() == start
    finally:
        sys.setswitchinterval(interval)
        clock.loop.close()
