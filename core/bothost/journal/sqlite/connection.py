"""Open the embedded journal's connections: one that writes and commits under a `flock`, and read-only ones beside it."""

from __future__ import annotations

import fcntl
import logging
import os
import select
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bothost.errors import JournalAway, JournalError
from bothost.journal.disk import READ_ONLY, is_full, is_read_only
from bothost.journal.migrations import OLDER, applied_table, missing
from bothost.journal.sqlite.file_guard import MOST_LOG_BYTES, FileGuard, JournalTaken, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bothost.clock import Clock

log = logging.getLogger("bothost.journal")

FILE = "journal.db"
LOCK = "journal.lock"
_OLDEST = (3, 35)
"""The first SQLite with RETURNING."""

POLL_S = 0.0005
LOG_PAGES_KB = 6 << 10
"""The writer's memory for pages. It holds all pages of a usual log, from which the journal is saved if somebody writes over the log."""


def path_of(folder: Path) -> Path:
    """Return the path of a state folder's database."""
    return folder / FILE


def explain(error: BaseException, path: Path) -> str:
    """Return the reason why the journal is away, for the operator."""
    if is_read_only(path.parent):
        return f"{path}: {READ_ONLY}"
    if str(error) == "disk I/O error" and is_full(path.parent):
        return f"{path}: database or disk is full"
    return f"{path}: {error}" if str(error) else f"{path}: {type(error).__name__}"


class WritingConnection:
    """The writing connection. Only one thread uses it.

    Every transaction runs under a `flock` of its own for two reasons. SQLite's busy handler sleeps up to 100 ms at a time
    (worst wait of four processes 435 ms), and SQLite before 3.51.3 may corrupt a file that two connections checkpoint at once.
    """

    def __init__(
        self, folder: Path, clock: Clock, busy_s: float, lock_again: Callable[[], None] = lambda: None
    ) -> None:
        self.folder = folder
        self.path = path_of(folder)
        self.guard = FileGuard(self.path, clock)
        self._lock_again = lock_again
        """Takes the host's and the owner's locks anew if their files were deleted."""
        self._clock = clock
        self._busy_s = busy_s
        self._lock = -1
        self._connection: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        """Return whether there is a connection."""
        return self._connection is not None

    def open(self, *, make: bool) -> None:
        """Connect. With `make`, make a missing journal and migrate an older one. Raises JournalError, JournalAway."""
        if sqlite3.sqlite_version_info < _OLDEST:
            raise JournalError(f"SQLite {sqlite3.sqlite_version} is too old for the journal; 3.35 or newer is needed")
        if not make and not self.path.exists():
            raise JournalAway(f"{self.path}: there is no journal yet")
        try:
            if make:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.folder / LOCK, os.O_RDWR | (os.O_CREAT if make else 0), 0o600)
            if make and not self.path.exists():  # only then: to close it lets go of the locks of other connections
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            with self._locked():
                self._connection = connection = self._connect()
                _set_up(connection)
                self._migrate(connection, make=make)
                self.guard.opened(connection)
                self.guard.leave()
        except (sqlite3.Error, OSError) as error:
            self.disconnect()
            raise JournalAway(explain(error, self.path)) from error
        except JournalError:
            self.disconnect()
            raise

    def close(self) -> None:
        """Disconnect for good. This process has no other connection to the file any more."""
        self.disconnect()
        self.guard.close()

    def disconnect(self) -> None:
        """Close the connection under the lock, because the last one of all empties the log into the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                with self._locked():
                    connection.close()
            except OSError:  # the holder of the lock has the file open, so this is not the last connection
                connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a write transaction, commit it at the end, or roll it back if anything is raised. Raises sqlite3.Error, OSError."""
        connection = self._connection
        assert connection is not None
        with self._locked():
            self.guard.check()
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
            finally:
                self.guard.leave()

    def keep_in_new_file(self, why: JournalTaken) -> None:
        """Save the journal, whose file was taken away, into a new file. `open` opens that next. Raises sqlite3.Error, OSError."""
        connection = self._connection
        if connection is None:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.look_at_locks()
        with self._locked():
            self.guard.keep(connection, why)
        self._connection = None
        os.close(self._lock)
        self._lock = -1

    def look_at_locks(self) -> None:
        """Make the lock files anew if they were deleted, because another host could take them. Raises OSError, JournalAway."""
        try:
            same = os.path.samestat(os.stat(self.folder / LOCK), os.fstat(self._lock))
        except FileNotFoundError:
            same = False
        if not same:
            log.error("%s was deleted under the host: it is made anew", self.folder / LOCK)
            os.close(self._lock)
            self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._lock_again()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._take_lock()
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _take_lock(self) -> None:
        """Wait for the lock, but no longer than for a busy database, because its holder may be frozen. Raises OSError."""
        end = self._clock.boot() + self._busy_s
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.boot() >= end:
                    raise TimeoutError("another process holds the journal's lock") from None
                # it is a real lock of a real process, so no virtual time passes during the wait
                select.select([], [], [], POLL_S)
            else:
                return

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path, isolation_level=None, timeout=self._busy_s, check_same_thread=False, cached_statements=256
        )

    def _migrate(self, connection: sqlite3.Connection, *, make: bool) -> None:
        applied = []
        if connection.execute("select 1 from sqlite_schema where name = 'migration'").fetchone():
            applied = [name for (name,) in connection.execute("select name from migration")]
        elif make:
            connection.execute(applied_table("sqlite"))
        steps = missing("sqlite", applied)
        if steps and not make:
            raise JournalAway(f"{self.path}: {OLDER}")
        if make:
            mark(connection)
        for name, statements in steps:
            connection.execute("begin immediate")
            try:
                for statement in statements:
                    connection.execute(statement)
                now = self._clock.now().isoformat()
                connection.execute("insert into migration (name, applied) values (?, ?)", (name, now))
                connection.execute("commit")
            except BaseException:
                connection.execute("rollback")
                raise


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma secure_delete = on")
    connection.execute("pragma temp_store = memory")
    connection.execute(f"pragma journal_size_limit = {MOST_LOG_BYTES}")
    connection.execute(f"pragma cache_size = -{LOG_PAGES_KB}")


def connect_to_read(path: Path, busy_s: float) -> sqlite3.Connection:
    """Return a connection that cannot write. Any thread may use it, one at a time. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=busy_s, check_same_thread=False
    )


@contextmanager
def savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a part of a transaction that can fail without the rest."""
    connection.execute("savepoint part")
    try:
        yield
    except BaseException:
        # a full disk may have ended the whole transaction, as in a child of test_sqlite_faults
        if connection.in_transaction:  # pragma: no branch
            connection.execute("rollback to part")
            connection.execute("release part")
        raise
    connection.execute("release part")
