"""Coroutines that are begun at once."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bothost.runners import eager

if TYPE_CHECKING:
    from collections.abc import Coroutine

WHOSE: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="")


def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return eager.begin(work, contextvars.copy_context())


def test_what_waits_for_nothing_has_ended_when_begin_returns() -> None:
    seen: list[str] = []

    async def work() -> str:
        seen.append("ran")
        return "done"

    async def main() -> str:
        task = begin(work())
        assert seen == ["ran"]
        return str(await task)

    assert asyncio.run(main()) == "done"


def test_what_it_raises_at_once_is_raised_by_its_task() -> None:
    async def work() -> None:
        raise KeyError("at once")

    async def main() -> None:
        await begin(work())

    with pytest.raises(KeyError, match="at once"):
        asyncio.run(main())


def test_its_first_step_is_made_in_its_own_task_and_context() -> None:
    async def work() -> tuple[object, object]:
        WHOSE.set("its own")
        first = asyncio.current_task()
        await asyncio.sleep(0)
        assert WHOSE.get() == "its own"
        return first, asyncio.current_task()

    async def main() -> None:
        outer = asyncio.current_task()
        task = begin(work())
        assert asyncio.current_task() is outer
        assert WHOSE.get() == ""
        assert await task == (task, task)

    asyncio.run(main())


def test_a_time_limit_that_begins_in_the_first_step_ends_the_work_and_nothing_else() -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "never"

    async def main() -> str:
        return str(await begin(work()))

    assert asyncio.run(main()) == "late"


def test_several_may_wait_for_one_future() -> None:
    async def work(shared: asyncio.Future[str]) -> str:
        return await shared

    async def main() -> list[str]:
        shared: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        plain = asyncio.ensure_future(work(shared))
        await asyncio.sleep(0)
        tasks = [begin(work(shared)), begin(work(shared)), plain]
        later = asyncio.ensure_future(work(shared))
        await asyncio.sleep(0)
        shared.set_result("both")
        return list(await asyncio.gather(*tasks, later))

    assert asyncio.run(main()) == ["both"] * 4


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_a_cancellation_reaches_what_is_waited_for_however_early_it_comes(turns: int) -> None:
    seen: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("inner")
            raise

    async def work() -> None:
        try:
            await asyncio.ensure_future(inner())
        except asyncio.CancelledError:
            seen.append("work")
            raise

    async def main() -> None:
        task = begin(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert seen == (["inner", "work"] if turns else ["work"])


def test_a_cancellation_that_is_swallowed_lets_the_work_go_on() -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(0)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "went on"

    async def main() -> str:
        task = begin(work())
        task.cancel()
        return str(await task)

    assert asyncio.run(main()) == "went on"


def test_what_has_ended_cannot_be_cancelled_any_more() -> None:
    async def work() -> str:
        return "done"

    async def main() -> str:
        task = begin(work())
        task.cancel()
        return str(await task)

    assert asyncio.run(main()) == "done"


def test_its_task_shows_where_it_stands() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = eager.begin(work(), contextvars.copy_context(), "a name")
        assert task.get_name() == "a name"
        coroutine: Any = task.get_coro()
        assert coroutine.cr_frame.f_code is work.__code__
        assert "test_eager.py" in str(task.get_stack()[0].f_code.co_filename)
        task.cancel()

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there the interpreter's own tasks begin at once")
def test_nobody_but_its_task_takes_it_up() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        task = begin(work())
        coroutine: Any = task.get_coro()
        with pytest.raises(TypeError, match="belongs to its task"):
            await coroutine
        await task

    asyncio.run(main())
