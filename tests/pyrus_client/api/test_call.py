"""Calls and pages: awaited, waited for, crossed over to the host's loop, given up, forgotten, used twice."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from tests.pyrus_client.unlimited import Unlimited

from bothost.clock import SystemClock
from bothost.errors import CallError, CallUnclear, CallUnsent
from bothost.pyrus_client.api import Pyrus
from bothost.pyrus_client.call import Call, CallLoop, Page, Pages
from bothost.pyrus_client.client import CallingBot, PyrusClient
from bothost.pyrus_client.session import PyrusSession, SessionTerms
from bothost.testing.fake_pyrus import FakePyrus, faults
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def made(clock: Any = None) -> tuple[FakePyrus, Pyrus]:
    """A fake Pyrus with a task, and the API on it; made on the running loop."""
    clock = clock or SystemClock()
    pyrus = FakePyrus(clock)
    bot = pyrus.add_bot("bot@one", "key-of-the-bot-0001", 900100)
    pyrus.add_task(id=5, text="A task")
    client = PyrusClient(clock, Unlimited(), pyrus.transport())
    return pyrus, Pyrus(PyrusSession(client, CallingBot("one"), SessionTerms(pyrus.world.issue_token(bot))), clock)


def forget(unused: object) -> None:
    """The last one who knew of it."""
    del unused
    gc.collect()


def on_a_loop(work: Callable[[FakePyrus, Pyrus], Awaitable[T]]) -> T:
    async def run() -> T:
        return await work(*made())

    return asyncio.run(run())


def test_a_call_is_awaited() -> None:
    async def work(_: FakePyrus, api: Pyrus) -> int:
        return (await api.task(5)).id

    assert on_a_loop(work) == 5


def test_gather_create_task_wait_for_and_task_group_take_calls() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        await asyncio.gather(api.task(5), api.task(5))
        await asyncio.create_task(api.task(5))
        await asyncio.wait_for(api.task(5), 5)
        async with asyncio.TaskGroup() as group:
            one = group.create_task(api.task(5))
        assert one.result().text == "A task"
        assert len(pyrus.requests) == 5

    on_a_loop(work)


def test_a_call_is_waited_for_in_a_thread() -> None:
    async def work(_: FakePyrus, api: Pyrus) -> None:
        assert (await asyncio.to_thread(lambda: api.task(5).wait())).id == 5

    on_a_loop(work)


def test_errors_reach_the_thread_that_waits() -> None:
    async def work(_: FakePyrus, api: Pyrus) -> None:
        with pytest.raises(CallError, match="task_not_found"):
            await asyncio.to_thread(lambda: api.task(6).wait())

    on_a_loop(work)


def test_wait_on_the_hosts_loop_raises_at_once_and_says_to_write_await() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        with pytest.raises(RuntimeError, match=r"Pyrus\.task\(\.\.\.\)\.wait\(\).*`await`"):
            api.task(5).wait()
        assert not pyrus.requests

    on_a_loop(work)


def test_a_foreign_loop_crosses_over() -> None:
    async def foreign(api: Pyrus) -> None:
        assert (await api.task(5)).id == 5
        found = await asyncio.gather(api.task(5), asyncio.create_task(api.task(5)))
        assert [task.id for task in found] == [5, 5]

    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        await asyncio.to_thread(lambda: asyncio.run(foreign(api)))
        assert len(pyrus.requests) == 3

    on_a_loop(work)


def test_fifty_calls_from_eight_threads() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        def all_of_them() -> list[int]:
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(lambda _: api.task(5).wait().id, range(50)))

        assert await asyncio.to_thread(all_of_them) == [5] * 50

    on_a_loop(work)


def test_a_forgotten_call_sends_nothing_and_warns() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        with pytest.warns(RuntimeWarning, match=r"coroutine 'Pyrus\.task' was never awaited"):
            forget(api.task(5))
        assert not pyrus.requests

    on_a_loop(work)


def test_a_forgotten_await_is_named_where_the_result_is_missed() -> None:
    async def work(_: FakePyrus, api: Pyrus) -> None:
        forgotten: Any = api.task(5)
        with pytest.raises(
            AttributeError, match=r"no attribute 'text': read it from the call's result, .* `await` or, .* `\.wait\(\)`"
        ):
            forgotten.text  # noqa: B018 - reading it is the test
        assert not hasattr(forgotten, "field")
        assert (await forgotten).text == "A task"

    on_a_loop(work)


def test_a_forgotten_register_warns_too() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        with pytest.warns(RuntimeWarning, match="was never awaited"):
            forget(api.register(1))
        assert not pyrus.requests

    on_a_loop(work)


def test_a_call_used_twice_is_an_error_and_sends_once() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        comment = api.comment(5, "once")
        await comment
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await comment
        pyrus.assert_one_comment(5)

    on_a_loop(work)


def test_calls_after_the_run_are_refused() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        api.give_up("the run's time was up")
        for attempt in (lambda: api.task(5), lambda: asyncio.to_thread(lambda: api.task(5).wait())):
            with pytest.raises(CallUnsent, match="the run's time was up"):
                await attempt()
        assert not pyrus.requests

    on_a_loop(work)


def test_a_thread_in_wait_is_let_go_when_its_calls_are_given_up() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        pyrus.fail("GET tasks/5", faults.slow(3600))
        waiting = asyncio.create_task(asyncio.to_thread(lambda: api.task(5).wait()))
        while not pyrus.requests:
            await asyncio.sleep(0)
        api.give_up("the host stops")
        with pytest.raises(CallUnclear, match="the host stops"):
            await waiting

    on_a_loop(work)


def test_waiting_after_the_loop_has_ended_says_so() -> None:
    kept: list[Pyrus] = []

    async def work(_: FakePyrus, api: Pyrus) -> None:
        kept.append(api)

    on_a_loop(work)
    with pytest.raises(CallUnsent, match="host has stopped"):
        kept[0].task(5).wait()


def test_a_cancelled_handler_cancels_its_call() -> None:
    async def work(pyrus: FakePyrus, api: Pyrus) -> None:
        pyrus.fail("POST tasks/5/comments", faults.slow(3600))
        task = asyncio.create_task(api.comment(5, "never"))
        while not pyrus.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pyrus.assert_no_comment()

    on_a_loop(work)


def test_virtual_time_goes_on_while_a_plain_handler_waits() -> None:
    clock = VirtualClock()

    async def work() -> float:
        pyrus, api = made(clock)
        pyrus.fail("GET tasks/5", faults.slow(20))
        before = clock.monotonic()
        await asyncio.get_running_loop().run_in_executor(None, clock.in_thread(lambda: api.task(5).wait()))
        return clock.monotonic() - before

    assert clock.run(work()) == pytest.approx(20)
    clock.loop.close()


def numbers(call_loop: CallLoop) -> Pages[int]:
    async def page(start: int) -> Page[int]:
        return Page(range(start, start + 3), (lambda: page(start + 3)) if start < 6 else None)

    return Pages(page(0), call_loop)


def test_pages_come_by_async_for_by_for_and_all_at_once() -> None:
    async def work() -> None:
        call_loop = CallLoop(SystemClock(), asyncio.get_running_loop())
        assert [number async for number in numbers(call_loop)] == list(range(9))
        assert await numbers(call_loop) == tuple(range(9))
        assert await asyncio.to_thread(lambda: list(numbers(call_loop))) == list(range(9))
        assert await asyncio.to_thread(lambda: numbers(call_loop).wait()) == tuple(range(9))

        async def foreign() -> list[int]:
            return [number async for number in numbers(call_loop)]

        assert await asyncio.to_thread(lambda: asyncio.run(foreign())) == list(range(9))

    asyncio.run(work())


def test_pages_are_fetched_only_as_far_as_they_are_read() -> None:
    fetched: list[int] = []

    async def work() -> None:
        call_loop = CallLoop(SystemClock(), asyncio.get_running_loop())

        async def page(start: int) -> Page[int]:
            fetched.append(start)
            return Page((start,), lambda: page(start + 1))

        async for number in Pages(page(0), call_loop):
            if number == 2:
                break

    asyncio.run(work())
    assert fetched == [0, 1, 2]


def test_a_for_loop_on_the_hosts_loop_says_to_write_async_for() -> None:
    async def work() -> None:
        call_loop = CallLoop(SystemClock(), asyncio.get_running_loop())
        with pytest.raises(RuntimeError, match="write `async for`"):
            list(numbers(call_loop))

    asyncio.run(work())


def test_a_call_that_is_closed_never_ran() -> None:
    ran = threading.Event()

    async def work() -> None:
        async def body() -> None:
            ran.set()

        Call(body(), CallLoop(SystemClock(), asyncio.get_running_loop())).close()

    asyncio.run(work())
    assert not ran.is_set()
