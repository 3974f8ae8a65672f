"""Keep large bodies beside the database in append-only files, because a page of SQLite costs several plain writes.

A file (a segment) belongs to the process that made it, and all processes read it. It gets its full length at once, because
to allocate blocks while writing costs more than the writing. The bodies of one transaction are written together, because a
system call costs as much as copying ten kilobytes. A body that is dropped is overwritten with zeros, and a segment without
bodies is removed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

FOLDER = "bodies"
SMALL_BYTES = 4096
"""Bodies up to this size are kept in the row."""
SEGMENT_BYTES = 16 << 20
WRITTEN_AT_ONCE = 256
"""The kernel takes at most 1024 pieces in one call."""
_ZEROS = bytes(1 << 16)


class BodyLocation(NamedTuple):
    """The place of a body. In the row it is written as `segment:offset:size`."""

    segment: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.segment}:{self.offset}:{self.size}"


def location_of(text: str) -> BodyLocation:
    """Read a place from the row."""
    segment, offset, size = text.rsplit(":", 2)
    return BodyLocation(segment, int(offset), int(size))


class BodyFiles:
    """The segments of one folder. Only the writer's thread appends; any thread may read."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder = folder / FOLDER
        self._owner = owner
        self._file = -1
        self._name = ""
        self._end = 0
        self._size = 0
        self._made = 0
        self._synced = 0
        self._waiting: list[bytes] = []
        """Bodies before `_end` that are not in the file yet."""

    def append(self, body: bytes) -> BodyLocation:
        """Return the place of a body, which is in the file after `write` and durable after `sync`. Raises OSError."""
        if self._file < 0 or self._end + len(body) > self._size:
            self._begin(len(body))
        location = BodyLocation(self._name, self._end, len(body))
        self._waiting.append(body)
        self._end += len(body)
        return location

    def write(self) -> None:
        """Write the appended bodies. Raises OSError."""
        rest = [memoryview(body) for body in self._waiting]
        at = self._end - sum(map(len, rest))
        while rest:
            written = os.pwritev(self._file, rest[:WRITTEN_AT_ONCE], at)
            at += written
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if written:
                rest[0] = rest[0][written:]
        self._waiting = []

    def mark(self) -> tuple[str, int]:
        """Return the place of the next body, for `rewind`."""
        return self._name, self._end

    def rewind(self, mark: tuple[str, int]) -> None:
        """Take back the bodies that were appended since the mark, because their transaction failed."""
        name, end = mark
        self._waiting = []
        if name == self._name:
            self._end = end
            self._synced = min(self._synced, end)

    def sync(self) -> None:
        """Make the appended bodies durable, and drop the kernel's copy of them. Raises OSError.

        Few bodies are read again. So the memory of the last ones serves the next, and bodies push no other files out of it.
        """
        if self._end > self._synced:
            self.write()
            os.fdatasync(self._file)
            # from the beginning, because the kernel drops only pages that lie in the range as a whole
            os.posix_fadvise(self._file, 0, self._end, os.POSIX_FADV_DONTNEED)
            self._synced = self._end

    def read(self, location: BodyLocation) -> bytes | None:
        """Return the body, or None if its file is gone."""
        try:
            file = os.open(self._folder / location.segment, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return os.pread(file, location.size, location.offset)
        finally:
            os.close(file)

    def drop(self, places: Iterable[BodyLocation]) -> None:
        """Overwrite bodies that no row names any more. Raises OSError."""
        by_segment: dict[str, list[BodyLocation]] = {}
        for location in places:
            by_segment.setdefault(location.segment, []).append(location)
        for segment, gone in by_segment.items():
            try:
                file = os.open(self._folder / segment, os.O_WRONLY)
            except FileNotFoundError:
                continue
            try:
                for location in gone:
                    _wipe(file, location)
            finally:
                os.close(file)

    def names(self) -> list[str]:
        """Return the names of all segments of the folder."""
        return [file.name for file in self._folder.iterdir()] if self._folder.is_dir() else []

    def remove_unused(self, used: set[str], is_dead: Callable[[str], bool]) -> int:
        """Remove segments that no row names, and return how many: our own except the present one, and those of dead owners."""
        removed = 0
        for name in self.names():
            owner = name.rpartition(".")[0]
            ours = owner == self._owner and name != self._name
            if name not in used and (ours or (owner != self._owner and is_dead(owner))):
                (self._folder / name).unlink(missing_ok=True)
                removed += 1
        return removed

    def restore(self) -> None:
        """Write the present segment anew if it was deleted, because its bodies can still be read. Raises OSError."""
        if self._file < 0 or (self._folder / self._name).exists():
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(self._folder / self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        for at in range(0, self._end, len(_ZEROS)):
            os.pwrite(file, os.pread(self._file, len(_ZEROS), at), at)
        os.posix_fallocate(file, 0, self._size)
        os.fdatasync(file)
        os.close(self._file)
        self._file = file
        _sync_folder(self._folder)

    def close(self) -> None:
        """Give back the space that the present segment did not need."""
        if self._file >= 0:
            if self._end:
                os.ftruncate(self._file, self._end)
            else:
                (self._folder / self._name).unlink(missing_ok=True)
            os.close(self._file)
            self._file, self._name, self._end, self._size, self._synced = -1, "", 0, 0, 0

    def _begin(self, need: int) -> None:
        self.sync()
        self.close()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        size = max(SEGMENT_BYTES, need)
        name = f"{self._owner}.{self._made:06d}"
        file = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(file, 0, size)
        except OSError:
            os.close(file)
            (self._folder / name).unlink(missing_ok=True)
            raise
        self._made += 1
        self._file, self._name, self._end, self._size = file, name, 0, size
        _sync_folder(self._folder)


def _wipe(file: int, location: BodyLocation) -> None:
    left, offset = location.size, location.offset
    while left > 0:
        done = os.pwrite(file, memoryview(_ZEROS)[: min(left, len(_ZEROS))], offset)
        left, offset = left - done, offset + done


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
