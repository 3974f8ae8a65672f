"""The heartbeat of an owner of the shared journal: a thread with a connection of its own, which no busy loop can starve."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from bothost.journal.owner_locks import place_id
from bothost.journal.postgres.pool import AWAY, options_of
from bothost.journal.postgres.statements import BEAT, FORGET_OWNER, RUNNING

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.journal.entry import JournalTiming
    from bothost.journal.held_claims import HeldClaims

log = logging.getLogger("bothost.journal")


@dataclass(frozen=True, slots=True)
class OwnerIdentity:
    """An owner, and the state folder in which its lock file lies."""

    owner: str
    folder: Path


class Heartbeat:
    """`lease_end` (boot clock) and `cancelled` are written in the thread and read on the loop."""

    def __init__(
        self, dsn: str, identity: OwnerIdentity, held: HeldClaims, clock: Clock, timing: JournalTiming
    ) -> None:
        self._held = held
        self._dsn, self._options = options_of(dsn)
        self._identity = identity
        self._clock = clock
        self._timing = timing
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self.lease_end = 0.0
        self.cancelled: frozenset[str] = frozenset()

    def start(self) -> None:
        """Beat from now on."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._clock.in_thread(self._run), name="bothost-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sign off and end the thread. Blocks; not for the loop's thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.lease_end = 0.0

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            pause_s = self._timing.beat_s
            while not self._clock.wait(self._stop, pause_s):
                pause_s = self._timing.beat_s if loop.run_until_complete(self._try()) else self._timing.retry_beat_s
            loop.run_until_complete(self._sign_off())
        finally:
            loop.close()

    async def _try(self) -> bool:
        began = self._clock.boot()
        try:
            async with asyncio.timeout(self._timing.commit_s):
                if self._connection is None:
                    self._connection = await asyncpg.connect(self._dsn, **self._options)
                await self.beat(self._connection, began)
        except AWAY as error:
            log.warning("no heartbeat: PostgreSQL: %s", str(error) or type(error).__name__)
            self._drop()
            return False
        return True

    async def beat(self, connection: Any, began: float) -> None:
        """Renew the lease once on this connection."""
        timing, identity = self._timing, self._identity
        self._held.look()
        async with connection.transaction():
            await connection.execute(BEAT, identity.owner, place_id(identity.folder), timing.lease_s)
            rows = await connection.fetch(RUNNING, identity.owner)
        self._held.compare({row[0]: row[1] for row in rows})
        self.cancelled = frozenset(row[0] for row in rows if row[2])
        self.lease_end = began + timing.lease_s

    async def _sign_off(self) -> None:
        try:
            async with asyncio.timeout(self._timing.commit_s):
                if self._connection is not None:
                    await self._connection.execute(FORGET_OWNER, self._identity.owner)
                    await self._connection.close()
        except AWAY as error:
            log.warning(
                "could not sign off from the journal, so others wait for its lease to end: PostgreSQL: %s",
                str(error) or type(error).__name__,
            )
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
