"""Measure the journal: CPU of a new event written behind, durable writes, claims. `python -m bench.journal [events]`.

Figures are of the whole process (all threads), less what the same loop costs without the journal.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from bothost.clock import SystemClock
from bothost.journal.entry import Entry
from bothost.journal.sqlite.journal import SqliteJournal

SPIN = 2000
"""Turns of a loop in Python that stand for a host's own work: some 100 µs an event, so that one core is full."""


def event(number: int, owner: str, size: int) -> Entry:
    """Return a claimed event of one of many tasks."""
    task = 10_000_000 + number * 7919 % 200_000
    return Entry(
        id=f"approvals:{task}:comment:{size}{number:09d}", bot="approvals", task=task, turn=str(task), state="running",
        fence=1, owner=owner, comment=1_000_000_000 + number, seen=1, seen_at=1.7e9 + number, created=1.7e9 + number,
        updated=1.7e9 + number, limit_s=960.0,
    )  # fmt: skip


def spin() -> int:
    """Do a host's own work."""
    done = 0
    for turn in range(SPIN):
        done += turn * turn
    return done


async def behind(store: SqliteJournal | None, count: int, size: int) -> tuple[float, float]:
    """Return the CPU in µs of one event (claim and outcome noted) on a full core: of all threads, and of the first note alone."""
    body = b"b" * size
    owner = store.owner if store else "nobody"
    cpu, own = time.process_time(), 0.0
    for number in range(count):
        entry = event(number, owner, size)
        step = time.thread_time()
        if store:
            store.note(entry, body)
        own += time.thread_time() - step
        spin()
        entry.state, entry.answer, entry.delivered, entry.status, entry.runs = (
            "answered",
            b'{"text":"Hello"}',
            True,
            200,
            1,
        )
        if store:
            store.note(entry)
        if number % 10 == 9:
            await asyncio.sleep(0)
    if store:
        await store.find("nothing")
    return (time.process_time() - cpu) / count * 1e6, own / count * 1e6


async def durable(store: SqliteJournal, count: int, at_once: int) -> tuple[float, float, float]:
    """Await claims, and return p50 and p99 in ms, and claims a second."""
    took: list[float] = []
    numbers = iter(range(count))

    async def queue() -> None:
        for number in numbers:
            entry = msgspec.structs.replace(event(number, "", at_once), fence=0, owner="", turn=None)
            began = time.perf_counter()
            word, _ = await store.claim(entry, b"b" * 1500)
            assert word == "claimed"
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(queue() for _ in range(at_once)))
    speed = count / (time.perf_counter() - began)
    took.sort()
    return took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000, speed


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sys.setswitchinterval(0.001)
        for size in (1500, 22_000, 150_000):
            bare, _ = await behind(None, count, 0)
            store = SqliteJournal(Path(folder) / str(size), SystemClock(), claims_first=False)
            await store.open()
            some = min(count, 600_000_000 // size)
            cpu, own = await behind(store, some, size)
            print(f"behind, {size:>6} B: {cpu - bare:6.1f} us of CPU an event, {own:.1f} of it in the first note")
            await store.close()
        store = SqliteJournal(Path(folder) / "durable", SystemClock(), claims_first=True)
        await store.open()
        for at_once in (1, 64):
            p50, p99, speed = await durable(store, 2000 if at_once == 1 else 20_000, at_once)
            print(f"durable claim, {at_once:>2} at once: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {speed:.0f}/s")
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
