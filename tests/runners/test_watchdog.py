"""The watchdog names bot, file and line; through a real loop, a real thread, real blocking."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib.util
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bothost import background
from bothost.background import SupervisedLoops
from bothost.clock import SystemClock
from bothost.plugins.attribution import BOT, stack_of
from bothost.runners.watchdog import THREAD_PREFIX, BlockedLoop, Watchdog, bots_by_thread, cpu_by_thread

PLUGIN = """
import asyncio, re, time

def sleeps(seconds):
    time.sleep(seconds)   # line 5

def computes(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

async def handler(what, seconds):
    what(seconds)

async def makes_a_task(seconds):
    await asyncio.create_task(handler(sleeps, seconds))

async def calls_later(seconds):
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, lambda: (sleeps(seconds), done.set_result(None)))
    await done

async def backtracks(seconds):
    re.match(r"(a+)+b", "a" * 26)   # line 24
"""


def load(folder: Path):
    file = folder / "careless.py"
    file.write_text(PLUGIN)
    spec = importlib.util.spec_from_file_location("careless", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def watched(make, clock: SystemClock | None = None) -> list[BlockedLoop]:
    """Run a coroutine as the bot `slow` under a watchdog; what was reported."""
    reports: list[BlockedLoop] = []

    async def scene() -> None:
        watchdog = Watchdog(clock or SystemClock(), reports.append, lambda _lag: None, SupervisedLoops(SystemClock()))
        watchdog.start(asyncio.get_running_loop())

        async def as_bot() -> None:
            BOT.set("slow")
            await make()

        await asyncio.create_task(as_bot())
        watchdog.stop()

    asyncio.run(scene())
    return reports


def named(block) -> list[BlockedLoop]:
    """What was reported of a block. It lasts longer, again and again, until a busy machine lets the watchdog's thread look in time."""
    reports: list[BlockedLoop] = []
    for seconds in (0.6, 1.2, 2.4, 4.8, 9.6):
        reports = reports or watched(lambda seconds=seconds: block(seconds))
    return reports


def test_a_sleeping_handler_is_named_with_file_and_line(tmp_path: Path) -> None:
    careless = load(tmp_path)
    report, *_ = named(lambda seconds: careless.handler(careless.sleeps, seconds))
    assert (report.bot, report.line, report.function) == ("slow", 5, "sleeps")
    assert report.file == str(tmp_path / "careless.py")


def test_a_computing_handler_is_named(tmp_path: Path) -> None:
    careless = load(tmp_path)
    report, *_ = named(lambda seconds: careless.handler(careless.computes, seconds))
    assert (report.bot, report.function) == ("slow", "computes")


def test_a_task_and_a_timer_of_the_plugin_are_the_bots_too(tmp_path: Path) -> None:
    careless = load(tmp_path)
    assert {report.bot for report in named(careless.makes_a_task)} == {"slow"}
    assert {report.bot for report in named(careless.calls_later)} == {"slow"}


def test_c_code_that_keeps_the_interpreters_lock_is_named_afterwards(tmp_path: Path) -> None:
    careless = load(tmp_path)

    async def scene() -> None:
        await asyncio.sleep(0.6)
        pattern = "(a+)+b"
        length = 22
        while True:
            begun = time.thread_time()
            re.match(pattern, "a" * length)
            if time.thread_time() - begun > 0.15:
                break
            length += 1
        careless.__dict__["LENGTH"] = length + 2
        exec(
            compile("async def backtracks(): re.match(r'(a+)+b', 'a' * LENGTH)", careless.__file__, "exec"),
            careless.__dict__,
        )
        for _ in range(3):
            await careless.backtracks()
            await asyncio.sleep(0.3)

    reports = watched(scene)
    assert ("slow", "backtracks") in [(report.bot, report.function) for report in reports]


def test_a_thread_that_kept_the_lock_and_is_through_before_the_watchdog_looks_still_has_its_bot_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, through = threading.Event(), threading.Event()
    reports: list[BlockedLoop] = []

    class Last(SystemClock):
        """The watchdog is the last of those who wait for the interpreter's lock."""

        def wait(self, event: threading.Event, seconds: float) -> bool:
            stopped = super().wait(event, seconds)
            if begun.is_set():
                through.wait()
            return stopped

    def keeps_the_lock() -> None:
        begun.set()
        while time.thread_time() < 0.6:
            sum(range(20_000_000))

    async def scene() -> None:
        watchdog = Watchdog(Last(), reports.append, lambda _lag: None)
        watchdog.start(asyncio.get_running_loop())
        with ThreadPoolExecutor(1, f"{THREAD_PREFIX}slow-1") as pool:
            await asyncio.get_running_loop().run_in_executor(pool, keeps_the_lock)
            through.set()
            for _ in range(300):
                if reports:
                    break
                await asyncio.sleep(0.01)
        watchdog.stop()

    asyncio.run(scene())
    assert [(report.bot, report.file, report.holds) for report in reports] == [("slow", "", True)]
    assert "[bot:slow] kept the interpreter's lock" in caplog.text
    assert "at a place that it has left since" in caplog.text


def test_the_hosts_own_code_and_a_waiting_loop_are_blamed_on_nobody() -> None:
    assert watched(lambda: asyncio.sleep(0.6)) == []


def test_who_called_the_loop_is_not_blamed_for_what_blocks_it() -> None:
    async def of_the_hosts_own() -> None:
        # no code of a plugin on the stack, but the bot's context; this test stands around the loop, as the command line does
        asyncio.get_running_loop().call_soon(time.sleep, 0.6)
        await asyncio.sleep(0.1)

    assert watched(of_the_hosts_own) == []


class Slipping(SystemClock):
    """Fails the watchdog's thread, so many times."""

    slips = 2

    def monotonic(self) -> float:
        if self.slips and threading.current_thread().name == "bothost-watchdog":
            self.slips -= 1
            raise OverflowError("the clock slipped")
        return time.monotonic()


def test_a_fault_in_a_look_is_logged_and_the_watchdog_looks_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "PAUSES_S", (0.1,))
    careless = load(tmp_path)

    async def later() -> None:
        await asyncio.sleep(0.5)
        await careless.handler(careless.sleeps, 0.6)

    assert [report.function for report in watched(later, Slipping())] == ["sleeps"]
    faults = [record for record in caplog.records if "a fault of bothost in the loop watchdog" in record.getMessage()]
    assert len(faults) == 2


def test_one_place_is_named_once_a_minute_and_every_block_counted_in_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    careless = load(tmp_path)

    async def twice() -> None:
        for _ in range(2):
            await careless.handler(careless.sleeps, 0.8)
            await asyncio.sleep(0.15)

    reports = watched(twice)
    assert len(reports) == 2
    assert all(report.seconds >= 0.6 for report in reports)
    assert [record.bot for record in caplog.records if "careless.py:5 in sleeps" in record.getMessage()] == ["slow"]


@pytest.mark.full
@pytest.mark.alone
def test_many_threads_that_compute_are_not_taken_for_one_that_keeps_the_lock(tmp_path: Path) -> None:
    careless = load(tmp_path)

    async def scene() -> None:
        work = [asyncio.to_thread(careless.computes, 2.0) for _ in range(12)]
        await asyncio.gather(*work)

    assert [report for report in watched(scene) if report.holds] == []


@pytest.mark.full
@pytest.mark.alone
def test_under_uvloop_the_handler_is_named_too(tmp_path: Path) -> None:
    import uvloop

    careless = load(tmp_path)
    reports: list[BlockedLoop] = []

    async def scene() -> None:
        watchdog = Watchdog(SystemClock(), reports.append, lambda _lag: None)
        watchdog.start(asyncio.get_running_loop())
        context = contextvars.copy_context()
        context.run(BOT.set, "slow")
        handler = careless.handler(careless.sleeps, 0.6)
        await asyncio.get_running_loop().create_task(handler, name=f"{THREAD_PREFIX}slow", context=context)
        watchdog.stop()

    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(scene())
    assert [(report.bot, report.line) for report in reports] == [("slow", 5)]


def test_a_stopped_process_is_blamed_on_nobody(tmp_path: Path) -> None:
    script = tmp_path / "stopped.py"
    script.write_text(
        textwrap.dedent("""
        import asyncio, sys
        from bothost.clock import SystemClock
        from bothost.runners.watchdog import Watchdog
        from bothost.plugins.attribution import BOT

        async def scene():
            BOT.set("slow")
            watchdog = Watchdog(SystemClock(), lambda report: print("blamed", report), lambda lag: None)
            watchdog.start(asyncio.get_running_loop())
            print("ready", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            await asyncio.sleep(0.5)
            print("done", flush=True)

        asyncio.run(scene())
        """)
    )
    process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.0)  # the process must really stand still for a second
    os.kill(process.pid, signal.SIGCONT)
    out, _ = process.communicate("go\n", timeout=20)
    assert out == "done\n"


def test_pool_threads_tell_their_bot() -> None:
    over = threading.Event()
    threads = [threading.Thread(target=over.wait, name=name) for name in (f"{THREAD_PREFIX}my-bot-3", "another")]
    for thread in threads:
        thread.start()
    try:
        told = bots_by_thread()
        assert [told.get(thread.ident or 0) for thread in threads] == ["my-bot", None]
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_frames_of_another_thread_are_read_without_a_pass_of_the_garbage_collector() -> None:
    # what a pass finalizes would let that thread run on, while its frames are being read
    over, inside = threading.Event(), threading.Event()
    passes: list[str] = []

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        else:
            inside.set()
            over.wait()

    def noted(phase: str, _info: object) -> None:
        frame = sys._getframe(1)
        passes.append(f"{phase} in {frame.f_code.co_name}")

    thread = threading.Thread(target=deep, args=(400,))
    thread.start()
    usual = gc.get_threshold()
    try:
        inside.wait()
        gc.callbacks.append(noted)
        gc.set_threshold(1)
        stack = stack_of(thread.ident or 0)
    finally:
        gc.set_threshold(*usual)
        gc.callbacks.remove(noted)
        over.set()
        thread.join()
    names = [frame.f_code.co_name for frame in stack]
    assert names.count("deep") == 401
    assert names[-1] == "_bootstrap"
    assert passes.count("start in stack_of") < 20, "each of 401 frames is made an object, which would be a pass each"
    assert gc.isenabled()
    assert stack_of(1) == []


def test_cpu_times_are_read_without_giving_the_interpreters_lock_away() -> None:
    # who gives it away may have it back only when the next C code that keeps it has ended
    usual_s = sys.getswitchinterval()
    turns, over = 0, False

    def compute() -> None:
        nonlocal turns
        while not over:
            turns += 1

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        sys.setswitchinterval(1.0)
        before = turns
        read = cpu_by_thread()
        assert turns == before
        sys.setswitchinterval(usual_s)
        while cpu_by_thread()[thread.ident or 0] <= read[thread.ident or 0]:
            pass
    finally:
        sys.setswitchinterval(usual_s)
        over = True
        thread.join()
    assert thread.ident not in cpu_by_thread()
