"""Two bots whose handlers block for half a second: a plain one and an async one."""

from __future__ import annotations

import time

from bothost import Event, Plugin, Reply, Settings

BLOCKS_S = 0.5


class Plain(Plugin[Settings]):
    """Blocks a thread of its bot."""

    def handle(self, event: Event) -> Reply | None:
        """Answer after half a second."""
        time.sleep(BLOCKS_S)
        return Reply(f"Task {event.task_id}")


class OnLoop(Plugin[Settings]):
    """Blocks the loop that it runs on, as no handler should."""

    async def handle(self, event: Event) -> Reply | None:
        """Answer after half a second."""
        time.sleep(BLOCKS_S)
        return Reply(f"Task {event.task_id}")
