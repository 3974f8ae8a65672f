"""Notice that the journal's files were deleted, replaced or cut under the host, and save the journal into a new file.

A process goes on writing to a file that has no name any more. All that was acknowledged since then would be lost when the
process ends. So each transaction first compares the files at their paths with those that were opened, which costs three calls
of `stat`. The old connection can still read a deleted file, so the new file gets the whole journal.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
from typing import TYPE_CHECKING

from bothost.errors import JournalAway

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.clock import Clock

log = logging.getLogger("bothost.journal")

MOST_LOG_BYTES = 16 << 20
"""The size to which the write-ahead log is cut after it grew beyond it, beside a long read or in a round of retention."""
SAID_S = 60.0
"""The time for which /readyz fails after a journal was saved into a new file, so that a monitor sees it."""
_INDEX = struct.Struct("=14xHI")
"""The part of the head of the log's index that holds the page's size and the number of frames in use."""
_LOG_HEAD_BYTES = 32
_FRAME_HEAD_BYTES = 24
_abandoned: list[sqlite3.Connection] = []
"""Connections to files without a name. They stay open, because to close one would delete the new file's log of the same name."""


class JournalTaken(JournalAway):
    """The journal's file was deleted, replaced or cut under the host."""


class FileGuard:
    """Compares the journal's files with those that were opened. Any thread may call `check`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._clock = clock
        self._found: dict[Path, tuple[int, int, int]] = {}
        self._said = ""
        self._said_until = 0.0

    def opened(self) -> None:
        """Note the files at the paths as those of the present connection."""
        self._found = {}
        for path in (self._path, self._log):
            if (found := _identity(path)) is not None:
                self._found[path] = found

    def check(self) -> None:
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
        try:
            with self._path.with_name(self._path.name + "-shm").open("rb") as index:
                page_bytes, frames = _INDEX.unpack(index.read(_INDEX.size))
        except (OSError, struct.error):
            return 0
        return int(frames) and _LOG_HEAD_BYTES + frames * (
            _FRAME_HEAD_BYTES + (page_bytes if page_bytes > 1 else 65536)
        )

    def damage(self) -> str:
        """Return a text about the damage to the files, now or within the last minute; "" if there was none."""
        try:
            if self._found:
                self.check()
        except JournalTaken as error:
            return str(error)
        return self._said if self._clock.boot() < self._said_until else ""

    def keep(self, connection: sqlite3.Connection, why: JournalTaken) -> None:
        """Write the connection's journal into a new file at the path, and abandon the connection.

        The caller holds the journal's lock. If another process of the host has written such a file already, that file is left
        as it is. Any other file at the path is moved aside. Raises sqlite3.Error, OSError.
        """
        _abandoned.append(connection)
        aside = f"{self._path.name}.aside-{self._clock.now():%Y%m%dT%H%M%S}-{os.getpid()}"
        if not _succeeds(self._path, connection):
            fresh = self._path.with_name(f".{self._path.name}.fresh-{os.getpid()}")
            whole = _copied(connection, fresh)
            for end in ("", "-wal", "-shm"):
                here = self._path.with_name(self._path.name + end)
                if here.exists():
                    here.rename(self._path.with_name(aside + end))
            if whole:
                fresh.rename(self._path)
            log.error(
                "%s: %s%s",
                why,
                "the journal goes on in a new file, with all that the old one held"
                if whole
                else "nothing of it can be read any more, so the journal begins anew; put a backup back if there is one",
                f"; what lay there is {aside} now" if self._path.with_name(aside).exists() else "",
            )
        self._said = f"{why}; it goes on in a new file"
        self._said_until = self._clock.boot() + SAID_S


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


def _succeeds(path: Path, connection: sqlite3.Connection) -> bool:
    """Return whether the file at the path is a newer one of the same journal, saved by another process of this host."""
    if not path.exists():
        return False
    try:
        there = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            mark_there, times_there = _generation(there)
        finally:
            there.close()
        mark_here, times_here = _generation(connection)
    except sqlite3.Error:
        return False
    return mark_there == mark_here and times_there > times_here


def _copied(connection: sqlite3.Connection, fresh: Path) -> bool:
    """Copy a whole journal into a new file. Return False, and leave no new file, if it cannot be read any more."""
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    target = sqlite3.connect(fresh, isolation_level=None)
    try:
        connection.backup(target)
        target.execute("pragma journal_mode = delete")
        (verdict,) = target.execute("pragma quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        target.execute(f"pragma application_id = {_generation(target)[1] + 1}")
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "disk I/O" not in str(error):
            raise  # after a full disk it is tried again, because the old file can still be read
        target.close()
        fresh.unlink(missing_ok=True)
        return False
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
