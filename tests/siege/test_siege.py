"""Everything goes wrong at once, at random: no acknowledged event without its reply, no second first run, no second comment.

By hand: BOTHOST_SIEGE_SECONDS=1800 BOTHOST_SIEGE_LONGEST=25 pytest tests/siege -m full -s; BOTHOST_SIEGE_HOSTS and
BOTHOST_SIEGE_PROCESSES change how many there are on the shared journal, BOTHOST_SIEGE_SEED repeats a choice of faults.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest
from tests.postgres_server import PostgresServer
from tests.siege import faults
from tests.siege.field import Field

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.full

SECONDS = float(os.environ.get("BOTHOST_SIEGE_SECONDS", "12"))
SEED = os.environ.get("BOTHOST_SIEGE_SEED", "")


def besiege(
    folder: Path, server: PostgresServer | None, kinds: Sequence[faults.Fault], hosts: int = 1, processes: int = 1
) -> None:
    seed = int(SEED) if SEED else random.randrange(1 << 30)
    field = Field(folder, seed, server)
    asyncio.run(field.stand(kinds, SECONDS, hosts=hosts, processes=processes))
    print(seed, field.figures())
    assert field.siege.wrong == [], f"seed {seed}: {field.figures()}"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_hosts_on_the_shared_journal(
    tmp_path: Path, postgres: PostgresServer, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    monkeypatch.setenv("BOTHOST_SIEGE_LOOP", loop)
    hosts = int(os.environ.get("BOTHOST_SIEGE_HOSTS", "2" if loop == "asyncio" else "1"))
    processes = int(os.environ.get("BOTHOST_SIEGE_PROCESSES", "1" if loop == "asyncio" else "2"))
    besiege(tmp_path, postgres, faults.ON_HOSTS + faults.ON_DATABASE, hosts, processes)


def test_processes_on_the_embedded_journal(tmp_path: Path) -> None:
    besiege(tmp_path, None, faults.ON_HOSTS + faults.ON_FILE, processes=2)


def test_one_process_on_the_embedded_journal(tmp_path: Path) -> None:
    besiege(tmp_path, None, faults.ON_HOSTS + faults.ON_FILE)
