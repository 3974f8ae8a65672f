"""`on_trouble`: tell an entry point or a command once when a bot gets into trouble, and once when it is well again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from bothost.errors import JournalAway
from bothost.operator.failure_hook import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.journal import Journal
    from bothost.operator.failure_hook import FailureHook
    from bothost.operator.harm import BotView
    from bothost.operator.service import Operations

log = logging.getLogger("bothost.on_trouble")

GROUP = "bothost.on_trouble"
PREFIX = "trouble:"
LOOK_S = 2.0
KINDS = ("quarantined", "stuck", "plugin error")
REPLIES = "late replies fail"


class TroubleWatch:
    """Compares the bots with what was told of them. The journal keeps that, so that a restart tells nothing twice."""

    def __init__(self, hook: FailureHook, operations: Operations, journal: Journal) -> None:
        self._hook = hook
        self._operations = operations
        self._journal = journal

    async def run(self) -> None:
        """Look every two seconds."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except JournalAway:
                continue

    async def look(self) -> None:
        """Tell of every bot whose trouble has begun or ended since the last look."""
        known = _told(await self._journal.controls())
        for view in await self._operations.bots():
            before, now = known.get(view.name, ""), trouble_of(view)
            if now and now != before:
                await self._tell(view, now, back=False)
            elif before and not now and view.now.state == "active":
                await self._tell(view, before, back=True)

    async def _tell(self, view: BotView, trouble: str, *, back: bool) -> None:
        # noted first: a hook that fails each time must not be called every two seconds
        await self._journal.control(f"{PREFIX}{view.name}", None if back else trouble)
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._hook.tell(described(view, trouble, back=back))
        except TimeoutError:
            log.warning("on_trouble took longer than %.0f s", LIMIT_S, extra={"bot": view.name})
        except Exception as error:  # noqa: BLE001 - around a plugin: a broken hook must not hurt the host
            log.warning("on_trouble could not be told of %s: %r", trouble, error, extra={"bot": view.name})


def trouble_of(view: BotView) -> str:
    """Return the trouble that a bot is in: its state, or that its late replies fail; "" if there is none."""
    if view.now.state in KINDS:
        return view.now.state
    return REPLIES if view.now.state == "active" and view.recent.unposted else ""


def described(view: BotView, trouble: str, *, back: bool) -> dict[str, Any]:
    """Return what the hook gets."""
    return {
        "bot": view.name,
        "trouble": trouble,
        "back": back,
        "since": view.now.since,
        "reason": view.now.reason or (f"{view.recent.unposted} replies not posted within the hour" if not back else ""),
    }


def _told(facts: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(PREFIX): trouble for key, trouble in facts.items() if key.startswith(PREFIX)}
