"""What waits until a change holds on every process: it waits for one that has begun and has not told of itself."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
from tests.journal.journals import JournalMaker

from bothost.operator.presence import FIRST_S, PREFIX, ProcessPresence, named, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.journal import Journal


def told(store: Journal) -> str:
    """What a process says of itself."""
    one = ProcessPresence(
        owner=store.owner, host="north", process="0", pid=1, version="0.1.0", started=store.now(), at=store.now()
    )
    return msgspec.json.encode(one).decode()


def test_a_process_that_begins_is_waited_for_and_none_at_all_is_not(tmp_path: Path) -> None:
    journal = JournalMaker(tmp_path / "state")

    async def begins(store: Journal) -> None:
        async with journal.open(readonly=True) as visitor:
            waiting = asyncio.create_task(wait_until(visitor, lambda _one: True, 20.0))
            looked = asyncio.create_task(asyncio.wait([waiting], timeout=0.5))
            done, _ = await looked
            assert not done, "its process holds the journal"
            await store.control(PREFIX + store.owner, told(store))
            living, behind = await waiting
            assert ([one.host for one in living], behind) == (["north"], [])
            # one that was killed a moment ago and is known to be dead is not waited for
            await store.control(PREFIX + "killed", told(store).replace(store.owner, "killed").replace("north", "south"))
            living, behind = await wait_until(visitor, lambda one: one.host == "north", 20.0)
            assert ([one.host for one in living], behind) == (["north"], [])

    async def nobody(_store: Journal) -> None:
        """The journal is made, and closed again."""

    async def asks() -> None:
        async with journal.open(readonly=True) as visitor:
            began = time.monotonic()
            assert await wait_until(visitor, lambda _one: True, 20.0) == ([], [])
            assert time.monotonic() - began < FIRST_S

    journal.run(begins)
    journal.sql("delete from control")
    journal.run(nobody)
    asyncio.run(asks())


def test_processes_of_one_name_are_told_apart_by_their_pids() -> None:
    of: Any = {"version": "0.1.0", "started": 0.0, "at": 0.0, "process": "0"}
    found = [
        ProcessPresence(owner=host, host=host.rstrip("2"), pid=pid, **of) for pid, host in enumerate(["n", "n2", "s"])
    ]
    assert named(found) == "n/0 (pid 0), n/0 (pid 1), s/0"
    assert named(found[1:]) == "n/0, s/0"
