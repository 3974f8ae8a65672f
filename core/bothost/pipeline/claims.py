"""Makes an event this process's: in memory where memory is the truth, else in the journal before its run."""

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
"""How long an event whose turn another process has waits before it asks again."""

Word = Literal["claimed", "known", "busy"]


class Claims:
    """Claims events that have turn and permit."""

    def __init__(self, context: PipelineContext, changed: RowChanged) -> None:
        self._context = context
        self._changed = changed

    async def holds(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> bool:
        """Claim it, where the poller has not claimed it already. False: the run does not begin now."""
        begun_anew = tracked.phase == "running" and tracked.ticket is not None and tracked.ticket is not ticket
        if begun_anew or (tracked.phase != "running" and (tracked.ticket is not ticket or tracked.phase != "waiting")):
            # a suspect waits long until it may run alone: it may have been parked meanwhile, and begun anew from the journal
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
        """Make the event ours in memory, and write it behind."""
        context = self._context
        entry = tracked.entry
        entry.updated = context.now()
        entry.fence += 1
        entry.owner = context.journal.owner
        entry.state = "running"
        context.journal.note(entry, stored_body(tracked) if bot.config.keep_s > 0 else None)
        self._started(tracked)

    async def _claim_durably(self, tracked: TrackedEvent, bot: Bot, ticket: QueueTicket) -> bool:
        """Make the event ours in the journal; False where it is somebody else's, or must stand in line again."""
        # under the lock, so that a parking that was decided before is in the row, and one decided later sees the claim
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
        """Ask the journal for the event: a new one by `claim`, a held one by `take`."""
        journal = self._context.journal
        entry = tracked.entry
        entry.updated = self._context.now()
        entry.limit_s = limit_of(bot.config)
        if not (entry.state == "ready" and entry.fence):
            body = stored_body(tracked) if bot.config.keep_s > 0 else None
            return await journal.claim(entry, body or b"")
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
        """Tell whether an earlier `take` of ours landed although its caller heard nothing of it."""
        ours = row.state == "running" and row.owner == self._context.journal.owner and row.door == "response"
        return ours and row.fence == tracked.entry.fence + 1 > tracked.begun

    async def _let_go(self, tracked: TrackedEvent, row: Entry, ticket: QueueTicket) -> None:
        """Write that an operator cancelled it while its claim was under way."""
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
            if row is not None:
                tracked.adopt(row)
                tracked.unsure = False
            self._changed.meet_again(tracked)

    async def _claim_without_journal(self, tracked: TrackedEvent, ticket: QueueTicket) -> bool:
        """Wait for the journal; the last attempt runs on a claim in memory rather than be lost."""
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
        """Keep the place among the task's events while another process holds the turn, but no permit meanwhile."""
        ticket.free_permit()
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
        """Read the row of a key, however long the journal is away."""
        while True:
            try:
                return await self._context.journal.find(key)
            except JournalAway:
                await self._context.journal.wait_hint(self._context.timing.retry_beat_s)


def is_suspect(tracked: TrackedEvent) -> bool:
    """Tell whether its host died while it ran: then it runs alone the next time."""
    return tracked.entry.deaths > 0 and tracked.entry.rerun == "crash"


def is_being_parked(tracked: TrackedEvent) -> bool:
    """Tell whether its parking is being committed: it then waits for how that ends."""
    if tracked.commit is None or tracked.phase != "waiting":
        return False
    tracked.deferred = True
    return True


class OneByOne:
    """Events that were in flight at a death run one by one, so that only the guilty one reaches three.

    The claim comes after the wait, because it does not last for ever. A run leaves when its end is recorded: its post may take
    long, and harms no process.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._holder: TrackedEvent | None = None

    @property
    def busy(self) -> bool:
        """Tell whether one runs, or waits until it may."""
        return self._holder is not None or self._waiting > 0

    async def enter(self, tracked: TrackedEvent) -> None:
        """Wait until this one may run."""
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1
        self._holder = tracked

    def leave(self, tracked: TrackedEvent) -> None:
        """Let the next one run, where it was this one's turn."""
        if self._holder is tracked:
            self._holder = None
            self._lock.release()
