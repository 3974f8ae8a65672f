"""Read the content that a stored event runs with, and begin events that fall due between two sweeps of the journal."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bothost.errors import BodyRefused, JournalAway
from bothost.pipeline.delivery import OWN_WORK
from bothost.pyrus.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.event_table import TrackedEvent


async def read_content(context: PipelineContext, tracked: TrackedEvent) -> None:
    """Read the body of a claimed event. Raises BodyRefused if it is no longer stored."""
    entry = tracked.entry
    if entry.kind == "timer":
        return
    body = await context.journal.body(entry.id) or b""
    if entry.kind not in OWN_WORK:
        tracked.envelope = decode(body)
    elif body:
        tracked.content = body
    else:
        raise BodyRefused("its body is no longer stored")


async def until_next_sweep(context: PipelineContext, begin_due: Callable[[], Awaitable[None]]) -> None:
    """Begin the events that fall due until the next sweep, so that a job runs within a second of its time."""
    end = context.clock.monotonic() + context.timing.sweep_s
    while True:
        await context.journal.wait_hint(min(context.timing.due_s, context.timing.sweep_s))
        if context.clock.monotonic() >= end:
            return
        try:
            await begin_due()
        except JournalAway:
            return


async def begin_soon(begin_due: Callable[[], Awaitable[None]]) -> None:
    """Begin what was just put; a journal that is away is asked again by the next look."""
    with suppress(JournalAway):
        await begin_due()
