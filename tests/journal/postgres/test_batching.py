"""Many requests in one round trip: who has given up, who is refused, what waits for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bothost.journal.postgres.batching import BatchedCalls


class RoundTrips:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def flush(self, items: list[str]) -> Sequence[str]:
        self.seen.append(items)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [item.upper() for item in items]


async def asked(trips: RoundTrips, *items: str) -> list[asyncio.Task[str]]:
    """The first is under way, the others wait."""
    line = BatchedCalls(trips.flush, lambda item: item[0])
    tasks = []
    for item in items:
        tasks.append(asyncio.create_task(line.ask(item)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return tasks


def test_what_is_asked_meanwhile_travels_together_but_no_two_of_one_key() -> None:
    async def scene() -> None:
        trips = RoundTrips()
        tasks = await asked(trips, "a1", "b1", "c1", "b2")
        trips.gate.set()
        assert await asyncio.gather(*tasks) == ["A1", "B1", "C1", "B2"]
        assert trips.seen == [["a1"], ["b1", "c1"], ["b2"]]

    asyncio.run(scene())


def test_who_gave_up_before_it_travelled_is_left_out() -> None:
    async def scene() -> None:
        trips = RoundTrips()
        first, given_up, third = await asked(trips, "a1", "b1", "c1")
        given_up.cancel()
        trips.gate.set()
        assert await asyncio.gather(first, third) == ["A1", "C1"]
        assert trips.seen == [["a1"], ["c1"]]

    asyncio.run(scene())


@pytest.mark.parametrize("error", [None, ValueError("no")])
def test_who_gives_up_while_it_travels_costs_the_others_nothing(error: Exception | None) -> None:
    async def scene() -> None:
        trips = RoundTrips()
        trips.error = error
        first, given_up, third = await asked(trips, "a1", "b1", "c1")
        trips.gate.set()
        trips.gate = asyncio.Event()
        await asyncio.wait([first])
        assert trips.seen[-1] == ["b1", "c1"]
        given_up.cancel()
        trips.gate.set()
        ended = await asyncio.gather(first, third, return_exceptions=True)
        assert ended == (["A1", "C1"] if error is None else [error, error])

    asyncio.run(scene())
