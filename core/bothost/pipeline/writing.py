"""Carry out decisions about an event: one write of it at a time, each on the revision that it was decided on.

A write ends in one of three ways:

- It lands.
- It is refused, because the row has a newer revision. The row is read and the decision is made again.
- Its result is unknown (`JournalAway`). Nothing is decided about the event in this process until its row was read.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bothost.errors import JournalAway
from bothost.pipeline.write_rules import Memory, decide

if TYPE_CHECKING:
    from bothost.journal.entry import Entry
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.event_table import TrackedEvent
    from bothost.pipeline.write_rules import Happening

log = logging.getLogger("bothost.journal")

LONGEST_PAUSE_S = 2.0
_TELLING = ("state", "door", "owner", "fence", "answer", "rerun", "due", "delivered", "posted", "tries", "runs")
"""Fields by which a write is recognised in a row."""


class WriteResult(NamedTuple):
    """The result of a write. `entry` is the row as written, or None if the decision does not apply to `row`, read last."""

    entry: Entry | None
    row: Entry


async def write(
    context: PipelineContext, tracked: TrackedEvent, happening: Happening, body: bytes | None = None
) -> WriteResult:
    """Decide about the event and write the result. Raises JournalAway if it is unknown whether the write landed.

    If claims are in memory, memory is the row, and the writer's queue keeps the order.
    """
    if context.journal.claims_first:
        async with lock_of(tracked):
            return await _write_on_row(context, tracked, happening, body)
    row = tracked.entry
    entry = decide(row, memory_of(context, tracked), happening)
    if entry is None or entry is row:
        return WriteResult(entry, row)
    return WriteResult(entry if await context.journal.save(entry, body) else None, row)


async def write_surely(
    context: PipelineContext, tracked: TrackedEvent, happening: Happening, body: bytes | None = None
) -> WriteResult:
    """Write as `write` does, and try again until it lands or the row says something else."""
    pause_s = context.timing.retry_beat_s
    while True:
        try:
            return await write(context, tracked, happening, body)
        except JournalAway as error:
            log.warning(
                "the journal is away; %s is kept and written again: %s",
                tracked.entry.id, error, extra={"bot": tracked.entry.bot, "event": tracked.entry.id},
            )  # fmt: skip
        await context.journal.wait_hint(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def lock_of(tracked: TrackedEvent) -> asyncio.Lock:
    """Return the lock that each claim and write of the event holds while it is under way."""
    if tracked.lock is None:
        tracked.lock = asyncio.Lock()
    return tracked.lock


async def _write_on_row(
    context: PipelineContext, tracked: TrackedEvent, happening: Happening, body: bytes | None
) -> WriteResult:
    while True:
        row = await _row(context, tracked) if tracked.unsure else tracked.entry
        if tracked.attempted is None or tracked.attempted[0] is not happening:
            tracked.attempted = (happening, [])
        tries = tracked.attempted[1]
        if any(_shows(row, entry) for entry in tries):
            return _known(tracked, row)
        entry = decide(row, memory_of(context, tracked), happening)
        if entry is row:
            return _known(tracked, row)
        if entry is None:
            tracked.attempted = None
            return WriteResult(None, row)
        tracked.unsure = True
        tries.append(entry)
        if await context.journal.save(entry, body):
            return _known(tracked, entry)
        tries.pop()  # refused, so this try will never land; an earlier one may have landed


def _known(tracked: TrackedEvent, row: Entry) -> WriteResult:
    tracked.unsure = tracked.unrecorded = False
    tracked.attempted = None
    tracked.adopt(row)
    return WriteResult(row, row)


async def _row(context: PipelineContext, tracked: TrackedEvent) -> Entry:
    """Read the row. An event that the journal does not have is as it was before its first claim."""
    row = await context.journal.find(tracked.entry.id)
    if row is None:
        return msgspec.structs.replace(
            tracked.entry, revision=0, state="ready", door="response", owner="", fence=0, answer=None
        )
    return row


def _shows(row: Entry, written: Entry) -> bool:
    """Return whether the row shows a write whose result was unknown."""
    return row.revision == written.revision + 1 and all(
        getattr(row, name) == getattr(written, name) for name in _TELLING
    )


def memory_of(context: PipelineContext, tracked: TrackedEvent) -> Memory:
    """Return the part of this process's memory of an event that decisions need."""
    entry = tracked.entry
    return Memory(
        owner=context.journal.owner,
        fence=entry.fence,
        begun=tracked.begun,
        waiting=tracked.phase == "waiting",
        unrecorded=tracked.unrecorded,
        rerun=entry.rerun,
        deaths=entry.deaths,
    )
