"""Renew the lease of an owner of the shared journal, in a thread and on a connection that no busy loop can starve."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost.errors import JournalAway
from bothost.journal.owner_locks import place_id
from bothost.journal.postgres.statements import BEAT, FORGET_OWNER, RUNNING

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.background import SupervisedLoops
    from bothost.clock import Clock
    from bothost.journal.entry import JournalTiming
    from bothost.journal.held_claims import HeldClaims
    from bothost.journal.postgres.session import DatabaseAddress, Session

log = logging.getLogger("bothost.journal")


@dataclass(frozen=True, slots=True)
class OwnerIdentity:
    """An owner, the state folder with its lock file, and the times of its beats."""

    owner: str
    folder: Path
    timing: JournalTiming


class Heartbeat:
    """Renews a lease in a thread. The thread writes `lease_end` (boot clock) and `cancelled`, and the loop reads them."""

    def __init__(
        self,
        address: DatabaseAddress,
        identity: OwnerIdentity,
        held: HeldClaims,
        clock: Clock,
        loops: SupervisedLoops,
    ) -> None:
        self._held = held
        self._address = address
        self._identity = identity
        self._clock = clock
        self._loops = loops
        self._timing = identity.timing
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._session: Session | None = None
        self.lease_end = 0.0
        self.cancelled: frozenset[str] = frozenset()

    def start(self) -> None:
        """Beat from now on."""
        self._stop.clear()
        work = self._clock.in_thread(lambda: self._loops.keep_here("heartbeat", self._run, self._stop))
        self._thread = threading.Thread(target=work, name="bothost-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sign off and end the thread. It blocks, so the loop's thread must not call it."""
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
            self._drop()
            loop.close()

    async def _try(self) -> bool:
        began = self._clock.boot()
        try:
            async with asyncio.timeout(self._timing.commit_s):
                if self._session is None:
                    self._session = await self._address.connect()
                await self.beat(self._session, began)
        except (JournalAway, TimeoutError) as error:
            log.warning("no heartbeat: %s", str(error) or "PostgreSQL does not answer")
            self._drop()
            return False
        return True

    async def beat(self, session: Session, began: float) -> None:
        """Renew the lease once on this connection. `began` is the boot time before the renewal was asked for."""
        timing, identity = self._timing, self._identity
        self._held.look()
        async with session.transaction():
            await session.execute(BEAT, identity.owner, place_id(identity.folder), timing.lease_s)
            rows = await session.fetch(RUNNING, identity.owner)
        self._held.compare({row[0]: row[1] for row in rows})
        self.cancelled = frozenset(row[0] for row in rows if row[2])
        self.lease_end = began + timing.lease_s

    async def _sign_off(self) -> None:
        try:
            async with asyncio.timeout(self._timing.commit_s):
                if self._session is None:  # it ends before its first beat, or the last one failed
                    self._session = await self._address.connect()
                await self._session.execute(FORGET_OWNER, self._identity.owner)
                await self._session.close()
        except (JournalAway, TimeoutError) as error:
            log.warning(
                "could not sign off from the journal, so others wait for its lease to end: %s",
                str(error) or "PostgreSQL does not answer",
            )

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.terminate()
