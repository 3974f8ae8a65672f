"""Claim an event for this process before its run.

With one process and the embedded store the claim is made in memory and written behind. Otherwise it is committed to the
journal first, because another process could claim the same event.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import msgspec

from bothost.errors import JournalAway
from bothost.journal.transitions import CANCELLED
from bothost.pipeline.context import limit_of, stored_body
from bothost.pipeline.write_rules import Held
from bothost.pipeline.writing import lock_of, write_surely

if TYPE_CHECKING:
    from bothost.bots.queue import QueueTicket
    from bothost.bots.registry import Bot
    from bothost.journal.entry import Entry
    from bothost.pipeline.acknowledgement import RowChanged
    from bothost.pipeline.context import PipelineContext
    from bothost.pipeline.event_table import TrackedEvent

BUSY_S = 0.25
"""The seconds after which an event asks again, if another process holds its turn."""

Word = Literal["claimed", "known", "busy"]


class Claims:
    """Claims events that hold a turn and a permit."""

    def __init__(self, context: PipelineContext, changed: RowChanged) -> None:
        self._context = context
        self._changed = changed

    async def holds(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> bool:
        """Claim the event unless the poller has claimed it already. Returns False if the run must not begin now."""
        begun_anew = tracked.phase == "running" and tracked.ticket is not None and tracked.ticket is not ticket
        if begun_anew or (tracked.phase != "running" and (tracked.ticket is not ticket or tracked.phase != "waiting")):
            # A suspect can wait long until it may run alone. Meanwhile it may have been parked, and begun again from the
            # journal with another ticket. Then this ticket must not run it too.
            ticket.leave()
            return False
        if tracked.phase == "running":
            return True
        if is_being_parked(tracked):
            return False
        if self._context.journal.claims_first:
            return await self._claim_durably(tracked, bot, ticket)
        self.in_memory(tracked, bot)
        return True

    def in_memory(self, tracked: TrackedEvent, bot: Bot) -> None:
        """Claim the event in memory, and put the record into the writer's queue without waiting for the commit."""
        context = self._context
        entry = tracked.entry
        entry.updated = context.now()
        entry.fence += 1
        entry.owner = context.journal.owner
        entry.state = "running"
        context.journal.note(entry, stored_body(tracked) if bot.config.keep_s > 0 else None)
        self._started(tracked)

    async def _claim_durably(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> bool:
        """Claim the event in the journal. Returns False if another owner has it, or if it must wait in its queue again."""
        # The lock orders this claim and a parking. A parking that was decided before is in the row by now, and one that is
        # decided later sees the claim.
        async with lock_of(tracked):
            if tracked.ticket is not ticket or tracked.phase != "waiting":
                ticket.leave()
                return False
            try:
                word, row = await self._ask(tracked, bot)
            except JournalAway:
                word, row = "away", None
            if word == "claimed" and row is not None and tracked.ticket is ticket:
                tracked.adopt(row)
                tracked.unsure = False
                self._started(tracked)
                return True
        if word == "away":
            return await self._claim_without_journal(tracked, ticket)
        if word == "claimed" and row is not None:
            await self._let_go(tracked, row, ticket)
        elif word == "busy":
            await self._wait_in_line(tracked, ticket)
        else:
            self._somebody_elses(tracked, row, ticket)
        return False

    async def _ask(self, tracked: TrackedEvent, bot: Bot) -> tuple[Word | Literal["away"], Entry | None]:
        """Ask the journal for the event: `claim` for a new one, `take` for a held one. Returns the answer and the row."""
        journal = self._context.journal
        entry = tracked.entry
        entry.updated = self._context.now()
        entry.limit_s = limit_of(bot.config)
        if not (entry.state == "ready" and entry.fence):
            body = stored_body(tracked) if bot.config.keep_s > 0 else None
            word, there = await journal.claim(entry, body or b"")
            tracked.not_looked_up = tracked.not_looked_up and word == "known"
            return word, there
        row = await journal.take(entry.id, seen=entry.seen, seen_at=entry.seen_at)
        if row is not None:
            return "claimed", row
        row = await journal.find(entry.id)
        if row is not None and self._is_unheard(tracked, row):
            return "claimed", row
        if row is not None and row.state == "ready" and row.door == "response":
            return "busy", row
        return "known", row

    def _is_unheard(self, tracked: TrackedEvent, row: Entry) -> bool:
        """Return whether an earlier `take` of this process landed although its result was lost.

        The row then shows this owner and the next fence, and no handler was called under that fence.
        """
        ours = row.state == "running" and row.owner == self._context.journal.owner and row.door == "response"
        return ours and row.fence == tracked.entry.fence + 1 > tracked.begun

    async def _let_go(self, tracked: TrackedEvent, row: Entry, ticket: QueueTicket) -> None:
        """Write `cancelled`, because an operator cancelled the event while its claim was under way."""
        ticket.leave()
        tracked.adopt(row)
        now = self._context.now()
        await write_surely(
            self._context,
            tracked,
            Held(lambda held: msgspec.structs.replace(held, state="cancelled", error=CANCELLED, updated=now)),
        )

    def _somebody_elses(self, tracked: TrackedEvent, row: Entry | None, ticket: QueueTicket) -> None:
        ticket.leave()
        self._context.event_table.unweigh(tracked)
        if tracked.ticket is ticket:
            tracked.rest()
            if row is not None and tracked.not_looked_up:
                # memory counts for nothing against the row: this may be a later first attempt, which gets no stored answer
                tracked.entry, tracked.not_looked_up, tracked.unsure = row, False, False
                self._changed.look_again(tracked)
                return
            if row is not None:
                tracked.adopt(row)
                tracked.unsure = False
            self._changed.answer_by_row(tracked)

    async def _claim_without_journal(self, tracked: TrackedEvent, ticket: QueueTicket) -> bool:
        """Wait until the journal is back.

        After `commit_s` the last attempt runs on a claim in memory, because Pyrus will not bring the event again. Returns
        True in that case only.
        """
        context = self._context
        patience = context.clock.monotonic() + context.timing.commit_s
        while tracked.waiters and tracked.ticket is ticket:
            if tracked.last and context.clock.monotonic() >= patience:
                entry = tracked.entry
                entry.state, entry.owner, entry.rerun = "running", context.journal.owner, "maybe"
                entry.fence += 1
                tracked.unrecorded = tracked.unsure = True
                self._started(tracked)
                return True
            await context.journal.wait_hint(context.timing.retry_beat_s)
            if tracked.waiters and await self._is_back():
                await self._wait_in_line(tracked, ticket, 0.0)
                return False
        ticket.leave()
        if tracked.ticket is ticket:
            context.event_table.unweigh(tracked)
            tracked.rest()
        return False

    async def _is_back(self) -> bool:
        try:
            await self._context.journal.waiting()
        except JournalAway:
            return False
        return True

    async def _wait_in_line(self, tracked: TrackedEvent, ticket: QueueTicket, seconds: float = BUSY_S) -> None:
        """Keep the turn in this process while another process holds it too, but give the permit back meanwhile."""
        ticket.stand_back()
        if seconds:
            await self._context.journal.wait_hint(seconds)
        if tracked.phase == "waiting" and tracked.ticket is ticket:
            asyncio.get_running_loop().call_soon(self._ask_again, tracked, ticket)
        else:
            ticket.leave()

    def _ask_again(self, tracked: TrackedEvent, ticket: QueueTicket) -> None:
        if tracked.phase == "waiting" and ticket.queue is not None and tracked.ticket is ticket:
            ticket.queue.ask_again(ticket)

    def _started(self, tracked: TrackedEvent) -> None:
        tracked.phase = "running"
        tracked.start = start = self._context.clock.monotonic()
        if tracked.weight is not None:
            self._context.event_table.unweigh(tracked)
        waited = start - tracked.touched if start > tracked.touched else 0.0
        self._context.responses.count.queue_wait(tracked.entry.bot, waited)

    async def row_of(self, key: str) -> Entry | None:
        """Read the row of a key; None if the journal has none. Waits as long as the journal is away."""
        while True:
            try:
                return await self._context.journal.find(key)
            except JournalAway:
                await self._context.journal.wait_hint(self._context.timing.retry_beat_s)


def is_suspect(tracked: TrackedEvent) -> bool:
    """Return whether the host died while the event ran. Such an event runs alone the next time."""
    return tracked.entry.deaths > 0 and tracked.entry.rerun == "crash"


def is_being_parked(tracked: TrackedEvent) -> bool:
    """Return whether the event's parking is being committed, and mark the event as deferred if so.

    The run of a deferred event waits until that commit has ended.
    """
    if tracked.commit is None or tracked.phase != "waiting":
        return False
    tracked.deferred = True
    return True


class OneByOne:
    """Runs events that were in flight when a process died one at a time, so that only the event at fault reaches three deaths.

    An event is claimed after the wait, because a claim that waits would count a death although nothing ran. A run leaves
    when its end is recorded. Posting its reply may take long, but cannot end the process.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0
        self.holder: TrackedEvent | None = None
        """The event that runs alone."""

    @property
    def busy(self) -> bool:
        """Return whether an event runs alone or waits to do so."""
        return self.holder is not None or self._waiting > 0

    async def enter(self, tracked: TrackedEvent) -> None:
        """Wait until this event may run."""
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1
        self.holder = tracked

    def leave(self) -> None:
        """Let the next event run, because the holder's run has ended."""
        self.holder = None
        self._lock.release()
