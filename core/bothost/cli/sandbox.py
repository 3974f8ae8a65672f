"""Keeps a rehearsal at home: no network where the kernel allows that, and in any case a note of who tried to leave.

It guards against accidents, not against malice: a plugin that talks through ctypes is not seen by the hook, one that writes
files elsewhere is seen by nobody.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

from bothost.errors import CallUnsent

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

LEAVING = frozenset(
    {
        "socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname",
        "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
    }
)  # fmt: skip
"""What Python tells of by itself (PEP 578) when something would leave the process."""


class SandboxEscape(CallUnsent):
    """Raised in a handler that tries to leave."""


class EscapeGuard:
    """Refuses to leave, and remembers that somebody tried. One for a process: an audit hook cannot be removed."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def watch(self) -> None:
        """From now on every way out raises Left."""
        sys.addaudithook(self._hook)

    def refuse(self, what: str) -> SandboxEscape:
        """Note an attempt; the error to raise."""
        self.tried.append(what)
        return SandboxEscape(f"a rehearsal must not leave its process: {what} was refused")

    def _hook(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if event in LEAVING:
            raise self.refuse(event)


def take_network_away() -> bool:
    """Move this process into a network namespace of its own, without any interface that is up; false where that is not
    allowed. Only before there are threads."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        unshare = libc.unshare
    except (OSError, AttributeError):
        return False
    if os.geteuid() == 0:
        return bool(unshare(CLONE_NEWNET) == 0)
    return bool(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)
