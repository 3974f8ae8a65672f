"""kill -9 at any moment under load: no acknowledged event without its reply, no task with two comments."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest
from tests.kills.siege import Siege

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.full

KILLS = int(os.environ.get("BOTHOST_KILLS", "12"))


def besiege(folder: Path, journal: str = "", hosts: int = 1, processes: int = 1) -> None:
    seed = random.randrange(1 << 30)

    async def scene() -> Siege:
        siege = Siege(folder, seed, journal=journal, hosts=hosts, processes=processes)
        try:
            await siege.stand(KILLS)
        finally:
            await siege.end()
        return siege

    siege = asyncio.run(scene())
    print(siege.figures())
    assert siege.wrong == [], f"seed {seed}: {siege.figures()}"
    assert siege.kills == KILLS
    acknowledged = [told for told in siege.told.values() if told.promised]
    assert len(acknowledged) > 2 * KILLS, siege.figures()


def test_one_host_on_the_embedded_journal(tmp_path: Path) -> None:
    besiege(tmp_path)


def test_two_processes_on_the_embedded_journal(tmp_path: Path) -> None:
    besiege(tmp_path, processes=2)


def test_two_hosts_on_the_shared_journal(tmp_path: Path, postgres: PostgresServer) -> None:
    besiege(tmp_path, journal=postgres.new_database(), hosts=2)
