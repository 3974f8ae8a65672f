"""The end of a host's work: begin nothing, let what runs end, cut what does not (delivery states, "Stop")."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bothost.server.core import Core

log = logging.getLogger("bothost.server")

CUT_S = 1.0
"""How long the cut may take: parking what ran, answering who waits."""
STEP_S = 0.05


async def drain(core: Core, drain_s: float, hurry: asyncio.Event) -> None:
    """Park what waits, wait for what runs until `drain_s` are over or `hurry` is set, then cut the rest."""
    core.standing.halt(core.service)
    core.late.hold()
    core.dispatch.park_all()
    await core.timers.stop()
    await _runs_end(core, drain_s, hurry)
    if core.runs.running:
        log.warning("%d runs are cut at the end of the drain", len(core.runs.running))
    for live in tuple(core.runs.running):
        live.cut = live.cut or "drain"
        if live.task is not None:
            live.task.cancel()
    await _all_are_answered(core, CUT_S)
    await core.late.stop()


async def _runs_end(core: Core, drain_s: float, hurry: asyncio.Event) -> None:
    """Wait until nothing runs; what a run begins at its end (a post of its reply) belongs to it."""
    hurried = asyncio.ensure_future(hurry.wait())
    try:
        async with asyncio.timeout(drain_s):
            while core.runs.running and not hurry.is_set():
                tasks = _tasks(live.task for live in core.runs.running)
                await asyncio.wait({hurried, *tasks}, return_when=asyncio.FIRST_COMPLETED, timeout=STEP_S)
            while _anyone_waits(core) and not hurry.is_set():
                await asyncio.wait({hurried}, timeout=STEP_S)
    except TimeoutError:
        pass
    finally:
        hurried.cancel()


async def _all_are_answered(core: Core, limit_s: float) -> None:
    """Parking is a commit and its acknowledgement; a journal that does not take it in time is no reason to stay."""
    loop = asyncio.get_running_loop()
    until = loop.time() + limit_s
    while (core.runs.running or _anyone_waits(core)) and loop.time() < until:
        await asyncio.sleep(STEP_S / 5)


def _anyone_waits(core: Core) -> bool:
    return any(live.waiters for live in core.means.ledger)


def _tasks(tasks: Iterable[asyncio.Task[None] | None]) -> set[asyncio.Task[None]]:
    return {task for task in tasks if task is not None}
