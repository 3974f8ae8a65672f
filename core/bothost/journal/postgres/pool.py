"""Connections to the shared journal: a small pool, one that listens for hints, and what counts as away."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from bothost.errors import JournalAway, JournalError, TurnTaken
from bothost.journal.migrations import OLDER, applied_table, missing
from bothost.journal.postgres.statements import CHANNEL, LOCK, SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from bothost.clock import Clock

log = logging.getLogger("bothost.journal")

MOST = 4
"""Connections of one process for its work; one more listens, one more beats."""
AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, EOFError)


def options_of(dsn: str) -> tuple[str, dict[str, Any]]:
    """The URL as asyncpg takes it, and `statement_cache_size` out of it: 0 is needed behind pgbouncer in transaction mode."""
    parts = urlsplit(dsn)
    query = parse_qsl(parts.query, keep_blank_values=True)
    options: dict[str, Any] = {}
    for name, value in query:
        if name == "statement_cache_size":
            if not value.isdigit():
                raise JournalError(f"journal: statement_cache_size must be a number, not {value!r}")
            options[name] = int(value)
    rest = [(name, value) for name, value in query if name not in options]
    return urlunsplit(parts._replace(query=urlencode(rest))), options


@contextmanager
def away() -> Iterator[None]:
    """What the database raises becomes JournalAway; the text never holds the URL, for that holds a password."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise TurnTaken(f"PostgreSQL: {error}") from error
    except AWAY as error:
        raise JournalAway(f"PostgreSQL: {str(error) or type(error).__name__}") from error


class ConnectionPool:
    """Opened and used on one loop. Every method raises JournalAway where the database cannot be reached."""

    def __init__(self, dsn: str, clock: Clock, limit_s: float, failed: Callable[[], None]) -> None:
        self._dsn, self._options = options_of(dsn)
        self._clock = clock
        self._limit_s = limit_s
        self._failed = failed
        self._pool: asyncpg.Pool | None = None
        self._hint = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    async def open(self, *, make: bool) -> None:
        """Connect; make or migrate the schema; begin to listen."""
        with away(), self._clock.real_io():
            self._pool = await asyncpg.create_pool(
                self._dsn, min_size=1, max_size=MOST, timeout=self._limit_s, command_timeout=self._limit_s,
                max_inactive_connection_lifetime=300.0, init=self._prepare, **self._options,
            )  # fmt: skip
        try:
            async with self.transaction() as connection:
                await self._migrate(connection, make=make)
        except JournalError:
            await self.close()
            raise
        if make:
            self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def _prepare(self, connection: Any) -> None:
        """Statements are planned once, and not compiled: either takes longer than doing what they say.

        Behind pgbouncer in transaction mode the session is not ours to set.
        """
        if self._options.get("statement_cache_size") != 0:
            await connection.execute("set plan_cache_mode = force_generic_plan; set jit = off")

    async def close(self) -> None:
        """Close all connections, hard where the server does not answer."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(self._limit_s):
                    await pool.close()
            except AWAY:
                pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for a while."""
        if self._pool is None:
            raise JournalAway("the journal is not open")
        try:
            with away(), self._clock.real_io():
                async with self._pool.acquire(timeout=self._limit_s) as connection:
                    yield connection
        except TurnTaken:
            raise
        except JournalAway:
            self._failed()
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection with a transaction that is committed at the end."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        """The rows of one statement, in a transaction of its own."""
        async with self.connection() as connection:
            rows: list[Any] = await connection.fetch(statement, *values)
            return rows

    async def hint(self) -> None:
        """Tell all hosts that something is due: at most once a batch, for NOTIFY takes a lock of the whole cluster."""
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
        """Keep a connection that listens; while it is away the sweep alone finds what is due."""
        while True:
            closed = asyncio.Event()
            try:
                connection = await asyncpg.connect(self._dsn, timeout=self._limit_s, **self._options)
            except AWAY:
                await asyncio.sleep(1.0)
                continue
            try:
                connection.add_termination_listener(lambda *_, closed=closed: closed.set())
                await connection.add_listener(CHANNEL, lambda *_: self._hint.set())
                await closed.wait()
            except AWAY:  # pragma: no cover - it went away between the connection and LISTEN: a window of a millisecond
                await asyncio.sleep(1.0)
            finally:
                connection.terminate()

    async def _migrate(self, connection: Any, *, make: bool) -> None:
        if make:
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
            if not await connection.fetchval("select true from pg_namespace where nspname = $1", SCHEMA):
                await connection.execute(f"create schema {SCHEMA}")
            if not await connection.fetchval("select to_regclass($1)", f"{SCHEMA}.migration"):
                await connection.execute(applied_table("postgres"))
        rows = await connection.fetch(f"select name from {SCHEMA}.migration")
        steps = missing("postgres", [row[0] for row in rows])
        if steps and not make:
            raise JournalAway(f"PostgreSQL: {OLDER}")
        for name, statements in steps:
            for statement in statements:
                await connection.execute(statement)
            now = self._clock.now().isoformat()
            await connection.execute(f"insert into {SCHEMA}.migration (name, applied) values ($1, $2)", name, now)
