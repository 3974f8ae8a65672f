"""Tell what is wrong with the disk of a folder, which SQLite calls "disk I/O error" in places."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

READ_ONLY = (
    "its file system is read-only: mount it writable (the kernel makes it read-only when its disk fails: dmesg tells), or copy "
    "the folder elsewhere and name the copy as `state`"
)
LEAST_BYTES = 256 << 10
"""The room that an empty journal needs."""


def is_full(folder: Path) -> bool:
    """Return whether a folder's disk has less room than an empty journal needs."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < LEAST_BYTES


def is_read_only(folder: Path) -> bool:
    """Return whether the file system of a folder takes no writes.

    It opens a file without a name, because statvfs says nothing after a fault of the disk.
    """
    try:
        os.close(os.open(folder, getattr(os, "O_TMPFILE", 0) | os.O_WRONLY, 0o600))
    except OSError as error:
        return error.errno == errno.EROFS
    return False
