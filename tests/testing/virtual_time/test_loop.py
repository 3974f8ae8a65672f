"""The virtual clock moves as far as it is told, exactly, and stands still for everything real."""

from __future__ import annotations

import asyncio
import queue
import random
import socket
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bothost.testing.virtual_time.clock import VirtualClock
from bothost.testing.virtual_time.loop import AbandonedThread, StuckTest
from bothost.testing.virtual_time.outstanding import OutstandingWork
from bothost.testing.virtual_time.sleep import VirtualSleep

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    clock = VirtualClock()
    sleeps = VirtualSleep(clock.loop)
    sleeps.start()
    yield clock
    sleeps.stop()
    clock.loop.close()


def test_time_begins_on_a_monday_morning_and_moves_only_when_told(clock: VirtualClock) -> None:
    assert clock.now() == datetime(2026, 1, 5, 9, tzinfo=UTC)
    time.sleep(0.01)
    assert clock.now() == datetime(2026, 1, 5, 9, tzinfo=UTC)
    clock.advance("1h 30m")
    assert clock.now() == datetime(2026, 1, 5, 10, 30, tzinfo=UTC)
    clock.advance(0.25)
    clock.advance(timedelta(minutes=1))
    assert clock.now() == datetime(2026, 1, 5, 10, 31, 0, 250_000, tzinfo=UTC)


def test_a_long_wait_takes_its_virtual_time_and_no_real_one(clock: VirtualClock) -> None:
    async def slow() -> str:
        await asyncio.sleep(70)
        return "done"

    began, virtual = time.perf_counter(), clock.monotonic()
    assert clock.run(slow()) == "done"
    assert clock.monotonic() - virtual == 70
    assert time.perf_counter() - began < 1


def test_who_waits_for_what_is_left_of_his_time_comes_to_its_end(clock: VirtualClock) -> None:
    """2282.8 s and 0.3 s after the clock's 1000 make 3283.1000000000004: a clock that stops at 3283.1 never gets there."""
    waits = 0

    async def asks_the_clock() -> None:
        nonlocal waits
        end = clock.monotonic() + 0.3
        while clock.monotonic() < end and waits < 100:
            waits += 1
            await asyncio.sleep(end - clock.monotonic())

    def asks_in_a_thread() -> None:
        nonlocal waits
        end, never = clock.boot() + 0.3, threading.Event()
        while clock.boot() < end and waits < 100:
            waits += 1
            clock.wait(never, end - clock.boot())

    async def both() -> None:
        await asyncio.gather(asks_the_clock(), asyncio.to_thread(asks_in_a_thread))

    clock.advance(2282.8)
    clock.run(both())
    assert waits < 10
    assert clock.monotonic() == pytest.approx(3283.1)


def test_run_moves_the_clock_no_further_than_its_work_needs(clock: VirtualClock) -> None:
    seen: list[float] = []

    async def background() -> None:
        while True:
            await asyncio.sleep(10)
            seen.append(clock.monotonic())

    async def work() -> None:
        await asyncio.sleep(25)

    call = clock.loop.create_task(background())
    begun = clock.monotonic()
    clock.run(work())
    assert clock.monotonic() - begun == 25
    assert [when - begun for when in seen] == [10, 20]
    clock.advance("5s")
    assert [when - begun for when in seen] == [10, 20, 30], "what is due at the very end of the way runs"
    call.cancel()
    clock.loop.settle()


def test_set_puts_the_wall_clock_and_leaves_timers_their_distance(clock: VirtualClock) -> None:
    fired: list[datetime] = []
    clock.loop.call_later(60, lambda: fired.append(clock.now()))
    clock.set("2026-03-01T08:00+03:00")
    assert clock.now() == datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert fired == []
    clock.advance("61s")
    assert fired == [datetime(2026, 3, 1, 5, 1, tzinfo=UTC)]
    with pytest.raises(ValueError, match="no zone"):
        clock.set("2026-03-01T08:00")


def test_the_clock_stands_still_while_a_thread_works(clock: VirtualClock) -> None:
    async def work() -> float:
        begun = clock.monotonic()
        asyncio.get_running_loop().call_later(5, lambda: None)
        await asyncio.to_thread(_busy, 0.05)
        return clock.monotonic() - begun

    assert clock.run(work()) == 0


def test_the_clock_stands_still_for_a_writer_thread_under_real_io(clock: VirtualClock) -> None:
    wanted: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()

    def write() -> None:
        while (future := wanted.get()) is not None:
            _busy(0.03)
            clock.loop.call_soon_threadsafe(future.set_result, None)

    thread = threading.Thread(target=write)
    thread.start()

    async def save() -> float:
        begun = clock.monotonic()
        future = asyncio.get_running_loop().create_future()
        with clock.real_io():
            wanted.put(future)
            async with asyncio.timeout(5):
                await future
        return clock.monotonic() - begun

    try:
        assert clock.run(save()) == 0
    finally:
        wanted.put(None)
        thread.join()


def test_work_given_to_a_thread_holds_the_clock_from_that_moment(clock: VirtualClock) -> None:
    jobs: queue.SimpleQueue[object] = queue.SimpleQueue()
    results: list[float] = []

    def pool() -> None:
        _busy(0.03)
        jobs.get()()  # type: ignore[operator]

    thread = threading.Thread(target=pool)
    thread.start()

    async def handler() -> None:
        done = asyncio.get_running_loop().create_future()

        def work() -> None:
            time.sleep(70)
            clock.loop.call_soon_threadsafe(done.set_result, None)

        begun = clock.monotonic()
        jobs.put(clock.in_thread(work))
        await done
        results.append(clock.monotonic() - begun)

    clock.run(handler())
    thread.join()
    assert results == [70]


def test_sleep_in_a_thread_is_virtual_and_exact(clock: VirtualClock) -> None:
    def plain() -> list[float]:
        marks = []
        for _ in range(5):
            time.sleep(61.5)
            marks.append(clock.monotonic())
        return marks

    async def handler() -> list[float]:
        return await asyncio.to_thread(plain)

    begun = clock.monotonic()
    assert [mark - begun for mark in clock.run(handler())] == [61.5, 123, 184.5, 246, 307.5]


def test_a_thread_that_waits_for_the_loop_lets_time_go_on(clock: VirtualClock) -> None:
    async def call() -> str:
        await asyncio.sleep(30)
        return "answer"

    def plain() -> tuple[str, float]:
        answer = clock.result(asyncio.run_coroutine_threadsafe(call(), clock.loop))
        return answer, clock.monotonic()

    async def handler() -> tuple[str, float]:
        return await asyncio.to_thread(plain)

    begun = clock.monotonic()
    assert clock.run(handler()) == ("answer", begun + 30)


def test_a_heartbeat_in_a_thread_beats_in_virtual_time(clock: VirtualClock) -> None:
    beats: list[float] = []
    stop = threading.Event()

    def beat() -> None:
        while not clock.wait(stop, 10):
            _busy(0.002)
            beats.append(clock.monotonic())

    thread = threading.Thread(target=beat)
    begun = clock.monotonic()
    thread.start()
    while not clock.loop._waited_for:
        time.sleep(0.001)
    clock.advance("5m")
    stop.set()
    thread.join()
    assert [when - begun for when in beats] == [10.0 * n for n in range(1, 31)]


def test_sixty_runs_of_interleaved_work_give_one_trace() -> None:
    def trace(seed: int) -> list[tuple[float, int]]:
        clock = VirtualClock()
        dice = random.Random(seed)
        seen: list[tuple[float, int]] = []

        async def event(number: int) -> None:
            for _ in range(4):
                await asyncio.sleep(dice.random() * 20)
                seen.append((clock.monotonic(), number))

        async def all_events() -> None:
            await asyncio.gather(*(event(number) for number in range(30)))

        clock.run(all_events())
        clock.loop.close()
        return seen

    first = trace(7)
    assert all(trace(7) == first for _ in range(60))


def test_a_thread_that_takes_up_its_work_while_dead_threads_are_looked_for_keeps_the_clock_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outstanding = OutstandingWork(lambda: None)
    hold = outstanding.begin(None, "its work")
    everybody, adopted, over = threading.enumerate, threading.Event(), threading.Event()

    def work() -> None:
        outstanding.adopt(hold)
        adopted.set()
        over.wait()

    def just_before() -> list[threading.Thread]:
        living = everybody()
        thread.start()
        adopted.wait()
        return living

    thread = threading.Thread(target=work)
    try:
        monkeypatch.setattr(threading, "enumerate", just_before)
        outstanding.forget_dead_threads()
        monkeypatch.undo()
        assert outstanding
    finally:
        over.set()
        thread.join()
    outstanding.forget_dead_threads()
    assert not outstanding


def test_the_clock_never_jumps_between_a_threads_end_and_its_result() -> None:
    """The race of run_in_executor: "one less outstanding" must come after the result has been handed to the loop."""
    clock = VirtualClock()
    sleeps = VirtualSleep(clock.loop)
    sleeps.start()
    stop = threading.Event()

    def second() -> None:
        while not stop.is_set():
            sum(range(200))

    def plain(delay: float) -> float:
        if delay:
            time.sleep(delay)
        return clock.monotonic()

    async def one(number: int) -> float:
        async with asyncio.timeout(1000):
            return await asyncio.to_thread(plain, (number % 3) * 0.5)

    busy = threading.Thread(target=second)
    busy.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    wrong = 0
    try:
        for number in range(3000):
            before = clock.monotonic()
            ended = clock.run(one(number))
            expected = before + (number % 3) * 0.5
            wrong += not (ended == clock.monotonic() == pytest.approx(expected, abs=1e-6))
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        busy.join()
        sleeps.stop()
        clock.loop.close()
    assert wrong == 0


def test_a_thread_waiting_in_real_time_beyond_the_limit_fails_with_its_place(clock: VirtualClock) -> None:
    clock.loop.real_limit_s = 0.2
    release = threading.Event()

    def handler_of_an_author() -> None:
        release.wait()

    async def run() -> None:
        await asyncio.to_thread(handler_of_an_author)

    with pytest.raises(StuckTest, match=rf"handler_of_an_author at {__file__}:\d+ has taken more than 0.2 s"):
        clock.run(run())
    release.set()


def test_after_a_failure_the_clock_goes_on_as_far_as_it_is_told(clock: VirtualClock) -> None:
    clock.loop.real_limit_s = 0.1
    release = threading.Event()

    async def stuck() -> None:
        await asyncio.to_thread(release.wait)

    with pytest.raises(StuckTest):
        clock.run(stuck())
    release.set()
    begun = clock.monotonic()
    clock.loop.call_later(30, clock.loop.stop)
    clock.advance("1m")
    assert clock.monotonic() - begun == 60
    assert clock.run(asyncio.sleep(5, "done")) == "done"


def test_callbacks_without_end_fail_and_are_named(clock: VirtualClock) -> None:
    clock.loop.real_limit_s = 0.1

    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(StuckTest, match=rf"not come to rest.*\n.*spins at {__file__}"):
        clock.run(spins())


def test_work_that_can_never_end_fails_and_lists_what_waits(clock: VirtualClock) -> None:
    async def forgotten() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckTest, match=rf"forgotten at {__file__}"):
        clock.run(forgotten())


def test_a_long_sleep_on_the_loop_fails_with_its_place(clock: VirtualClock) -> None:
    async def bad() -> None:
        time.sleep(0.3)

    with pytest.raises(AssertionError, match=rf"bad at {__file__}:\d+ blocks the event loop with time.sleep\(0.3\)"):
        clock.run(bad())


def test_a_name_bound_by_from_import_is_exchanged_and_put_back() -> None:
    import types

    module = types.ModuleType("author")
    module.sleep = time.sleep  # type: ignore[attr-defined]
    clock = VirtualClock()
    sleeps = VirtualSleep(clock.loop)
    sleeps.start()
    sleeps.exchange([module])

    async def handler() -> None:
        await asyncio.to_thread(module.sleep, 40)

    begun = clock.monotonic()
    clock.run(handler())
    assert clock.monotonic() - begun == 40
    sleeps.stop()
    clock.loop.close()
    assert module.sleep is time.sleep


def test_sleepers_are_let_go_when_the_loop_closes() -> None:
    clock = VirtualClock()
    sleeps = VirtualSleep(clock.loop)
    sleeps.start()
    ended: list[type[BaseException]] = []

    def plain() -> None:
        try:
            time.sleep(1000)
        except BaseException as error:
            ended.append(type(error))
            raise

    async def start() -> threading.Thread:
        thread = threading.Thread(target=_quietly, args=(clock.in_thread(plain),))
        thread.start()
        return thread

    thread = clock.run(start())
    sleeps.stop()
    clock.loop.close()
    thread.join(5)
    assert ended == [AbandonedThread]


def test_a_socket_of_the_authors_own_gets_its_grace(clock: VirtualClock) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        _busy(0.1)
        connection.sendall(b"late\n")
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection(*server.getsockname())
        async with asyncio.timeout(5):
            line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line

    begun = clock.monotonic()
    assert clock.run(ask()) == b"late\n"
    assert clock.monotonic() == begun
    thread.join()
    server.close()


def test_inside_a_running_loop_it_refuses_with_advice(clock: VirtualClock) -> None:
    async def test() -> None:
        with pytest.raises(RuntimeError, match="plain `def test_"):
            clock.run(asyncio.sleep(1))

    asyncio.run(test())


def _busy(real_s: float) -> None:
    threading.Event().wait(real_s)


def _quietly(work: object) -> None:
    try:
        work()  # type: ignore[operator]
    except AbandonedThread:
        return
