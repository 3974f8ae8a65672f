"""A host that finds a long line of parked events: it works them off, each once, and its memory stays as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.site import HostSite
from tests.journal.journals import JournalMaker
from tests.journal.test_lists import BOTS, fill
from tests.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.full

PARKED = 20_000
PLUGIN = """
import os, pathlib
RUNS = os.open(str(pathlib.Path(__file__).parent / "runs"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
async def quiet(event):
    os.write(RUNS, f"{event.id}\\n".encode())
"""


@pytest.fixture(params=["sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JournalMaker]:
    if request.param == "sqlite":
        yield JournalMaker(tmp_path / "state")
        return
    server = PostgresServer()
    server.start()
    yield JournalMaker(tmp_path / "state", server.new_database())
    server.close()


def test_twenty_thousand_parked_events_of_two_hundred_bots_run_once_in_flat_memory(
    journal: JournalMaker, tmp_path: Path
) -> None:
    async def prepare() -> None:
        async with journal.open():
            await fill(journal, "ready", PARKED)

    asyncio.run(prepare())
    bots = "\n".join(f"bot{number}: plugin = quiet" for number in range(BOTS))
    host = HostSite(tmp_path, PLUGIN, bots, f"journal = {journal.url}\n" if journal.shared else "")
    try:
        runs = tmp_path / "runs"
        runs.touch()
        host.start()
        host.until(lambda: len(runs.read_text().splitlines()) > PARKED / 10)
        before_mb = memory_mb(host)
        host.until(lambda: len(runs.read_text().splitlines()) >= PARKED, 240.0)
        grown_mb = memory_mb(host) - before_mb
        assert host.stop() == 0
    finally:
        host.end()
    ran = runs.read_text().split()
    assert len(ran) == len(set(ran)) == PARKED
    assert grown_mb < 25, grown_mb
    left = journal.sql("select state, count(*) from {s}delivery group by state")
    assert left == [("answered", PARKED)]


def memory_mb(host: HostSite) -> float:
    """What the host's process holds."""
    assert host.process is not None
    pages = int(Path(f"/proc/{host.process.pid}/statm").read_text("ascii").split()[1])
    return pages * 4096 / 1e6
