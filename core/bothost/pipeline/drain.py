"""End a host's work: begin nothing, let runs end, and cut those that do not (docs/design.md, "What happens to an event")."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bothost.pipeline.assembly import Pipeline

log = logging.getLogger("bothost.server")

CUT_S = 1.0
"""The seconds for the cut: to park the cut runs, and to answer the waiting deliveries."""
STEP_S = 0.05


async def drain(pipeline: Pipeline, drain_s: float, hurry: asyncio.Event) -> None:
    """Park the waiting events, wait for the runs until `drain_s` are over or `hurry` is set, then cut the rest.

    The bots' queues are halted before, so that nothing new begins. The dispatcher parks what arrives meanwhile. Bots without a
    login are the exception: see `Dispatcher.park_all`.
    """
    pipeline.poller.hold()
    pipeline.hooks.drain()
    pipeline.dispatch.park_all()
    await pipeline.polling.stop()
    await pipeline.timers.stop()
    hurried = asyncio.ensure_future(hurry.wait())
    await asyncio.wait(
        {hurried, asyncio.ensure_future(_all_end(pipeline))}, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED
    )
    hurried.cancel()
    if pipeline.runs.running:
        log.warning("%d runs have not ended within `drain` and are cut off", len(pipeline.runs.running))
    for tracked in tuple(pipeline.runs.running):
        pipeline.runs.cut(tracked, "drain")
    pipeline.hooks.cut()
    pipeline.dispatch.park_all(end=True)
    # a journal that does not take it in time is no reason to stay
    await asyncio.wait({asyncio.ensure_future(_all_end(pipeline))}, timeout=CUT_S)
    await pipeline.poller.stop()


async def _all_end(pipeline: Pipeline) -> None:
    """Return when nothing runs and nobody waits; what a run begins at its end (a post of its reply) belongs to it."""
    while (
        pipeline.runs.running
        or pipeline.hooks.serving
        or any(tracked.waiters for tracked in pipeline.context.event_table)
    ):
        pipeline.dispatch.park_all()
        tasks = {tracked.task for tracked in pipeline.runs.running if tracked.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(STEP_S)
