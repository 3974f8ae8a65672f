"""Small jobs that a host does again and again on its loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("bothost.server")


class Beat:
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
