"""Handle signals in the host's own processes, such that no process that a bot starts inherits the handlers.

A forked child would share the descriptor into which Python's signal handler writes, so a `terminate()` of that child would stop
the host. And an ignored signal stays ignored over exec, so nothing here is ever set to SIG_IGN.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_taken: set[int] = set()
"""The signals that this process handles. A fork gives them back."""


def nothing(_number: int, _frame: FrameType | None) -> None:
    """Do nothing, so that a signal neither ends the process nor is inherited as ignored."""


def take(number: int, handler: Callable[[int, FrameType | None], None] = nothing) -> None:
    """Handle a signal in this process; in its forks the signal does again what it does by default."""
    signal.signal(number, handler)
    _taken.add(number)


def _give_back() -> None:
    if not _taken:
        return
    signal.set_wakeup_fd(-1)
    for number in _taken:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _taken.clear()


# a hook cannot be removed, and costs nothing in a process that has taken no signal
os.register_at_fork(after_in_child=_give_back)
