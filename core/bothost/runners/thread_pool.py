"""Run work in a bot's own daemon threads, which start when there is work, and end after a minute without.

This is not `ThreadPoolExecutor`, because that joins its threads at exit, which outlasts any drain. It is not one pool for all
bots, because quick bots would wait for slow ones.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

THREAD_PREFIX = "bothost-bot-"
"""Threads are named `bothost-bot-NAME-n`; the watchdog knows by that whose they are."""
IDLE_S = 60.0


class ThreadPool:
    """Runs work in at most `limit` threads; what is more waits. `work` must not raise."""

    def __init__(self, bot: str, limit: int) -> None:
        self._bot = bot
        self._limit = limit
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._backlog: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._made = 0
        self._closed = False

    def submit(self, work: Callable[[], None]) -> None:
        """Run it in a thread, the one that was at work last if any is free."""
        with self._lock:
            if self._idle:
                self._idle.pop().wake(work)
            elif self._threads < self._limit:
                self._begin(work)
            else:
                self._backlog.append(work)

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Let idle threads go, and each other one when its work ends; `last` runs in a thread beside those that still work."""
        with self._lock:
            self._closed = True
            for worker in self._idle:
                worker.wake(None)
            self._idle.clear()
            if last is not None:
                self._begin(last)

    @property
    def threads(self) -> int:
        """Return how many threads there are, at work or idle."""
        return self._threads

    def _begin(self, work: Callable[[], None]) -> None:
        self._made += 1
        worker = _Worker(self, work)
        threading.Thread(target=worker.run, name=f"{THREAD_PREFIX}{self._bot}-{self._made}", daemon=True).start()
        # counted only now: a thread that could not be started must not take a place for ever
        self._threads += 1

    def next_of(self, worker: _Worker) -> Callable[[], None] | None:
        """Return the next work of a worker, or None: it waits."""
        with self._lock:
            if self._backlog:
                return self._backlog.popleft()
            if self._closed:
                worker.wake(None)
            else:
                self._idle.append(worker)
            return None

    def retires(self, worker: _Worker) -> bool:
        """Return whether a worker that has waited long may end. It may not if it has just been given work."""
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                return True
            return False

    def ended(self) -> None:
        """Note that a thread has ended."""
        with self._lock:
            self._threads -= 1


class _Worker:
    """One thread's loop. `_awake` is a lock that is held while there is nothing to do: cheaper than an Event."""

    __slots__ = ("_awake", "_pool", "_work")

    def __init__(self, pool: ThreadPool, work: Callable[[], None]) -> None:
        self._pool = pool
        self._work: Callable[[], None] | None = work
        self._awake = threading.Lock()
        self._awake.acquire()

    def wake(self, work: Callable[[], None] | None) -> None:
        """Give it work, or with None let it end; only while it is idle."""
        self._work = work
        self._awake.release()

    def run(self) -> None:
        """Work until there is no more work."""
        work = self._work
        while work is not None:
            work()
            self._work = work = None  # not held while idle: it holds an event
            work = self._pool.next_of(self) or self._wait()
        self._pool.ended()

    def _wait(self) -> Callable[[], None] | None:
        # real time on purpose: when an idle thread ends is seen by nobody
        if not self._awake.acquire(timeout=IDLE_S) and not self._pool.retires(self):
            self._awake.acquire()
        return self._work
