"""Compare the write-ahead log with its index, and follow the log's checksums as SQLite does at its next start.

SQLite checks the checksums only then. Until then it takes a log that somebody has written over for what it wrote itself, and
whatever it adds to such a log is thrown away at the next start.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES = 32
FRAME_HEAD_BYTES = 24
_INDEX = struct.Struct("=14xHI4xII8s8x")
_LITTLE, _BIG = 0x377F0682, 0x377F0683
"""The first number of a log, which names the byte order of its checksums."""
_MASK = 0xFFFFFFFF


class LogIndex(NamedTuple):
    """The part of the index's head that tells which frames of the log are in use."""

    page_bytes: int
    frames: int
    checksum: tuple[int, int]
    """That of the last frame in use."""
    salt: bytes

    @property
    def log_bytes(self) -> int:
        """Return the least size of the log."""
        return self.frames and HEAD_BYTES + self.frames * (FRAME_HEAD_BYTES + self.page_bytes)


def parse(head: bytes) -> LogIndex:
    """Read the head of an index. An index that is too short to have one names no frames."""
    if len(head) < _INDEX.size:
        return LogIndex(0, 0, (0, 0), b"")
    page_bytes, frames, first, second, salt = _INDEX.unpack_from(head)
    return LogIndex(page_bytes if page_bytes > 1 else 65536, frames, (first, second), salt)


def ends_as_indexed(log: Path, index: LogIndex) -> bool:
    """Return whether the log's head and its last frame are those that the index names. It reads 56 bytes. Raises OSError."""
    if not index.frames:
        return True
    file = os.open(log, os.O_RDONLY)
    try:
        head = os.pread(file, HEAD_BYTES, 0)
        frame = os.pread(file, FRAME_HEAD_BYTES, index.log_bytes - index.page_bytes - FRAME_HEAD_BYTES)
    finally:
        os.close(file)
    if len(head) < HEAD_BYTES or len(frame) < FRAME_HEAD_BYTES or _sum_of_head(head) is None:
        return False
    return head[16:24] == frame[8:16] == index.salt and struct.unpack(">II", frame[16:]) == index.checksum


def is_whole(log: Path, index: LogIndex) -> bool:
    """Return whether the checksums of all frames in use are right. A log of 4 MB takes a tenth of a second. Raises OSError."""
    if not index.frames:
        return True
    with log.open("rb") as file:
        head = file.read(HEAD_BYTES)
        total = _sum_of_head(head) if len(head) == HEAD_BYTES else None
        if total is None or head[16:24] != index.salt:
            return False
        order = _order(head)
        for _ in range(index.frames):
            frame = file.read(FRAME_HEAD_BYTES + index.page_bytes)
            if len(frame) < FRAME_HEAD_BYTES + index.page_bytes or frame[8:16] != index.salt:
                return False
            total = _sum(frame[:8] + frame[FRAME_HEAD_BYTES:], order, total)
            if struct.unpack(">II", frame[16:FRAME_HEAD_BYTES]) != total:
                return False
    return total == index.checksum


def _order(head: bytes) -> str:
    return {_LITTLE: "<", _BIG: ">"}.get(int.from_bytes(head[:4], "big"), "")


def _sum_of_head(head: bytes) -> tuple[int, int] | None:
    """Return the checksum of a log's head, or None if it is wrong."""
    order = _order(head)
    total = _sum(head[:24], order, (0, 0)) if order else None
    return total if total == struct.unpack(">II", head[24:]) else None


def _sum(data: bytes, order: str, before: tuple[int, int]) -> tuple[int, int]:
    first, second = before
    for one, two in struct.iter_unpack(f"{order}II", data):
        first = (first + one + second) & _MASK
        second = (second + two + first) & _MASK
    return first, second
