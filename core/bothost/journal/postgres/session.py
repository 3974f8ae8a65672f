"""Use one connection to the shared journal. A connection that raised anything is never used again."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from bothost.errors import JournalAway, JournalError, TurnTaken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

OF_LIMIT = 0.9
"""The server's limit of a statement as a part of ours. It gives up first, so that the statement is known not to have landed."""


class DriverErrors:
    """Turn every error of the driver into JournalAway. The text never holds the URL, because that holds a password.

    asyncpg raises many kinds: its own errors, the server's, those of sockets, and internal ones of a connection that broke in
    the middle of a statement. This is no generator, because every statement enters it.
    """

    def __enter__(self) -> None:
        """Begin to ask the driver."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise TurnTaken for a taken turn, JournalAway for any other exception, and what is of the journal as it is."""
        if isinstance(error, asyncpg.UniqueViolationError):
            raise TurnTaken(f"PostgreSQL: {error}") from error
        if isinstance(error, Exception) and not isinstance(error, JournalError):
            raise JournalAway(f"PostgreSQL: {str(error) or type(error).__name__}") from error


AWAY = DriverErrors()


class DatabaseAddress:
    """A journal's URL as asyncpg takes it, and the time limit of one statement.

    The URL may hold `statement_cache_size`, because pgbouncer in transaction mode needs 0.
    """

    def __init__(self, dsn: str, limit_s: float) -> None:
        parts = urlsplit(dsn)
        query = parse_qsl(parts.query, keep_blank_values=True)
        self.limit_s = limit_s
        self._options: dict[str, Any] = {}
        for name, value in query:
            if name == "statement_cache_size":
                if not value.isdigit():
                    raise JournalError(f"journal: statement_cache_size must be a number, not {value!r}")
                self._options[name] = int(value)
        rest = [(name, value) for name, value in query if name not in self._options]
        self._dsn = urlunsplit(parts._replace(query=urlencode(rest)))

    async def connect(self) -> Session:
        """Open a connection. Raises JournalAway.

        Statements are planned once and not compiled, because to plan or compile them takes longer than to run them. No plan reads
        a whole table, because it may have been made while the table was empty. A process that stops in a transaction loses it, because others wait for its locks. Behind pgbouncer in transaction mode these
        settings cannot be ours.
        """
        with AWAY:
            session = Session(
                await asyncpg.connect(self._dsn, timeout=self.limit_s, command_timeout=self.limit_s, **self._options)
            )
        if self._options.get("statement_cache_size") != 0:
            limit_ms = int(self.limit_s * 1000)
            try:
                await session.execute(
                    f"set plan_cache_mode = force_generic_plan; set jit = off; set enable_seqscan = off; set statement_timeout = {limit_ms * OF_LIMIT:.0f}; "
                    f"set idle_in_transaction_session_timeout = {limit_ms}"
                )
            except BaseException:
                session.terminate()
                raise
        return session


class Session:
    """A connection, used by one operation at a time. Every method raises JournalAway, or TurnTaken if the turn is taken.

    After a method raised anything but TurnTaken, or was cancelled, the connection may be in any state, and is `broken`.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._raised = False

    @property
    def broken(self) -> bool:
        """Return whether no further operation may use it."""
        return self._raised or self._connection.is_closed() or self._connection.is_in_transaction()

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        """Return the rows of a statement."""
        with self:
            rows: list[Any] = await self._connection.fetch(statement, *values)
            return rows

    async def fetchrow(self, statement: str, *values: object) -> Any:
        """Return the first row of a statement, or None."""
        with self:
            return await self._connection.fetchrow(statement, *values)

    async def fetchval(self, statement: str, *values: object) -> Any:
        """Return the first value of the first row, or None."""
        with self:
            return await self._connection.fetchval(statement, *values)

    async def fetchmany(self, statement: str, arguments: Sequence[Sequence[object]]) -> list[Any]:
        """Run a statement for each of many arguments, in one transaction, and return all rows."""
        if len(arguments) == 1:
            return await self.fetch(statement, *arguments[0])
        with self:
            rows: list[Any] = await self._connection.fetchmany(statement, arguments)
            return rows

    async def execute(self, statement: str, *values: object) -> str:
        """Run a statement, and return PostgreSQL's command tag, such as `UPDATE 1`."""
        with self:
            status: str = await self._connection.execute(statement, *values)
            return status

    async def executemany(self, statement: str, arguments: Iterable[Sequence[object]]) -> None:
        """Run a statement for each of many arguments, in one transaction."""
        with self:
            await self._connection.executemany(statement, arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Begin a transaction, and commit it at the end, or roll it back if anything is raised inside."""
        with self:
            transaction = self._connection.transaction()
            await transaction.start()
        try:
            yield self
        except BaseException:
            if not self._raised:
                with self:
                    await transaction.rollback()
            raise
        with self:
            await transaction.commit()

    async def listen(self, channel: str, heard: Any, closed: Any) -> None:
        """Call `heard` at each notification on a channel, and `closed` when the connection has ended."""
        self._connection.add_termination_listener(lambda *_: closed())
        with self:
            await self._connection.add_listener(channel, lambda *_: heard())

    async def close(self) -> None:
        """Close the connection by the protocol, or terminate it if that fails."""
        try:
            with AWAY:
                await self._connection.close(timeout=1.0)
        except JournalAway:
            self.terminate()

    def terminate(self) -> None:
        """Drop the connection without a message to the server. Nothing waits for it."""
        self._raised = True
        self._connection.terminate()

    def __enter__(self) -> None:
        """Begin to ask the server."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise what `AWAY` makes of an exception. Unless that is TurnTaken, the connection is broken: cancelled in the middle, too."""
        if error is not None:
            self._raised = self._raised or not isinstance(error, TurnTaken | asyncpg.UniqueViolationError)
            AWAY.__exit__(kind, error, trace)
