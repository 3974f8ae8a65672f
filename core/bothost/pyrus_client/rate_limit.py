"""Keep Pyrus's rate limit, 5,000 calls in 10 minutes for each account (protocol 5.4), together with all callers of an account.

The tokens lie in the journal, so that handlers, poster, sections and hosts share them. A process takes several at a time, so
that it does not ask the journal for every call. A tenth of the limit is a gate of its own for late replies, so that a handler
that calls without end cannot hold a reply back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from bothost.errors import JournalAway, RateLimited

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.pyrus.rest.requests import RateHeaders

WINDOW_S = 600.0
DEFAULT_LIMIT = 5000
MOST_LIMIT = 100_000
"""A header with a higher limit is ignored, because a gate that fills so fast would limit nothing."""
KEPT = 0.1
BATCH = 5
SHORTEST_WAIT_S = 0.05
LONGEST_WAIT_S = 900.0


class SharedLimits(Protocol):
    """The part of the journal that the client needs; the journal's Protocol has it."""

    def alive(self) -> bool:
        """Return whether this owner's lease holds."""

    def lost(self) -> set[str]:
        """Return the keys that this owner held and has lost."""

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        """Take tokens. Return 0.0 if they were granted, else the seconds to wait."""

    async def gate_reset(self, name: str, tokens: float) -> None:
        """Set the tokens of a gate. Below zero it is shut for so many seconds."""


@dataclass(slots=True)
class AccountLimit:
    """One account's limit, as this process knows it."""

    limit: int = DEFAULT_LIMIT
    left: dict[str, int] = field(default_factory=dict)
    """The tokens taken from each gate and not used yet."""
    shut: dict[str, float] = field(default_factory=dict)
    """The time (monotonic) until which each gate is shut."""
    tenths: int = 10
    """The tenths of the limit that were left at the last correction."""


class RateLimits:
    """The gates of all accounts, as one process sees them."""

    def __init__(self, clock: Clock, shared: SharedLimits) -> None:
        self._clock = clock
        self._shared = shared
        self._accounts: dict[str, AccountLimit] = {}

    async def enter(self, name: str, ends_at: float | None, *, late: bool) -> None:
        """Wait for the right to make one call. Raises RateLimited if the wait would go beyond the deadline.

        For a late reply it raises instead of any wait, because the poster plans its waits itself."""
        while (wait_s := await self._wait_s(name, late=late)) > 0:
            self.patience(wait_s, ends_at, late=late)
            await asyncio.sleep(max(wait_s, SHORTEST_WAIT_S))

    def is_shut(self, name: str, *, late: bool) -> bool:
        """Return whether no call may leave at this moment, as far as this process knows."""
        shut, now = self._account(name).shut, self._clock.monotonic()
        closed = shut.get(gate_name(name, late=False), 0.0) > now
        return closed and (not late or shut.get(gate_name(name, late=True), 0.0) > now)

    def patience(self, wait_s: float, ends_at: float | None, *, late: bool) -> None:
        """Pass if a call may wait so long, else raise RateLimited."""
        room_s = LONGEST_WAIT_S if ends_at is None else ends_at - self._clock.monotonic()
        if late or wait_s > room_s:
            raise RateLimited(f"Pyrus's rate limit: the next call may go in {wait_s:.0f} s", retry_after_s=wait_s)

    async def correct(self, name: str, rate: RateHeaders) -> None:
        """Note the calls that a response's headers leave. The journal is corrected once for each tenth, and at the end."""
        account = self._account(name)
        limit = min(rate.limit, MOST_LIMIT)
        tenths = min(rate.remaining, limit) * 10 // limit
        kept = int(limit * KEPT)
        if account.limit != limit or tenths > account.tenths + 1:
            account.limit, account.tenths = limit, 10
        if rate.remaining <= 0:
            await self.shut(name, rate.reset_s)
        elif rate.remaining <= kept:
            await self._shut(name, gate_name(name, late=False), rate.reset_s)
        elif tenths < account.tenths:
            await self._reset(gate_name(name, late=False), min(rate.remaining, limit) - kept)
        account.tenths = min(account.tenths, tenths)

    async def shut(self, name: str, seconds: float) -> None:
        """Shut the account's gates for so long, because Pyrus has answered 429 or no call is left."""
        for late in (False, True):
            await self._shut(name, gate_name(name, late=late), seconds)

    async def _wait_s(self, name: str, *, late: bool) -> float:
        account = self._account(name)
        wait_s = await self._take(account, gate_name(name, late=False), 1 - KEPT)
        return (
            min(wait_s, await self._take(account, gate_name(name, late=True), KEPT)) if late and wait_s > 0 else wait_s
        )

    async def _take(self, account: AccountLimit, gate: str, share: float) -> float:
        shut_s = account.shut.get(gate, 0.0) - self._clock.monotonic()
        if shut_s > 0:
            return shut_s
        if account.left.get(gate, 0) > 0:
            account.left[gate] -= 1
            return 0.0
        cap = max(account.limit * share, 1.0)
        for want in (BATCH, 1) if cap >= BATCH * 10 else (1,):
            try:
                wait_s = await self._shared.gate(gate, want, cap / WINDOW_S, cap)
            except JournalAway:
                return 0.0  # if that is too much, Pyrus's own 429 limits the calls
            if wait_s <= 0:
                account.left[gate] = account.left.get(gate, 0) + want - 1
                return 0.0
        return wait_s

    async def _shut(self, name: str, gate: str, seconds: float) -> None:
        account = self._account(name)
        now = self._clock.monotonic()
        seconds = min(seconds, LONGEST_WAIT_S)
        account.left.pop(gate, None)
        if account.shut.get(gate, 0.0) < now + seconds - 1:
            account.shut[gate] = now + seconds
            await self._reset(gate, -seconds)

    async def _reset(self, gate: str, tokens: float) -> None:
        try:
            await self._shared.gate_reset(gate, tokens)
        except JournalAway:
            return  # the next response corrects it again

    def _account(self, name: str) -> AccountLimit:
        return self._accounts.setdefault(name, AccountLimit())


LATE = " late"


def gate_name(account: str, *, late: bool) -> str:
    """Return the gate's name in the journal: the account's, followed by a word for the tenth of late replies."""
    return account + LATE if late else account
