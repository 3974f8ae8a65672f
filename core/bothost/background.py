"""Tasks and periodic jobs beside a run: what fails in one is said, and nothing else stops."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("bothost.server")
_steps_log = logging.getLogger("bothost.journal")
"""Steps of an event's life, which are watched, speak where they always have."""


def watch(task: asyncio.Task[Any]) -> None:
    """Say so where a background step of our own failed: that is a fault of bothost and must not be silent."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _steps_log.error("a fault of bothost in %s", task.get_coro(), exc_info=error)


class PeriodicJob:
    """Does one job every so many seconds until it is stopped; the first time after one interval."""

    def __init__(self, every_s: float, job: Callable[[], object]) -> None:
        self._every_s = every_s
        self._job = job
        self._handle = asyncio.get_running_loop().call_later(every_s, self._again)

    def stop(self) -> None:
        """Not again."""
        self._handle.cancel()

    def _again(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._every_s, self._again)
        try:
            self._job()
        except Exception:  # a background job: what fails once must not end it for ever
            log.exception("a fault of bothost in %s", self._job)
