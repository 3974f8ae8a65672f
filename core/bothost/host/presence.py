"""Write this process's state into the journal, every ten seconds and whenever a pause or a reload takes effect."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import msgspec

from bothost import __version__
from bothost.errors import JournalError
from bothost.operator.presence import FORGET_S, PREFIX, RESTART, TELL_S, ProcessPresence, forgotten
from bothost.plugins.discovery import newer_than
from bothost.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.host.process import Host
    from bothost.telemetry.metrics import Metrics

LOOK_S = 0.5
INSTALLED_S = 60.0
"""The seconds between two looks at the installed plugins."""


class Presence:
    """Writes one process's state into the journal. `look` is called every half second, on the loop."""

    def __init__(self, host: Host, metrics: Metrics) -> None:
        self._host = host
        self._metrics = metrics
        self._told_at = float("-inf")
        self._told: object = None
        self._looked_at = float("-inf")
        self._newer: dict[str, str] = {}
        self._asked = ""
        self._forgot_at = float("-inf")
        self._began = host.resources.clock.monotonic()

    @property
    def key(self) -> str:
        """Return the fact's key."""
        return PREFIX + self._host.resources.journal.owner

    async def end(self) -> None:
        """Take the process off the list."""
        with contextlib.suppress(JournalError):
            await self._host.resources.journal.control(self.key, None)

    def look(self) -> None:
        """Write the state if that is due, or if something that people wait for has changed."""
        host, clock = self._host, self._host.resources.clock
        if host.phase != "serving":
            return
        paused = tuple(sorted(host.lifecycle.paused))
        if not host.reloader.busy:
            self._asked = host.controls.facts.get("generation", "")
        restarts = tuple(host.reloader.restarts.items())
        waited_for = (paused, self._asked, host.tried.done(), len(host.service.registry.by_name), restarts)
        now = clock.monotonic()
        if waited_for == self._told and now - self._told_at < TELL_S:
            return
        if waited_for != self._told:
            self._looked_at = float("-inf")  # who waits for a reload wants to know what is installed by then
        if now - self._forgot_at >= FORGET_S:
            self._forgot_at = now
            for key in forgotten(host.controls.facts, host.resources.journal.now()):
                host.controls.tell(key, None)
        self._told, self._told_at = waited_for, now
        host.controls.tell(self.key, msgspec.json.encode(self._presence(paused)).decode())

    def _presence(self, paused: tuple[str, ...]) -> ProcessPresence:
        host = self._host
        running = {bot.config.plugin: bot.plugged.version for bot in host.service if bot.plugged is not None}
        snapshot = self._metrics.snapshot()
        clock, now = host.resources.clock, host.resources.journal.now()
        return ProcessPresence(
            owner=host.resources.journal.owner,
            host=socket.gethostname(),
            process=snapshot.process,
            pid=os.getpid(),
            version=__version__,
            started=now - (clock.monotonic() - self._began),
            at=now,
            ahead_s=round(clock.now().timestamp() - now, 1),
            running=sum(bot.queue.held for bot in host.service),
            waiting=sum(bot.queue.waiting for bot in host.service),
            lag_s=round(snapshot.lag_worst, 3),
            plugins=running,
            newer=self._newer_than(running),
            paused=paused,
            generation=self._asked,
            reloaded=self._result(),
            restarts={
                name: told for name, told in host.reloader.restarts.items() if RESTART + name in host.controls.facts
            },
        )

    def _newer_than(self, running: Mapping[str, str]) -> dict[str, str]:
        now = self._host.resources.clock.monotonic()
        if now - self._looked_at >= INSTALLED_S:
            self._looked_at = now
            self._newer = newer_than(running)
        return self._newer

    def _result(self) -> str:
        reloader = self._host.reloader
        wrong = [f"{name or 'bots.ini'}: {why}" for name, why in sorted(reloader.problems.items())]
        told = [counted(len(self._host.service.registry.by_name), "bot"), reloader.changes]
        told += [f"not as bots.ini says: {'; '.join(wrong)}"] if wrong else []
        return "; ".join(filter(None, told))
