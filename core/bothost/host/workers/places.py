"""Say which process of a host has a bot with `per_host = one`: the one that holds the lock of the bot's file.

The kernel frees the lock when the process ends, however it ends. Nothing else gives a bot away, so a bot stays where it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, NamedTuple

from bothost.journal.owner_locks import let_go_in_children

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "per-host"


class PlaceHolder(NamedTuple):
    """A process that has a bot: its number among the workers, and its pid, which tells it from the one before."""

    number: int
    pid: int


class BotPlaces:
    """The bots of this process, and where the others are. `number` is this worker's."""

    def __init__(self, state: Path, number: int) -> None:
        self._folder = state / FOLDER
        self._number = number
        self._held: dict[str, int] = {}
        let_go_in_children(self._folder)

    def take(self, bot: str) -> bool:
        """Take a bot for as long as this process lives. Return False while another process has it."""
        if bot in self._held:
            return True
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(self._folder / bot, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d %d" % (self._number, os.getpid()), 0)
        self._held[bot] = file
        return True

    def holds(self, bot: str) -> bool:
        """Return whether this process has the bot."""
        return bot in self._held

    def holder(self, bot: str) -> PlaceHolder | None:
        """Return the process that took the bot last; None before anyone did. It may be gone."""
        with contextlib.suppress(OSError, ValueError):
            number, pid = (self._folder / bot).read_text("ascii").split()
            return PlaceHolder(int(number), int(pid))
        return None
