"""Record the changes that a repeat makes in an event that nobody runs, and give a stored answer again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway
from bothost.pipeline.delivery import NOTHING, UNRECORDED, Outcome
from bothost.pipeline.event_table import Waiter
from bothost.pipeline.write_rules import Amended
from bothost.pipeline.writing import write, write_surely

if TYPE_CHECKING:
    from bothost.pipeline.acknowledgement import RowChanged
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.event_table import TrackedEvent

log = logging.getLogger("bothost.delivery")


class RepeatRecords:
    """Writes behind if memory is the truth. Otherwise a row changes only as long as no other process has gone on with it."""

    def __init__(self, context: PipelineContext, changed: RowChanged) -> None:
        self._context = context
        self._changed = changed
        self._spawn = BackgroundTasks().spawn

    def note(self, tracked: TrackedEvent) -> None:
        """Write behind what a delivery changed in a held or failed event, unless an operator has changed that by now."""
        if self._context.journal.claims_first:
            self._spawn(self._save_quietly(tracked))
        else:
            self._context.journal.note(tracked.entry)

    async def _save_quietly(self, tracked: TrackedEvent) -> None:
        entry = msgspec.structs.replace(tracked.entry)
        amended = Amended(
            lambda row: row.door == "response" and row.fence == entry.fence and row.state in ("ready", entry.state),
            lambda row: msgspec.structs.replace(entry, revision=row.revision, cancel=row.cancel),
        )
        try:
            await write(self._context, tracked, amended)
        except JournalAway:
            log.warning(
                "what a delivery changed in %s could not be written",
                entry.id,
                extra={"bot": entry.bot, "event": entry.id},
            )

    def give_stored(self, tracked: TrackedEvent, delivery: Delivery) -> None:
        """Give the stored bytes once more. The first connection that takes them makes the answer delivered."""
        entry = tracked.entry
        if self._context.journal.claims_first and not (entry.delivered or tracked.unrecorded):
            self._spawn(self._deliver(tracked, delivery))
            return
        written = self._give(tracked, delivery)
        due = entry.seen_at + self._context.timing.quiet_s
        tracked.entry = msgspec.structs.replace(entry, delivered=entry.delivered or written, due=due)
        if not self._context.journal.claims_first:
            self._context.journal.note(tracked.entry)

    def _give(self, tracked: TrackedEvent, delivery: Delivery) -> bool:
        entry = tracked.entry
        outcome = Outcome(200, entry.answer or NOTHING, "repeat", repeat=True)
        return self._context.responses.give(delivery, outcome, entry.task, tracked.attempt, entry.id)

    async def _deliver(self, tracked: TrackedEvent, delivery: Delivery) -> None:
        """Give an answer that reached nobody yet. The row must say so first, because another process may be about to post it.

        Once that is written, the reply has left by this door. An answer that then reaches nobody is taken back for the next
        attempt.
        """
        try:
            written = await write(self._context, tracked, self._delivered(tracked, delivered=True))
        except JournalAway:
            self._context.responses.give(delivery, UNRECORDED, tracked.entry.task, tracked.attempt, tracked.entry.id)
            # it may land all the same: then nobody would post what nobody has heard
            await write_surely(self._context, tracked, self._delivered(tracked, delivered=False))
            return
        if written.entry is None:
            tracked.adopt(written.row)
            tracked.unsure = False
            tracked.waiters.append(Waiter(delivery))
            self._changed.answer_by_row(tracked)
        elif not self._give(tracked, delivery):
            await write_surely(self._context, tracked, self._delivered(tracked, delivered=False))

    def _delivered(self, tracked: TrackedEvent, *, delivered: bool) -> Amended:
        due = tracked.entry.seen_at + self._context.timing.quiet_s
        seen, seen_at = tracked.entry.seen, tracked.entry.seen_at
        return Amended(
            # what is taken back is this attempt's delivery, and not that of a later one
            lambda row: row.state == "answered" and row.door == "response" and (delivered or row.seen <= seen),
            lambda row: msgspec.structs.replace(row, delivered=delivered, due=due, seen=seen, seen_at=seen_at),
        )
