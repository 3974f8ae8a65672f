"""Large bodies beside the database, in append-only files: a page of SQLite costs several times what a plain write does.

A file (a segment) belongs to the process that made it; all read it. It is made at its full length at once, since blocks
that must be found while writing cost more than the writing. A body that is dropped is overwritten with zeros, and a
segment that holds none any more is removed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

FOLDER = "bodies"
SMALL_BYTES = 4096
"""Bodies up to this stand in the row."""
SEGMENT_BYTES = 16 << 20
_ZEROS = bytes(1 << 16)


@dataclass(frozen=True, slots=True)
class BodyLocation:
    """Where a body lies; written `segment:offset:size` in the row."""

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
    """The segments of one folder. Appends only in the writer's thread; reads in any."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder = folder / FOLDER
        self._owner = owner
        self._file = -1
        self._name = ""
        self._end = 0
        self._size = 0
        self._made = 0
        self._synced = 0

    def append(self, body: bytes) -> BodyLocation:
        """Write a body; durable only after `sync`. Raises OSError."""
        if self._file < 0 or self._end + len(body) > self._size:
            self._begin(len(body))
        location = BodyLocation(self._name, self._end, len(body))
        written = 0
        while written < len(body):
            written += os.pwrite(self._file, memoryview(body)[written:], self._end + written)
        self._end += len(body)
        return location

    def mark(self) -> tuple[str, int]:
        """Where the next body would go, for `rewind`."""
        return self._name, self._end

    def rewind(self, mark: tuple[str, int]) -> None:
        """Take back what was appended since the mark: its transaction failed."""
        name, end = mark
        if name == self._name:
            self._end = end
            self._synced = min(self._synced, end)

    def sync(self) -> None:
        """Make durable what was appended, and have the kernel forget its copy: few bodies are read again, and the memory of the last
        ones serves the next, so that bodies do not push other files out of it. Raises OSError."""
        if self._end > self._synced:
            os.fdatasync(self._file)
            # from the beginning: the kernel drops only what lies in the range as a whole
            os.posix_fadvise(self._file, 0, self._end, os.POSIX_FADV_DONTNEED)
            self._synced = self._end

    def read(self, location: BodyLocation) -> bytes | None:
        """The body, or None where its file is gone."""
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
        """All segments of the folder."""
        return [file.name for file in self._folder.iterdir()] if self._folder.is_dir() else []

    def remove_unused(self, used: set[str], is_dead: Callable[[str], bool]) -> int:
        """Remove segments that no row names: our own but the present one, and those of dead owners."""
        removed = 0
        for name in self.names():
            owner = name.rpartition(".")[0]
            ours = owner == self._owner and name != self._name
            if name not in used and (ours or (owner != self._owner and is_dead(owner))):
                (self._folder / name).unlink(missing_ok=True)
                removed += 1
        return removed

    def restore(self) -> None:
        """Write the present segment anew where it was deleted; its bodies can still be read. Raises OSError."""
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
        """Give back what the present segment did not need."""
        if self._file >= 0:
            if self._end:
                os.ftruncate(self._file, self._end)
            else:
                (self._folder / self._name).unlink(missing_ok=True)
            os.close(self._file)
            self._file, self._name, self._end, self._size = -1, "", 0, 0

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
