"""A siege: hosts under load, faults at random, and at the end every event accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import asyncpg
from tests.kills.siege import Siege
from tests.siege.faults import PIDS
from tests.siege.proxy import StoppableProxy

from bothost.clock import SystemClock
from bothost.journal import open_journal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.postgres_server import PostgresServer
    from tests.siege.faults import Fault

    from bothost.journal import Journal


class Field:
    """Where a siege takes place: hosts, a way to the database, and what was done. Used on one loop."""

    def __init__(self, folder: Path, seed: int, server: PostgresServer | None) -> None:
        self.rng = Random(seed)
        self.folder = folder
        self._server = server
        self.url = server.new_database() if server is not None else ""
        self.database = self.url.rpartition("/")[2]
        self.done: Counter[str] = Counter()
        self.touched: set[int] = set()
        """Tasks in which an operator acted: whether they have a comment is his doing."""

    @property
    def server(self) -> PostgresServer:
        """The database's server."""
        assert self._server is not None
        return self._server

    async def stand(self, faults: Sequence[Fault], seconds: float, *, hosts: int = 1, processes: int = 1) -> None:
        """Do one fault after the other for so long, let everything come to rest, and judge."""
        journal = ""
        if self._server is not None:
            self.proxy = StoppableProxy(self.server.port)
            await self.proxy.start()
            journal = self.url.replace(f":{self.server.port}/", f":{self.proxy.port}/")
        self.siege = Siege(self.folder, self.rng.randrange(1 << 30), journal=journal, hosts=hosts, processes=processes)
        try:
            await self.siege.begin()
            await self._faults(faults, seconds)
            await self.siege.finish(self.touched)
            self._look_at_logs()
        finally:
            await self.siege.end()
            for group in PIDS.glob(f"bothost-siege-{os.getpid()}"):
                with contextlib.suppress(OSError):  # a process of it has not gone yet
                    group.rmdir()
            if self._server is not None:
                await self.proxy.close()

    async def _faults(self, faults: Sequence[Fault], seconds: float) -> None:
        now = asyncio.get_running_loop().time
        end = now() + seconds
        waiting: list[Fault] = []
        while now() < end:
            if not waiting:
                waiting = self.rng.sample(list(faults), len(faults))
            fault = waiting.pop()
            self.done[fault.__name__] += 1
            await fault(self)
            await asyncio.sleep(self.rng.uniform(0.2, 2.0))

    async def sql(self, statement: str, url: str = "") -> None:
        """Run a statement on the database (or at `url`), past the proxy; it may be away."""
        try:
            connection = await asyncpg.connect(url or self.url, timeout=5)
        except (asyncpg.PostgresError, OSError, TimeoutError):
            return
        try:
            await connection.execute(statement)
        except (asyncpg.PostgresError, OSError):
            return
        finally:
            connection.terminate()

    async def visitor(self) -> Journal:
        """The journal as the command line opens it."""
        folder = self.siege.sites[0].folder / "state"
        store = open_journal(self.url, folder, SystemClock(), claims_first=True, readonly=True)
        await store.open()
        return store

    def _look_at_logs(self) -> None:
        """No step and no loop of any host has met a fault of ours."""
        for site in self.siege.sites:
            for path in sorted(site.folder.glob("log-*")):
                for line in path.read_text("utf-8").splitlines():
                    if "a fault of bothost" in line:
                        self.siege.wrong.append(_short(line))

    def figures(self) -> dict[str, Any]:
        """What happened, for the report."""
        return {"faults": self.done.total(), **self.done, **self.siege.figures(), "by an operator": len(self.touched)}


def _short(line: str) -> str:
    try:
        told = json.loads(line)
    except ValueError:
        return line[:300]
    return f"{told['message'][:120]}: {told.get('trace', '').strip()[-300:]}"
