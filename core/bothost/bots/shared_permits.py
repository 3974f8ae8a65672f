"""Count the runs of a bot with `concurrency` together over all processes that work on the journal.

The journal holds for each such bot how many permits each process has. A process gives runs from what it has without asking:
where it is alone it has all of them, so a delivery costs nothing more. Several processes keep an equal share each, take more
while more is free, and give back what they do not use. Where more is wanted than there is, each gets an equal share, and
the rest goes round by arrival.

What the journal holds changes by comparing and setting one value, so two processes never take the same permit. The permits of
a process whose lease has ended belong to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway
from bothost.journal.data import ReadValue, WriteValue, every_value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence, Set

    from bothost.background import SupervisedLoops
    from bothost.bots.queue import BotQueue
    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.journal import Journal

PERMITS = ":permits"
"""The space of what each process has: bot → `Holdings`. No bot's name begins with a colon."""
WISHES = ":wishes"
"""The space of who waits for permits: "bot owner" → `Wish`."""
BETWEEN_S = 0.01
"""The least time between two looks, however often permits are asked for."""
TRIES = 5

Holdings = dict[str, tuple[int, int]]
"""Owner → the number of permits, and a number that every write of that owner raises, so that one which was given up cannot
land later."""


class PermitTiming(msgspec.Struct, frozen=True, kw_only=True):
    """The times of shared permits in seconds; tests make them short."""

    look_s: float = 1.0
    again_s: float = 0.1
    """How often a process looks that waits for a permit, or for whose permits others wait."""
    wish_s: float = 3.0
    """How long a wish holds that is not repeated."""
    quantum_s: float = 1.0
    """How long a process uses the permits it got before it gives those beyond an equal share to others who wait."""
    unused_s: float = 60.0
    """How long a process keeps permits that it does not use."""
    verify_s: float = 10.0
    """How often a process compares what it has with the journal."""


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """The permits that a process waits for: their number, and since when (the journal's time)."""

    count: int
    since: float


@dataclass(frozen=True, slots=True)
class Others:
    """The processes that share permits with this one: how many live, and what those wish that wait for this bot."""

    living: Set[str]
    wishes: Sequence[tuple[str, Wish]]


class BotShare:
    """This process's share of one bot's permits (see `queue.PermitShare`)."""

    def __init__(self, queue: BotQueue, wake: asyncio.Event, timing: PermitTiming) -> None:
        self.queue = queue
        self.timing = timing
        self.limit = 0
        """The bot's `concurrency`; 0: not counted together any more."""
        self.granted = 0
        self.keeps = 0
        self.noted = 0
        """What the journal says that this process has."""
        self.unsure = False
        """True where nobody knows whether the last write landed."""
        self.since = 0.0
        """When it last got more permits."""
        self.used_at = 0.0
        self.verified_at = 0.0
        self.wish: Wish | None = None
        self.wished_at = 0.0
        self._wake = wake

    def ask(self) -> None:
        """See `queue.PermitShare.ask`. A process that waits already looks often enough."""
        if self.wish is None:
            self._wake.set()

    @property
    def resting(self) -> bool:
        """Return whether there is nothing to do: no permit is here, and nobody wants one."""
        return not (self.noted or self.unsure or self.wish or self.queue.held or self.queue.short)

    def wanted(self, others: Others, now: float) -> int:
        """Return how many permits this process should have, as far as they are free."""
        busy = self.queue.held + self.queue.short
        if busy:
            self.used_at = now
        if not self.limit or now - self.used_at > self.timing.unused_s:
            return 0
        alone = len(others.living) <= 1
        self.keeps = self.limit if alone else self.limit // len(others.living)
        return min(busy if others.wishes else max(busy, self.keeps), self.limit)

    def bound(self, wanted: int, holders: Collection[str], others: Others, now: float) -> int:
        """Return `wanted`, but where others wait no more than an equal share, and one of what cannot be shared equally.

        That one goes round: whoever has had it for a while gives it to the next who waits.
        """
        if not others.wishes:
            return wanted
        sharing = {*holders, *(owner for owner, _ in others.wishes)}
        equal, rest = divmod(self.limit, len(sharing) + 1)
        if self.noted > equal and now - self.since >= self.timing.quantum_s:
            return min(wanted, equal)
        return min(wanted, max(self.noted, equal + (rest > 0)))

    def free(self, holdings: Mapping[str, tuple[int, int]], others: Others) -> int:
        """Return how many permits nobody has and nobody has waited for longer."""
        taken = sum(count for count, _ in holdings.values())
        before = sum(wish.count for _, wish in others.wishes if self.wish is None or wish.since < self.wish.since)
        return max(self.limit - taken - self.noted - before, 0)

    def give(self, granted: int) -> None:
        """Let the queue give so many permits."""
        self.granted = granted
        self.queue.follow_share()


class SharedPermits:
    """Takes and gives back permits for the bots of one process."""

    def __init__(
        self, journal: Journal, clock: Clock, loops: SupervisedLoops, timing: PermitTiming | None = None
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._loops = loops
        self._timing = timing or PermitTiming()
        self._wake = asyncio.Event()
        self._shares: dict[str, BotShare] = {}
        self._tasks = BackgroundTasks()
        self._written = 0

    def share_of(self, bot: Bot) -> BotShare | None:
        """Return the share of a bot whose runs all processes count together, None for any other.

        One process that alone works on the embedded journal counts for itself.
        """
        share = self._shares.get(bot.name)
        limit = bot.config.concurrency if self._journal.claims_first else 0
        if limit and (share is None or share.queue is not bot.queue):
            share = self._shares[bot.name] = BotShare(bot.queue, self._wake, self._timing)
            self._wake.set()
        if share is not None:
            share.limit = limit
        return share if limit else None

    def start(self) -> None:
        """Begin to look; the journal is open."""
        self._tasks.spawn(self._loops.keep("permits", self._go_on))

    async def stop(self) -> None:
        """Look no more. What this process has is free when it signs off from the journal."""
        await self._tasks.stop()

    async def _go_on(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.look()
            except JournalAway:
                self._go_without()
            await asyncio.sleep(BETWEEN_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.again_s if self._hurried else self._timing.look_s):
                    await self._wake.wait()

    @property
    def _hurried(self) -> bool:
        return any(share.wish is not None or share.queue.held > share.granted for share in self._shares.values())

    def _go_without(self) -> None:
        """Let one run begin while the journal is away, because a last attempt that waited would be lost."""
        for share in self._shares.values():
            if share.limit and not share.granted:
                share.unsure = True
                share.give(1)

    async def look(self) -> None:
        """Compare once what each bot wants with what there is. Raises JournalAway."""
        shares = {name: share for name, share in self._shares.items() if not share.resting}
        if not shares:
            return
        living = {*await self._journal.owners(), self._journal.owner}
        wishes = await self._wishes(living)
        for name, share in shares.items():
            await self._settle(name, share, Others(living, wishes.get(name, ())))
            if not share.limit and share.resting and self._shares.get(name) is share:
                del self._shares[name]

    async def _wishes(self, living: Collection[str]) -> dict[str, list[tuple[str, Wish]]]:
        """Read what other living processes wait for."""
        found: dict[str, list[tuple[str, Wish]]] = {}
        for key, value in await every_value(self._journal, WISHES):
            bot, _, owner = key.partition(" ")
            if owner in living and owner != self._journal.owner:
                found.setdefault(bot, []).append((owner, msgspec.msgpack.decode(value, type=Wish)))
        return found

    async def _settle(self, name: str, share: BotShare, others: Others) -> None:
        """Take, keep or give back the permits of one bot."""
        now = self._clock.monotonic()
        wanted = share.wanted(others, now)
        stale = share.unsure or now - share.verified_at > self._timing.verify_s
        if wanted == share.noted == share.granted and not others.wishes and not stale and share.wish is None:
            return
        bound = None
        for _ in range(TRIES):
            if (bound := await self._try(name, share, others, wanted)) is not None:
                break
        await self._tell_wish(name, share, share.granted if bound is None else bound)

    async def _try(self, name: str, share: BotShare, others: Others, wanted: int) -> int | None:
        """Read, decide and write once. Returns how many permits this process may have; None where another wrote meanwhile."""
        owner, now = self._journal.owner, self._clock.monotonic()
        raw = await self._journal.ask(PERMITS, ReadValue(name))
        holdings: Holdings = msgspec.msgpack.decode(raw, type=Holdings) if raw else {}
        if holdings.keys() - others.living:
            # read after the value: a process that began since the last look has signed on before it took a permit
            living = await self._journal.owners()
            holdings = {one: held for one, held in holdings.items() if one in living or one == owner}
        share.noted, _ = holdings.pop(owner, (0, 0))
        bound = share.bound(wanted, holdings, others, now)
        grant = min(bound, share.noted + share.free(holdings, others)) if bound > share.noted else bound
        if grant < share.granted:
            share.give(grant)  # before it is written: what is given back here must not be given once more meanwhile
        note = max(grant, share.queue.held)
        if (note != share.noted or share.unsure) and not await self._note(name, share, (raw, holdings), note):
            return None
        if note > share.noted:
            share.since = now
        share.noted, share.unsure, share.verified_at = note, False, now
        share.give(grant)
        return bound

    async def _note(self, name: str, share: BotShare, before: tuple[bytes | None, Holdings], note: int) -> bool:
        """Write what this process has. Returns False where another process wrote meanwhile."""
        raw, holdings = before
        # what an unknown write may still bring is shut out by a number that it does not know, also where nothing is left
        told = {**holdings, self._journal.owner: (note, self._written)} if note or share.unsure else holdings
        self._written += 1
        value = msgspec.msgpack.encode(told) if told else None
        unsure, share.unsure = share.unsure, True
        written = bool(await self._journal.ask(PERMITS, WriteValue(name, value, checked=True, expected=raw)))
        share.unsure = unsure
        return written

    async def _tell_wish(self, name: str, share: BotShare, bound: int) -> None:
        """Say in the journal how many permits are missing, for as long as some are."""
        key, now = f"{name} {self._journal.owner}", self._clock.monotonic()
        missing = min(bound - share.granted, share.queue.short)
        if missing <= 0:
            if share.wish is not None:
                share.wish = None
                await self._journal.ask(WISHES, WriteValue(key, None))
            return
        since = share.wish.since if share.wish is not None else self._journal.now()
        if share.wish is None or share.wish.count != missing or now - share.wished_at > self._timing.wish_s / 3:
            share.wish, share.wished_at = Wish(missing, since), now
            value = msgspec.msgpack.encode(share.wish)
            await self._journal.ask(WISHES, WriteValue(key, value, expires_in_s=self._timing.wish_s))
