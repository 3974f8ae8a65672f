"""Write that an answer was not read, so that the next attempt gets it, or it is posted when the event is quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bothost.pipeline.write_rules import Amended
from bothost.pipeline.writing import write_surely

if TYPE_CHECKING:
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.event_table import TrackedEvent


async def not_delivered(context: PipelineContext, tracked: TrackedEvent) -> None:
    """Write that no connection got the answer of an event."""
    entry = tracked.entry
    due = entry.seen_at + context.timing.quiet_s
    if not context.journal.claims_first:
        entry.delivered, entry.due = False, due
        context.journal.note(entry)
        return
    fence = entry.fence
    unheard = Amended(
        lambda row: row.state == "answered" and row.door == "response" and row.fence == fence,
        lambda row: msgspec.structs.replace(row, delivered=False, due=due),
    )
    await write_surely(context, tracked, unheard)


async def was_not_read(context: PipelineContext, key: str) -> None:
    """Take back that an answer was delivered, because the process that had the connection says so later."""
    tracked = context.event_table.get(key)
    if tracked is None:
        return
    entry = tracked.entry
    if tracked.phase == "idle" and entry.state == "answered" and entry.door == "response" and entry.delivered:
        await not_delivered(context, tracked)
