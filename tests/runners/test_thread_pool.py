"""A bot's threads: begun when needed, as many as allowed, gone when the pool closes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bothost.runners import thread_pool as pool_module
from bothost.runners.thread_pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def threads_of(bot: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"bothost-bot-{bot}-")]


class Batch:
    """Work that waits until it may go, and tells what ran."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.began = threading.Semaphore(0)
        self.done = threading.Semaphore(0)
        self.names: list[str] = []

    def work(self) -> None:
        self.names.append(threading.current_thread().name)
        self.began.release()
        self.go.wait(10)
        self.done.release()

    def take(self, semaphore: threading.Semaphore, count: int) -> None:
        for _ in range(count):
            assert semaphore.acquire(timeout=10)


def join(bot: str) -> None:
    for thread in threads_of(bot):
        thread.join(10)
        assert not thread.is_alive()


def test_threads_begin_lazily_and_never_more_than_the_limit() -> None:
    pool, batch = ThreadPool("lazy", 3), Batch()
    assert threads_of("lazy") == []
    pool.submit(batch.work)
    batch.take(batch.began, 1)
    assert len(threads_of("lazy")) == 1
    for _ in range(9):
        pool.submit(batch.work)
    batch.take(batch.began, 2)
    assert len(threads_of("lazy")) == 3
    assert all(thread.daemon for thread in threads_of("lazy"))
    batch.go.set()
    batch.take(batch.done, 10)
    pool.close()
    join("lazy")
    assert pool.threads == 0


def test_an_idle_thread_is_used_again() -> None:
    pool, batch = ThreadPool("again", 8), Batch()
    batch.go.set()
    for _ in range(20):
        pool.submit(batch.work)
        batch.take(batch.done, 1)
        while not pool._idle:  # the thread is on its way back
            threading.Event().wait(0.0005)
    assert set(batch.names) == {"bothost-bot-again-1"}
    pool.close()
    join("again")


def test_an_idle_thread_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_S", 0.01)
    pool, batch = ThreadPool("idle", 8), Batch()
    batch.go.set()
    pool.submit(batch.work)
    batch.take(batch.done, 1)
    join("idle")
    pool.submit(batch.work)
    batch.take(batch.done, 1)
    assert batch.names == ["bothost-bot-idle-1", "bothost-bot-idle-2"]
    pool.close()
    join("idle")


def test_closing_lets_work_under_way_and_in_line_end_and_runs_the_last_beside_it() -> None:
    pool, batch, last = ThreadPool("close", 1), Batch(), threading.Event()
    pool.submit(batch.work)
    pool.submit(batch.work)
    batch.take(batch.began, 1)
    pool.close(last.set)
    assert last.wait(10)
    batch.go.set()
    batch.take(batch.done, 2)
    join("close")


def test_no_work_is_lost_when_threads_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_S", 0.0001)
    pool = ThreadPool("storm", 4)
    count, done = 5000, threading.Semaphore(0)
    counted: Callable[[], None] = done.release
    for number in range(count):
        pool.submit(counted)
        if number % 7 == 0:
            threading.Event().wait(0.0002)
    for _ in range(count):
        assert done.acquire(timeout=10)
    pool.close()
    join("storm")


def test_a_thread_that_cannot_be_started_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, batch = ThreadPool("starved", 1), Batch()
    batch.go.set()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            try:
                pool.submit(batch.work)
            except RuntimeError:
                continue
            raise AssertionError("it was put in line behind a thread that does not exist")
    pool.submit(batch.work)
    batch.take(batch.done, 1)
    pool.close()
