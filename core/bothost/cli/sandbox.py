"""Keep a rehearsal inside its process: without network if the kernel allows that, and with a record of every way out it tried.

It guards against accidents, not against malice. The hook does not see calls through ctypes, and nothing sees files that are
written elsewhere.
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
"""The audit events (PEP 578) that Python raises before something leaves the process."""


class SandboxEscape(CallUnsent):
    """Raised in a handler that tries to leave its process."""


class EscapeGuard:
    """Refuses every way out and records it. There is one for a process, because an audit hook cannot be removed."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def watch(self) -> None:
        """Raise SandboxEscape for every way out from now on."""
        sys.addaudithook(self._hook)

    def refuse(self, what: str) -> SandboxEscape:
        """Record an attempt and return the error to raise."""
        self.tried.append(what)
        return SandboxEscape(f"a rehearsal must not leave its process: {what} was refused")

    def _hook(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if event in LEAVING:
            raise self.refuse(event)


def take_network_away() -> bool:
    """Move this process into a network namespace of its own, in which no interface is up. Return false if that is not allowed.

    Call it before there are threads.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        unshare = libc.unshare
    except (OSError, AttributeError):
        return False
    if os.geteuid() == 0:
        return bool(unshare(CLONE_NEWNET) == 0)
    return bool(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)
