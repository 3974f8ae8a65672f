"""Hold connections to the shared journal: a few for this process's work, and one that listens for hints."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway, JournalError
from bothost.journal.migrations import OLDER, applied_table, missing
from bothost.journal.postgres.session import AWAY
from bothost.journal.postgres.statements import CHANNEL, LOCK, SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bothost.background import SupervisedLoops
    from bothost.clock import Clock
    from bothost.journal.postgres.session import DatabaseAddress, Session

log = logging.getLogger("bothost.journal")

MOST = 4
"""The most connections of one process for its work. One more listens, and one more beats."""
IDLE_S = 300.0
"""A connection that was idle longer is not used again, because a firewall on the way may have forgotten it."""
AGAIN_S = 1.0
"""The pause of the listener before it connects again."""


class ConnectionPool:
    """Connections that are opened and used on one loop, each by one operation at a time.

    asyncpg's own pool is not used, because it gives a connection back in any state that an error or a cancellation has left.
    This pool drops every connection that raised anything. Every method raises JournalAway, and calls `failed`, if the database
    cannot be reached.
    """

    def __init__(
        self, address: DatabaseAddress, clock: Clock, loops: SupervisedLoops, failed: Callable[[], None]
    ) -> None:
        self._address = address
        self._clock = clock
        self._loops = loops
        self._failed = failed
        self._open = False
        self._room = asyncio.Semaphore(MOST)
        self._idle: list[tuple[Session, float]] = []
        self._busy: set[Session] = set()
        self._hint = asyncio.Event()
        self._tasks = BackgroundTasks()

    async def open(self, *, make: bool) -> None:
        """Connect, make or migrate the schema, and begin to listen."""
        self._open, self._room = True, asyncio.Semaphore(MOST)
        try:
            async with self.transaction() as session:
                await self._migrate(session, make=make)
        except JournalError:
            await self.close()
            raise
        if make:
            self._tasks.spawn(self._loops.keep("hints", self._listen))

    async def close(self) -> None:
        """Close all connections. Those that are still at work after a while are terminated."""
        self._open = False
        await self._tasks.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._address.limit_s):
                for _ in range(MOST):
                    await self._room.acquire()
        for session in list(self._busy):
            session.terminate()
        idle, self._idle = self._idle, []
        with self._clock.real_io():
            await asyncio.gather(*(session.close() for session, _ in idle))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Session]:
        """Lend a connection to one operation."""
        try:
            with self._clock.real_io():
                room = self._room
                session = await self._take(room)
                try:
                    yield session
                finally:
                    self._give_back(session)
                    room.release()
        except JournalAway:
            self._failed()
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Lend a connection with a transaction that is committed at the end."""
        async with self.connection() as session, session.transaction():
            yield session

    async def _take(self, room: asyncio.Semaphore) -> Session:
        if not self._open:
            raise JournalAway("the journal is not open")
        if self._idle:
            await room.acquire()  # at once, because a connection rests
        else:
            with AWAY:
                async with asyncio.timeout(self._address.limit_s):
                    await room.acquire()
        try:
            session = self._rested() or await self._address.connect()
        except BaseException:
            room.release()
            raise
        self._busy.add(session)
        return session

    def _rested(self) -> Session | None:
        """Return an idle connection that can be used, the last one used first."""
        oldest = self._clock.monotonic() - IDLE_S
        while self._idle:
            session, since = self._idle.pop()
            if not session.broken and since >= oldest:
                return session
            session.terminate()
        return None

    def _give_back(self, session: Session) -> None:
        self._busy.discard(session)
        if session.broken or not self._open:
            session.terminate()
        else:
            self._idle.append((session, self._clock.monotonic()))

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        """Return the rows of one statement, in a transaction of its own."""
        async with self.connection() as session:
            return await session.fetch(statement, *values)

    async def hint(self) -> None:
        """Tell all hosts that an entry is due, at most once for a batch, because NOTIFY takes a lock of the whole cluster."""
        try:
            await self.fetch("select pg_notify($1, '')", CHANNEL)
        except JournalAway:
            log.debug("no hint was sent: the journal is away")

    async def wait_hint(self, seconds: float) -> None:
        """Return at a hint, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._hint.wait()
        except TimeoutError:
            return
        self._hint.clear()

    async def _listen(self) -> None:
        """Keep a connection that listens. While it is away, only the sweep finds due entries."""
        while True:
            with suppress(JournalAway):
                session = await self._address.connect()
                closed = asyncio.Event()
                try:
                    await session.listen(CHANNEL, self._hint.set, closed.set)
                    await closed.wait()
                finally:
                    session.terminate()
            await asyncio.sleep(AGAIN_S)

    async def _migrate(self, session: Session, *, make: bool) -> None:
        if make:
            # a step may take longer on a large journal than any statement of a day's work
            await session.execute("set local statement_timeout = 0")
            await session.execute("select pg_advisory_xact_lock($1)", LOCK)
            if not await session.fetchval("select true from pg_namespace where nspname = $1", SCHEMA):
                await session.execute(f"create schema {SCHEMA}")
            if not await session.fetchval("select to_regclass($1)", f"{SCHEMA}.migration"):
                await session.execute(applied_table("postgres"))
        rows = await session.fetch(f"select name from {SCHEMA}.migration")
        steps = missing("postgres", [row[0] for row in rows])
        if steps and not make:
            raise JournalAway(f"PostgreSQL: {OLDER}")
        for name, statements in steps:
            for statement in statements:
                await session.execute(statement)
            now = self._clock.now().isoformat()
            await session.execute(f"insert into {SCHEMA}.migration (name, applied) values ($1, $2)", name, now)
