"""No loop of a host dies: what fails is logged, counted, started again, and said to be down meanwhile."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from bothost import background
from bothost.background import BackgroundTasks, PeriodicJob, SupervisedLoops, Throttle
from bothost.clock import SystemClock


class Hand(SystemClock):
    """A clock turned by hand."""

    time = 100.0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hand:
    monkeypatch.setattr(background, "PAUSES_S", (0.0, 0.0))
    return Hand()


class Failing:
    """A loop's work: raises each of its faults in turn, then goes on until it is cancelled."""

    def __init__(self, *faults: BaseException) -> None:
        self.faults = list(faults)
        self.goes_on = asyncio.Event()

    async def __call__(self) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.goes_on.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "fault", [RuntimeError("odd"), asyncio.CancelledError(), MemoryError(), ExceptionGroup("x", [OSError()])]
)
def test_a_loop_that_fails_in_whatever_way_is_started_again(
    fault: BaseException, clock: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    async def case() -> None:
        loops, tasks, work = SupervisedLoops(clock), BackgroundTasks(), Failing(fault, fault)
        tasks.spawn(loops.keep("rounds", work))
        async with asyncio.timeout(20):
            await work.goes_on.wait()
        assert loops.restarts == {"rounds": 2}
        assert list(loops.down()) == ["rounds"]
        clock.time += background.STEADY_S
        assert not loops.down()
        await tasks.stop()
        assert loops.restarts == {"rounds": 2}, "the end that was asked for is no fault"
        assert not len(tasks)

    asyncio.run(case())
    assert "a fault of bothost in the loop rounds" in caplog.text


def test_a_loop_that_returns_is_not_started_again(clock: Hand) -> None:
    async def case() -> None:
        loops = SupervisedLoops(clock)
        await loops.keep("floors", lambda: asyncio.sleep(0))
        assert not loops.down()

    asyncio.run(case())


def test_pauses_grow_while_a_loop_fails_and_begin_anew_after_a_calm_time() -> None:
    clock = Hand()
    loops = SupervisedLoops(clock)
    pauses = []
    for _ in range(7):
        pauses.append(loops.failed("rounds", OSError("x")))
        assert loops.down() == {"rounds": "OSError: x"}
        loops.resumed("rounds")
        clock.time += 1
    assert pauses == [1, 2, 5, 10, 30, 30, 30]
    clock.time += background.CALM_S
    assert loops.failed("rounds", OSError("x")) == 1


def test_a_thread_that_fails_goes_on_and_ends_when_it_is_told(clock: Hand) -> None:
    loops, stopping, tries = SupervisedLoops(clock), threading.Event(), []

    def work() -> None:
        tries.append(1)
        if len(tries) == 5:
            stopping.set()
        raise RuntimeError("can't start new thread")

    thread = threading.Thread(target=loops.keep_here, args=("heartbeat", work, stopping))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(tries) == 5
    assert list(loops.down()) == ["heartbeat"]


def test_a_periodic_job_that_fails_is_done_again_and_counted(clock: Hand) -> None:
    async def case() -> None:
        loops, done = SupervisedLoops(clock), asyncio.Event()
        tries: list[int] = []

        def job() -> None:
            tries.append(1)
            if len(tries) > 2:
                done.set()
            else:
                raise ValueError("odd")

        beat = PeriodicJob(0.001, job, loops, "refusals")
        async with asyncio.timeout(20):
            await done.wait()
        beat.stop()
        assert loops.restarts == {"refusals": 2}

    asyncio.run(case())


def test_a_task_that_fails_is_logged_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise RuntimeError("odd")

    async def case() -> None:
        tasks = BackgroundTasks()
        tasks.spawn(fails())
        await tasks.wait(20)
        await asyncio.sleep(0)
        assert not len(tasks)

    asyncio.run(case())
    assert "a fault of bothost" in caplog.text


def test_one_line_of_a_kind_passes_in_a_minute_and_the_others_are_counted() -> None:
    clock = Hand()
    throttle: Throttle[Any] = Throttle(clock)
    assert [throttle.passes("a"), throttle.passes("a"), throttle.passes("b"), throttle.passes("a")] == [
        0,
        None,
        0,
        None,
    ]
    assert not list(throttle.over())
    clock.time += 60
    assert throttle.passes("a") == 2
    assert list(throttle.over()) == [("b", 0)]
    assert list(throttle.over(everything=True)) == [("a", 0)]
