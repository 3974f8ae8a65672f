"""Look into the journal where it may know more of an event than this process does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.errors import JournalAway
from bothost.pipeline.event_table import split

if TYPE_CHECKING:
    from bothost.journal import Journal
    from bothost.journal.entry import Entry
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.event_table import TrackedEvent
    from bothost.pyrus.envelope import Envelope


def must_ask(context: PipelineContext, tracked: TrackedEvent | None, delivery: Delivery, envelope: Envelope) -> bool:
    """Return whether the journal may know more of the event than this process. It is then asked before a decision."""
    if context.journal.claims_first:
        # other processes claim too, and each claim is written before its run, so the journal is ahead of this memory
        return tracked is None or tracked.phase != "waiting"
    if tracked is None:
        return context.event_table.may_be_stored(delivery.bot.config.name, envelope.comment_id or 0)
    # an operator may have changed an event that is held or has failed
    entry = tracked.entry
    return (
        tracked.phase == "idle" and entry.door == "response" and entry.state in ("ready", "failed") and entry.fence > 0
    )


async def newest_row(journal: Journal, key: str) -> tuple[Entry | None, int]:
    """Return the event's newest row, and the highest number taken of its key, which may be an operator's `--again`.

    Return (None, 1) while the journal is away. An event that is unknown here is then taken for new: its claim or its
    acknowledgement finds out.
    """
    try:
        row = await journal.latest(key)
        number = split(row.id)[1] if row is not None else 1
        below = number
        while row is not None and row.kind == "manual":
            below -= 1
            row = await journal.find(key if below <= 1 else f"{key}~{below}")
    except JournalAway:
        return None, 1
    return row, number


def follow_row(tracked: TrackedEvent, row: Entry, *, claims_first: bool) -> None:
    """Take over from the row what the journal knows better than this memory.

    With durable claims, the journal is ahead of every event that this process does not run. Of one that it runs, the journal
    is ahead only in the door. With claims in memory, the journal is ahead only in what an operator did by hand.
    """
    if not claims_first:
        by_hand = row.state == "cancelled" or (row.door == "api" and tracked.entry.door == "response")
        if tracked.phase == "idle" and by_hand and row.id == tracked.entry.id and row.fence >= tracked.entry.fence:
            tracked.adopt(row)
    elif tracked.unrecorded:
        return  # its outcome is on its way to the journal, and memory alone knows it
    elif tracked.phase == "idle":
        tracked.adopt(row)
        tracked.unsure = False
    elif row.id == tracked.entry.id and row.fence == tracked.entry.fence and row.door == "api":
        tracked.entry.door = "api"
