"""What this process knows of events by heart: key → live entry, with the deliveries that wait for it.

While this process owns an entry, the live one is the truth and the journal follows. What the ledger has forgotten is looked
up in the journal, but only where it can be there: `floors` holds the highest comment id of each bot that was forgotten, and
an event above it is new without a look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Mapping, Sequence

    from bothost.delivery import Delivery
    from bothost.lanes import Lane, Place
    from bothost.pyrus.events import Envelope
    from bothost.store import Entry

Phase = Literal["idle", "waiting", "running", "posting", "foreign"]
"""What this process does with it: nothing (the entry says how it stands) · stands in line · a handler runs · its reply is on
its way out · it waits, but another process runs it."""


def base_of(key: str) -> str:
    """The event key that `key~n` is a later event of; else the key itself."""
    head, mark, number = key.rpartition("~")
    return head if mark and number.isdigit() else key


class Waiter:
    """A delivery whose connection is open until the event has an outcome."""

    __slots__ = ("delivery", "timer")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """No more time-out for this delivery."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Live:
    """One event as this process knows it."""

    __slots__ = (
        "attempt", "base", "body", "comment", "commit", "cut", "deferred", "entry", "envelope", "last", "phase", "place",
        "start", "task", "token", "touched", "waiters", "weight",
    )  # fmt: skip

    def __init__(self, base: str, entry: Entry) -> None:
        self.base = base
        """The event key without `~n`."""
        self.entry = entry
        self.phase: Phase = "idle"
        self.waiters: list[Waiter] = []
        self.envelope: Envelope | None = None
        """Kept while it waits or runs."""
        self.body: bytes | None = None
        """What the journal may keep: the body without its token; None where `keep = 0` or it is stored already."""
        self.token = ""
        """The newest token of its deliveries; never stored."""
        self.place: Place | None = None
        self.task: asyncio.Task[None] | None = None
        self.commit: asyncio.Task[None] | None = None
        """An acknowledgement that is being committed."""
        self.deferred = False
        """Its turn and permit came while it was being parked."""
        self.cut: Literal["", "drain", "cancel"] = ""
        """Why its run is being cancelled."""
        self.attempt = 1
        self.last = False
        """Whether the newest attempt was the last one."""
        self.start = 0.0
        self.touched = 0.0
        """When it was last delivered or changed, by the monotonic clock."""
        self.comment = entry.comment
        self.weight: tuple[Lane, int] | None = None
        """The lane in which its body counts as waiting, and how many bytes."""

    @property
    def open(self) -> bool:
        """Whether it may not be forgotten: somebody waits, or this process is at it."""
        return self.phase != "idle" or bool(self.waiters)

    def rest(self) -> None:
        """This process has nothing more to do with it: let go of the body."""
        self.phase = "idle"
        self.envelope = None
        self.body = None
        self.place = None
        self.task = None


class Ledger:
    """The live entries of this process."""

    __slots__ = ("_lives", "floors", "waiting_bytes")

    def __init__(self) -> None:
        self._lives: dict[str, Live] = {}
        self.floors: dict[str, int] | None = None
        """None until the journal has told its highest ids: then everything unknown must be looked up."""
        self.waiting_bytes = 0

    def get(self, base: str) -> Live | None:
        """The newest live entry of an event key."""
        return self._lives.get(base)

    def add(self, live: Live) -> None:
        """Know this entry from now on; a later one of the same key (`key~n`) takes its place."""
        self._lives[live.base] = live

    def may_be_stored(self, bot: str, comment: int) -> bool:
        """Whether an event that is not here can be in the journal all the same; `comment` 0: the key is a digest."""
        return not comment or self.floors is None or comment <= self.floors.get(bot, 0)

    def learn_floors(self, highest: Mapping[str, int]) -> None:
        """Take the journal's highest comment ids; what was forgotten meanwhile counts too."""
        known = self.floors or {}
        self.floors = {bot: max(known.get(bot, 0), highest.get(bot, 0)) for bot in {*known, *highest}}

    def load(self, entries: Sequence[Entry], now: float) -> None:
        """Know entries of the journal at start."""
        for entry in entries:
            live = Live(base_of(entry.id), entry)
            live.touched = now
            other = self._lives.get(live.base)
            if other is None or other.entry.created <= entry.created:
                self._lives[live.base] = live

    def forget(self, before: float) -> int:
        """Drop what nobody waits for and was last touched before `before` (monotonic); how many."""
        gone = [live for live in self._lives.values() if live.touched < before and not live.open]
        for live in gone:
            del self._lives[live.base]
            if self.floors is not None and live.comment > self.floors.get(live.entry.bot, 0):
                self.floors[live.entry.bot] = live.comment
        return len(gone)

    def weigh(self, live: Live, lane: Lane, size: int) -> None:
        """Count a waiting body, for the bot's bound and the host's."""
        self.unweigh(live)
        live.weight = (lane, size)
        lane.waiting_bytes += size
        self.waiting_bytes += size

    def unweigh(self, live: Live) -> None:
        """Its body waits no more."""
        if live.weight is not None:
            lane, size = live.weight
            live.weight = None
            lane.waiting_bytes -= size
            self.waiting_bytes -= size

    def take_over(self, moved: Entry) -> Live | None:
        """Learn that the store moved an entry by itself; None where this process is ahead of that or does not know it."""
        live = self._lives.get(base_of(moved.id))
        if live is None or live.entry.id != moved.id or live.open or live.entry.fence > moved.fence:
            return None
        live.entry = moved
        return live

    def __iter__(self) -> Iterator[Live]:
        return iter(list(self._lives.values()))

    def __len__(self) -> int:
        return len(self._lives)
