"""Keep in memory the events that this process knows: event key → tracked event, with the deliveries that wait for it.

This table is asked before the journal, because the outcome of an event that runs here may not be in the journal yet. An event
stays here until its outcome is known to be there. An unknown event is looked up in the journal only if it can be there:
`floors` holds the highest forgotten comment id of each bot, and an event above it is new without a look.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bothost.journal.history import merged

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from bothost.bots.queue import BotQueue, QueueTicket
    from bothost.journal.entry import Entry
    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.write_rules import Happening
    from bothost.pyrus.envelope import Envelope

Phase = Literal["idle", "waiting", "running", "posting", "followed"]
"""The activity of this process for an event. idle: nothing, the entry tells its state · waiting: it is in its queue · running: a
handler runs, or its outcome is being recorded · posting: its reply is on its way out · followed: another process runs it, and
deliveries wait for it here."""

TOKEN_S = 86400.0
"""The seconds for which a token of Pyrus is valid."""


def base_of(key: str) -> str:
    """Return the event key of a `key~n`; any other key is returned as it is."""
    return split(key)[0]


def split(key: str) -> tuple[str, int]:
    """Return the event key of a `key~n` and its n. A key without `~n` gives itself and 1."""
    head, mark, number = key.rpartition("~")
    return (head, int(number)) if mark and number.isdigit() else (key, 1)


def name_of(entry: Entry) -> str:
    """Return the table's key of an entry: deliveries find an event by its key, a manual run is found by its own id."""
    return entry.id if entry.kind == "manual" else base_of(entry.id)


class Waiter:
    """A delivery whose connection is open until the event has an outcome."""

    __slots__ = ("delivery", "timer")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Cancel the time-out of this delivery."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@dataclass(slots=True, eq=False)
class TrackedEvent:
    """One event as this process knows it."""

    base: str
    """The key in the table (`name_of`): the event key without `~n`."""
    entry: Entry
    number: int = 1
    """The highest `~n` that is known to be taken of this key."""
    phase: Phase = "idle"
    waiters: list[Waiter] = field(default_factory=list)
    envelope: Envelope | None = None
    """Kept while it waits or runs."""
    body: bytes | None = None
    """The body without its token, as the journal may keep it; None if `keep = 0` or it is stored already."""
    content: bytes = b""
    """The content of a job or a request as the journal keeps it; empty unless it runs."""
    token: str = field(default="", repr=False)
    """The newest token of its deliveries; never stored."""
    ticket: QueueTicket | None = None
    task: asyncio.Task[None] | None = None
    commit: asyncio.Task[None] | None = None
    """An acknowledgement that is being committed."""
    deferred: bool = False
    """Its turn and permit came while it was being parked."""
    calling: bool = False
    """The plugin is being called: only then can a run be cut."""
    completing: bool = False
    """The call of the plugin is over, and its outcome is being recorded."""
    hung: bool = False
    """A call of the plugin has begun and not really ended."""
    begun: int = 0
    """The highest fence under which the handler was called here: it is never called again under this one."""
    lock: asyncio.Lock | None = None
    """Held while a claim or a write is under way, so that nothing is decided meanwhile (`writing.lock_of`)."""
    unsure: bool = False
    """Memory may be behind the row: a write was refused, or nobody knows how it ended. The row is read before the next one."""
    attempted: tuple[Happening, list[Entry]] | None = None
    """A happening and the rows that were tried for it with unknown result. The row read later is compared with them."""
    not_looked_up: bool = False
    """It was taken for new without a look into the journal: its claim tells whether it is."""
    stored: bool = False
    """It was claimed from the journal, and not brought by a delivery."""
    unrecorded: bool = False
    """It runs on a claim in memory only, because the journal was away; until its outcome is known to be written."""
    cut: Literal["", "drain", "cancel", "lost"] = ""
    """The reason why its run is being cancelled."""
    attempt: int = 1
    last: bool = False
    """True if the newest attempt was the last one."""
    start: float = 0.0
    touched: float = 0.0
    """The time when it was last delivered or changed, by the monotonic clock."""
    weight: tuple[BotQueue, int] | None = None
    """The queue in which its body counts as waiting, and how many bytes."""

    @classmethod
    def of_row(cls, row: Entry) -> TrackedEvent:
        """Track a row of the journal, under the name by which it is found."""
        return cls(name_of(row), row, split(row.id)[1])

    @property
    def open(self) -> bool:
        """Return whether it must not be forgotten: a delivery waits, this process works at it, or its outcome is unrecorded."""
        return self.phase != "idle" or bool(self.waiters) or self.hung or self.unrecorded

    @property
    def heard(self) -> bool:
        """Return whether an open connection waits for the outcome."""
        for waiter in self.waiters:  # noqa: SIM110 - a generator costs each delivery three calls more
            if not waiter.delivery.gone:
                return True
        return False

    def parked_with_token(self, bots: Collection[str]) -> bool:
        """Return whether it is a parked event of one of these bots and its token is known."""
        entry = self.entry
        return bool(self.token) and entry.state == "ready" and entry.door == "api" and entry.bot in bots

    def adopt(self, row: Entry) -> None:
        """Take over the journal's row. Deliveries that only this process has seen still count, and the measured time of the
        run is kept."""
        row.seen = max(row.seen, self.entry.seen)
        row.seen_at = max(row.seen_at, self.entry.seen_at)
        row.ms = row.ms or self.entry.ms
        if self.entry.history:
            row.history = merged(row.history, self.entry.history)
        self.entry = row

    def rest(self) -> None:
        """Become idle, and free the body and what else a run needs."""
        self.phase = "idle"
        self.envelope = None
        self.body = None
        self.content = b""
        self.ticket = None
        self.task = None
        self.deferred = False
        self.completing = False
        self.stored = False
        self.cut = ""

    def leave(self) -> None:
        """Become idle as by `rest`, and give turn and permit back."""
        ticket = self.ticket
        self.rest()
        if ticket is not None:
            ticket.leave()


class EventTable:
    """The tracked events of this process."""

    __slots__ = ("_events", "floors", "get", "waiting_bytes")

    def __init__(self) -> None:
        self._events: dict[str, TrackedEvent] = {}
        self.get = self._events.get
        """Gives the newest tracked event of an event key, or None; the dict's own method, because every delivery asks."""
        self.floors: dict[str, int] | None = None
        """None until the journal has told its highest ids: then everything unknown must be looked up."""
        self.waiting_bytes = 0

    def add(self, tracked: TrackedEvent) -> None:
        """Track an event. A later event of the same key (`key~n`) takes its place."""
        self._events[tracked.base] = tracked

    def drop(self, tracked: TrackedEvent) -> None:
        """Forget an event that the journal did not take."""
        if self._events.get(tracked.base) is tracked:
            del self._events[tracked.base]

    def may_be_stored(self, bot: str, comment: int) -> bool:
        """Return whether an event that is not here can be in the journal. `comment` is 0 if the key is a digest."""
        return not comment or self.floors is None or comment <= self.floors.get(bot, 0)

    def learn_floors(self, highest: Mapping[str, int]) -> None:
        """Raise the floors to the journal's highest comment ids by bot. Floors that are higher already stay."""
        known = self.floors or {}
        self.floors = {bot: max(known.get(bot, 0), highest.get(bot, 0)) for bot in {*known, *highest}}

    def load(self, entries: Sequence[Entry], now: float) -> None:
        """Track entries of the journal at start. Of several with one key the newest is kept."""
        for entry in entries:
            tracked = TrackedEvent.of_row(entry)
            tracked.touched = now
            other = self._events.get(tracked.base)
            if other is None or other.entry.created <= entry.created:
                self._events[tracked.base] = tracked
        for tracked in self._events.values():
            if tracked.entry.kind == "manual" and (event := self._events.get(base_of(tracked.entry.id))) is not None:
                event.number = max(event.number, tracked.number)

    def forget(self, before: float, tokens_of: Collection[str] = ()) -> int:
        """Drop the events that are not open and were last touched before `before` (monotonic). Returns their number.

        Parked events of the bots `tokens_of` stay for a day, because only this memory holds the token for their replies.
        """
        gone = [
            tracked
            for tracked in self._events.values()
            if not tracked.open
            and tracked.touched < (before - TOKEN_S if tracked.parked_with_token(tokens_of) else before)
        ]
        for tracked in gone:
            del self._events[tracked.base]
            entry = tracked.entry
            if self.floors is not None and entry.comment > self.floors.get(entry.bot, 0):
                self.floors[entry.bot] = entry.comment
        return len(gone)

    def shift(self, seconds: float) -> None:
        """Move the times of all entries by a step of the journal's time, as the journal has done with its rows."""
        for tracked in self._events.values():
            entry = tracked.entry
            entry.created += seconds
            entry.updated += seconds
            entry.due += seconds if entry.due else 0.0
            entry.seen_at += seconds if entry.seen_at else 0.0

    def weigh(self, tracked: TrackedEvent, queue: BotQueue, size: int) -> None:
        """Count `size` bytes of a waiting body towards the bot's bound and the host's."""
        self.unweigh(tracked)
        tracked.weight = (queue, size)
        queue.waiting_bytes += size
        self.waiting_bytes += size

    def unweigh(self, tracked: TrackedEvent) -> None:
        """Stop counting its body as waiting. Harmless when called again."""
        if tracked.weight is not None:
            queue, size = tracked.weight
            tracked.weight = None
            queue.waiting_bytes -= size
            self.waiting_bytes -= size

    def of(self, row: Entry) -> TrackedEvent | None:
        """Return the tracked event of a row, or None if this process does not know it."""
        tracked = self._events.get(name_of(row))
        return tracked if tracked is not None and tracked.entry.id == row.id else None

    def is_at(self, key: str) -> bool:
        """Return whether this process works at an entry or has not recorded its outcome yet. It then keeps the row, whatever
        the row says."""
        tracked = next(
            (found for found in (self.get(key), self.get(base_of(key))) if found and found.entry.id == key), None
        )
        return tracked is not None and (tracked.phase in ("waiting", "running", "posting") or tracked.unrecorded)

    def claimed(self, row: Entry, now: float) -> TrackedEvent:
        """Track a row that this process has just claimed. Returns its tracked event."""
        tracked = self.of(row)
        if tracked is None:
            tracked = TrackedEvent.of_row(row)
            self.add(tracked)
            event = self._events.get(base_of(row.id))
            if event is not None:
                event.number = max(event.number, tracked.number)
        tracked.entry = row
        tracked.touched = now
        return tracked

    def __iter__(self) -> Iterator[TrackedEvent]:
        return iter(list(self._events.values()))

    def __len__(self) -> int:
        return len(self._events)
