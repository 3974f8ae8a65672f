"""A journal that several owners open, as several processes would: the same tests for both stores."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bothost.clock import SystemClock
from bothost.store import Entry, Store, Timing
from bothost.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

QUICK = Timing(
    lease_s=0.6, beat_s=0.2, retry_beat_s=0.05, sweep_s=0.1, quiet_s=240.0, commit_s=2.0, linger_s=0.005,
    dead_pause_s=5.0, lost_pause_s=30.0,
)  # fmt: skip


BEGAN = time.time()


class Journal:
    """Makes stores on one journal. `claims_first` as in production: always with PostgreSQL."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SystemClock()

    def make(self, timing: Timing = QUICK, *, claims_first: bool = True, readonly: bool = False) -> Store:
        return SqliteStore(self.folder, self.clock, claims_first=claims_first, timing=timing, readonly=readonly)

    @asynccontextmanager
    async def open(
        self, timing: Timing = QUICK, *, claims_first: bool = True, readonly: bool = False
    ) -> AsyncIterator[Store]:
        store = self.make(timing, claims_first=claims_first, readonly=readonly)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    def run(self, work: Callable[[Store], Awaitable[Any]], timing: Timing = QUICK) -> Any:
        """Run `work` with one open store."""

        async def with_store() -> Any:
            async with self.open(timing) as store:
                return await work(store)

        return asyncio.run(with_store())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.full)])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    if request.param == "sqlite":
        yield Journal(tmp_path / "state")
        return
    pytest.skip("PostgreSQL comes next")


@pytest.fixture
def folder_journal(tmp_path: Path) -> Journal:
    """The embedded journal alone."""
    return Journal(tmp_path / "state")


def make_entry(number: int = 1, **changes: Any) -> Entry:
    """A new event of task 7 of the bot `refunds`, unless told otherwise."""
    now = BEGAN
    bot = changes.get("bot", "refunds")
    task = changes.get("task", 7)
    values: dict[str, Any] = {
        "id": f"{bot}:{task}:comment:{number}", "bot": bot, "task": task, "turn": str(task), "comment": number,
        "seen": 1, "seen_at": now, "created": now + number / 1e5, "updated": now, "trace": "",
    }  # fmt: skip
    return Entry(**{**values, **changes})


def parked(number: int = 1, **changes: Any) -> Entry:
    """A parked event, due now."""
    return make_entry(number, **{"state": "ready", "door": "api", "due": BEGAN - 1, **changes})


@pytest.fixture(name="make_entry")
def make_entry_fixture() -> Callable[..., Entry]:
    return make_entry


@pytest.fixture(name="parked")
def parked_fixture() -> Callable[..., Entry]:
    return parked


@pytest.fixture
def quick() -> Timing:
    return QUICK
