"""Tell which owners are alive on this machine. Each has a file that is locked with `flock` as long as its process lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from bothost.errors import JournalAway

if TYPE_CHECKING:
    from collections.abc import Set

FOLDER = "owners"
_HOST = "host-lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_hooked: set[Path] = set()
"""The folders whose files a forked child must close. One hook serves all, because `os.register_at_fork` cannot remove one."""


def new_owner() -> str:
    """Return a name that no other process had or will have: host:pid:random."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40]
    return f"{host}:{os.getpid()}:{secrets.token_hex(4)}"


def boot_id() -> str:
    """Return a text that differs at each boot of this machine, because a lease by the boot clock means nothing after a reboot."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return "unknown"


def place_id(folder: Path) -> str:
    """Return a text that is equal for processes that can see each other's locks: one machine, one boot, one state folder."""
    try:
        found = folder.stat()
    except OSError:
        return f"{boot_id()}:none"
    return f"{boot_id()}:{found.st_dev}:{found.st_ino}"


class OwnerLock:
    """This process's sign of life. Take it after exec, because a forked child would keep it locked after its parent's death."""

    def __init__(self, folder: Path, owner: str) -> None:
        self.path = folder / FOLDER / owner
        self._file = -1

    def take(self) -> None:
        """Make the file and lock it. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            # the name is new, so only who looks for dead owners can hold the lock, and only for a moment
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if _is_at(self._file, self.path):
                return
            os.close(self._file)

    def take_again(self) -> None:
        """Make and lock the file anew if it was deleted. Raises OSError."""
        if self._file >= 0 and not _is_at(self._file, self.path):
            os.close(self._file)
            self.path.parent.parent.mkdir(mode=0o700, exist_ok=True)
            self.take()

    def give_back(self) -> None:
        """Unlock and remove the file. One that cannot be removed is left to the next host, which sees that nobody holds it."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._file)
            self._file = -1


class HostLock:
    """The lock of the host that works on a folder.

    If `alone`, its claims live in memory, so no other process may claim. Workers of one host claim in the journal and share
    the lock.
    """

    def __init__(self, folder: Path, *, alone: bool) -> None:
        self._path = folder / _HOST
        self._mode = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        self._file = -1

    def take(self) -> None:
        """Take the lock. Raises JournalAway while another host has it, and OSError."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, self._mode | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            text = f"another host works on {self._path.parent}; this one waits until it has ended"
            raise JournalAway(text) from None
        self._file = file

    def take_again(self) -> None:
        """Make and lock the file anew if it was deleted. Raises JournalAway if another host has taken it meanwhile, and OSError."""
        if self._file >= 0 and not _is_at(self._file, self._path):
            before = self._file
            self.take()
            os.close(before)

    def give_back(self) -> None:
        """Release the lock, so that the next host can take it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _is_at(file: int, path: Path) -> bool:
    """Return whether an open file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def is_dead(folder: Path, owner: str, *, missing: bool = True) -> bool:
    """Return whether the process of this owner is known to be gone: no process holds its lock, or the file is missing.

    A missing file counts as gone only if `missing` is true.
    """
    try:
        file = os.open(folder / FOLDER / owner, os.O_RDWR)
    except FileNotFoundError:
        return missing
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def forget(folder: Path, owner: str) -> None:
    """Remove the file of a dead owner."""
    (folder / FOLDER / owner).unlink(missing_ok=True)


def forget_dead(folder: Path, known: Set[str]) -> None:
    """Remove the files of dead owners that the journal does not know (any more): nobody else would remove them."""
    with contextlib.suppress(FileNotFoundError):
        for owner in set(os.listdir(folder / FOLDER)) - known:
            if is_dead(folder, owner):
                forget(folder, owner)


def let_go_in_children(folder: Path) -> None:
    """Make every later forked child of this process close its copies of the files below this folder at once.

    In the child /dev/null takes the numbers of these files, because libraries there still believe that they own them.
    """
    if not _hooked:
        os.register_at_fork(after_in_child=_let_go)
    _hooked.add(folder.resolve())


# it runs in forked children only; test_a_forked_child_keeps_nothing_of_the_journal proves it
def _let_go() -> None:  # pragma: no cover
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if any(parent in _hooked for parent in Path(target.removesuffix(" (deleted)")).parents):
            os.dup2(null, int(name), inheritable=False)
    os.close(null)
