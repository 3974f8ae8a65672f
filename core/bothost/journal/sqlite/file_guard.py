"""Notice that the journal's files were deleted, replaced, cut or written over under the host, and save it into a new file.

A process goes on writing to a file that has no name any more. All that was acknowledged since then would be lost when the
process ends. So each transaction first compares the files at their paths with those that were opened, which costs two calls
of `stat`. The old connection can still read a deleted file, so the new file gets the whole journal.

Bytes that somebody else writes into the files change their times of change, but not the head of the log's index, which every
transaction changes. Then the files are looked through. The connection still holds the pages of the log in memory.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from bothost.errors import JournalAway
from bothost.journal.sqlite import log_index

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.clock import Clock

log = logging.getLogger("bothost.journal")

MOST_LOG_BYTES = 16 << 20
"""The size to which the write-ahead log is cut after it grew beyond it, beside a long read or in a round of retention."""
SAID_S = 60.0
"""The time for which /readyz fails after a journal was saved into a new file, so that a monitor sees it."""
_INDEX_HEAD_BYTES = 48
_abandoned: list[sqlite3.Connection] = []
"""Connections to files without a name. They stay open, because to close one would delete the new file's log of the same name."""


class JournalTaken(JournalAway):
    """The journal's file was deleted, replaced, cut or written over under the host."""


class FileGuard:
    """Compares the journal's files with those that were opened and left. Any thread may call `damage`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._clock = clock
        self._index = -1
        """The log's index, open for as long as connections are: to close a file of SQLite lets go of all its locks."""
        self._found: dict[Path, tuple[int, int, int]] = {}
        self._left: tuple[dict[Path, int], bytes] | None = None
        self._said = ""
        self._said_until = 0.0
        self._generation = (0, 0)

    def opened(self, connection: sqlite3.Connection) -> None:
        """Note the files at the paths as those of the present connection. Raises sqlite3.Error, OSError."""
        self._generation = _generation(connection)
        self._found = {}
        self._left = None
        for path in (self._path, self._log):
            if (found := _identity(path)) is not None:
                self._found[path] = found
        index = self._path.with_name(self._path.name + "-shm")
        if self._index < 0 or not os.path.samestat(os.fstat(self._index), os.stat(index)):
            self.close()
            self._index = os.open(index, os.O_RDONLY)

    def close(self) -> None:
        """Close the log's index, when this process has no connection to it any more."""
        if self._index >= 0:
            os.close(self._index)
            self._index = -1

    def check(self) -> None:
        """Raise JournalTaken if a file is not the one that was opened and left. The caller holds the journal's lock."""
        self._compare()
        left = self._left
        if left is None or (changed := self._as_it_is()) == left:
            return
        index = log_index.parse(changed[1])
        if changed[1] != left[1]:  # another process has written
            if not log_index.ends_as_indexed(self._log, index):
                raise JournalTaken(f"{self._log} or its index was written over under the host")
            return
        if changed[0].get(self._log) != left[0].get(self._log) and not log_index.is_whole(self._log, index):
            raise JournalTaken(f"{self._log} was written over under the host")
        if changed[0].get(self._path) != left[0].get(self._path) and (why := _fault(self._path)):
            raise JournalTaken(f"{self._path} was written over under the host: {why}")

    def leave(self) -> None:
        """Note the files as this process leaves them. The caller holds the journal's lock."""
        self._left = self._as_it_is()

    def _as_it_is(self) -> tuple[dict[Path, int], bytes]:
        """Return the files' times of change, and the head of the log's index."""
        times = {}
        for path in (self._path, self._log):
            try:
                times[path] = os.stat(path).st_mtime_ns
            except FileNotFoundError:
                continue
        return times, os.pread(self._index, _INDEX_HEAD_BYTES, 0)

    def _compare(self) -> None:
        """Raise JournalTaken if a file is not the one that was opened, or is shorter than it was."""
        for path in (self._path, self._log):
            now, before = _identity(path), self._found.get(path)
            if before is None:
                if now is not None:
                    self._found[path] = now
                continue
            if now is None:
                raise JournalTaken(f"{path} was deleted under the host")
            if now[:2] != before[:2]:
                raise JournalTaken(f"{path} was replaced under the host")
            if now[2] < before[2] and (path == self._path or now[2] < self._log_bytes_in_use()):
                raise JournalTaken(f"{path} was cut from {before[2]} to {now[2]} bytes under the host")
            self._found[path] = now

    def _log_bytes_in_use(self) -> int:
        """Return the least size of the log by its index. A checkpoint may cut the log too, and then nothing in it is in use."""
        return log_index.parse(os.pread(self._index, _INDEX_HEAD_BYTES, 0)).log_bytes

    def damage(self) -> str:
        """Return a text about the damage to the files, now or within the last minute; "" if there was none."""
        try:
            if self._found:
                self._compare()
        except JournalTaken as error:
            return str(error)
        return self._said if self._clock.boot() < self._said_until else ""

    def keep(self, connection: sqlite3.Connection, why: JournalTaken) -> None:
        """Write the connection's journal into a new file at the path, and abandon the connection.

        The caller holds the journal's lock. If another process of the host has written such a file already, that file is left
        as it is. Any other file at the path is moved aside. Raises sqlite3.Error, OSError.
        """
        aside = f"{self._path.name}.aside-{self._clock.now():%Y%m%dT%H%M%S}-{os.getpid()}"
        if not _succeeds(self._path, self._generation):
            fresh = self._path.with_name(f".{self._path.name}.fresh-{os.getpid()}")
            goes_on = self._saved(connection, fresh)
            for end in ("", "-wal", "-shm"):
                here = self._path.with_name(self._path.name + end)
                if here.exists():
                    here.rename(self._path.with_name(aside + end))
            fresh.rename(self._path)
            moved = f"; what lay there is {aside} now" if self._path.with_name(aside).exists() else ""
            log.error("%s: %s%s", why, goes_on, moved)
        _abandoned.append(connection)
        self._said = f"{why}; it goes on in a new file"
        self._said_until = self._clock.boot() + SAID_S

    def _saved(self, connection: sqlite3.Connection, fresh: Path) -> str:
        """Write into a new file as much of the journal as can be read. Return what that is."""
        if _copied(connection, fresh, self._generation):
            return "the journal goes on in a new file, with all that the old one held"
        now, before = _identity(self._path), self._found.get(self._path)
        if now is not None and before is not None and now[:2] == before[:2]:
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?immutable=1", uri=True)) as without_log:
                if _copied(without_log, fresh, self._generation):
                    return (
                        "the journal goes on in a new file, with what stood in the old one without its log; "
                        "the events of its last minutes are lost"
                    )
        with closing(sqlite3.connect(":memory:")) as nothing:
            _copied(nothing, fresh, self._generation)
        return "nothing of it can be read any more, so the journal begins anew; put a backup back if there is one"


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size


def _generation(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the journal's mark and the number of times it was saved into a new file."""
    (mark,) = connection.execute("pragma user_version").fetchone()
    (times,) = connection.execute("pragma application_id").fetchone()
    return int(mark), int(times)


def mark(connection: sqlite3.Connection) -> None:
    """Give a journal a mark of its own. The mark tells a copy of it from another journal."""
    if _generation(connection)[0] == 0:
        connection.execute(f"pragma user_version = {int.from_bytes(os.urandom(3), 'big') + 1}")


def _succeeds(path: Path, generation: tuple[int, int]) -> bool:
    """Return whether the file at the path is a newer one of the same journal, saved by another process of this host."""
    if not path.exists():
        return False
    try:
        there = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            mark_there, times_there = _generation(there)
        finally:
            there.close()
    except sqlite3.Error:
        return False
    return mark_there == generation[0] and times_there > generation[1]


def _fault(path: Path) -> str:
    """Return what is wrong with the pages of a journal, log included; "" for nothing."""
    reader = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        ((verdict,), *_) = reader.execute("pragma quick_check(1)").fetchall()
    except sqlite3.OperationalError:
        return ""  # it cannot be read now, and the transaction that follows says why
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        reader.close()
    return "" if verdict == "ok" else " ".join(str(verdict).split())


def _copied(source: sqlite3.Connection, fresh: Path, generation: tuple[int, int]) -> bool:
    """Copy a journal into a new file of the next generation. Return False, and leave no new file, if it cannot be read."""
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    target = sqlite3.connect(fresh, isolation_level=None)
    try:
        source.backup(target)
        target.execute("pragma journal_mode = delete")
        (verdict,) = target.execute("pragma quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        target.execute(f"pragma user_version = {generation[0]}")
        target.execute(f"pragma application_id = {generation[1] + 1}")
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "disk I/O" not in str(error):
            raise  # after a full disk it is tried again, because the old file can still be read
        fresh.unlink(missing_ok=True)
        return False
    finally:
        target.close()
    _sync(fresh)
    return True


def _sync(path: Path) -> None:
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
