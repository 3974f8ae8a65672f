"""Keep in the journal since when each bot has been in its state, so that a restart does not begin the count anew."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks
from bothost.errors import JournalError
from bothost.journal.data import ReadValue, WriteValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.bots.lifecycle import BotLifecycle
    from bothost.host.workers.protocol import Worker
    from bothost.journal import Journal

log = logging.getLogger("bothost.bots")

SPACE = ":state times"
"""The space of the host's own value. No bot's name begins with a colon."""
KEPT_S = 30 * 86400.0
"""How long the value of a process that is not started again is kept."""
RENEW_S = 86400.0
"""How often a value is written that has not changed, so that it is kept as long as its process lives."""
LOOK_S = 1.0

Times = dict[str, tuple[str, float]]


class StateTimes:
    """One process's states and their times, as one value of the journal: it is written when one of them has changed, or daily."""

    def __init__(self, journal: Journal, lifecycle: BotLifecycle, worker: Worker | None) -> None:
        self._journal = journal
        self._lifecycle = lifecycle
        self._key = f"{socket.gethostname()}/{worker.number if worker is not None else 0}"
        self._written: Mapping[str, tuple[str, float]] = {}
        self._written_at = 0.0
        self._tasks = BackgroundTasks()
        self._writing = False

    async def restore(self) -> None:
        """Give the lifecycle the times that this process's predecessor wrote. What cannot be read begins anew."""
        try:
            value = await self._journal.ask(SPACE, ReadValue(self._key))
            times = msgspec.msgpack.decode(value, type=Times) if value else {}
        except (JournalError, msgspec.DecodeError) as error:
            log.warning("since when bots are in their states is not known from before this start: %s", error)
            return
        self._written = dict(times)
        self._lifecycle.restore_times(times)

    def look(self) -> None:
        """Write the times if that is due and no write is under way. Called each second, on the loop."""
        times = self._lifecycle.times
        due = times != self._written or self._journal.now() - self._written_at > RENEW_S
        if due and not self._writing:
            self._writing = True
            self._tasks.spawn(self._write(dict(times)))

    async def stop(self) -> None:
        """Write what has changed since the last look."""
        await self._tasks.stop()
        times = dict(self._lifecycle.times)
        if times != self._written:
            await self._write(times)

    async def _write(self, times: Mapping[str, tuple[str, float]]) -> None:
        began = self._journal.now()
        try:
            await self._journal.ask(SPACE, WriteValue(self._key, msgspec.msgpack.encode(times), KEPT_S))
        except JournalError:
            return  # the next look tries again
        finally:
            self._writing = False
        self._written, self._written_at = times, began
