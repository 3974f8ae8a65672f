"""Claim due entries in the shared journal. Calls that come together share one round trip, because it costs more than a claim."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost.errors import TurnTaken
from bothost.journal.postgres import statements as sql
from bothost.journal.postgres.batching import BatchedCalls
from bothost.journal.rows import entries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bothost.journal.entry import Entry
    from bothost.journal.postgres.pool import ConnectionPool

TRIES = 4
"""The number of tries of a statement that met another host at a turn. The other host has committed by then."""


@dataclass(frozen=True, slots=True, eq=False)
class DueRequest:
    """One call of `due`."""

    room: Mapping[str, int]
    limit: int


class DueClaims:
    """Claims due entries for one owner. `now` is the journal's time."""

    def __init__(self, pool: ConnectionPool, owner: str, now: Callable[[], float]) -> None:
        self._pool = pool
        self._owner = owner
        self._now = now
        self._asks: BatchedCalls[DueRequest, list[Entry]] = BatchedCalls(self._claim_all, lambda ask: str(id(ask)))

    async def claim(self, room: Mapping[str, int], limit: int) -> list[Entry]:
        """See `Journal.due`."""
        return await self._asks.ask(DueRequest(dict(room), limit))

    async def drain(self) -> None:
        """Return when nothing is under way."""
        await self._asks.drain()

    async def _claim_all(self, asks: list[DueRequest]) -> Sequence[list[Entry]]:
        room: Counter[str] = Counter()
        for ask in asks:
            room.update(ask.room)
        limit = sum(ask.limit for ask in asks)
        rows = await self._try(sql.POSTS, list(room), limit)
        bots = [bot for bot, free in room.items() if free > 0]
        if bots and len(rows) < limit:
            rows += await self._heads(bots, room, limit - len(rows))
        return share_out(rows, asks)

    async def _heads(self, bots: list[str], room: Mapping[str, int], limit: int) -> list[Entry]:
        """Claim and return parked entries, a share of each bot, beginning with the bot that has waited longest."""
        if len(bots) > 1:
            bots = [row[0] for row in await self._pool.fetch(sql.BY_AGE, bots)][:limit]
        share = max(1, limit // max(len(bots), 1))
        rooms = {bot: min(room[bot], share) for bot in bots}
        if not rooms:
            return []
        rows = await self._try(sql.HEADS, list(rooms), list(rooms.values()), limit)
        claimed = Counter(row.bot for row in rows)
        hungry = [bot for bot in rooms if claimed[bot] < rooms[bot]]
        many = await self._pool.fetch(sql.HAS_MANY, hungry) if hungry else []
        for (bot,) in many:
            # One busy task must not hide the others behind its waiting entries, so the first entry of each turn is looked at.
            rows += await self._try(sql.TURNS, [bot], [rooms[bot] - claimed[bot]], limit - len(rows))
        return rows

    async def _try(self, statement: str, *values: object) -> list[Entry]:
        for _ in range(TRIES):
            with suppress(TurnTaken):
                rows = await self._pool.fetch(statement, self._owner, self._now(), *values)
                return entries_of(tuple(row) for row in rows)
        return []


def share_out(rows: Sequence[Entry], asks: Sequence[DueRequest]) -> list[list[Entry]]:
    """Return the rows of each request: runs within its room for their bot, and posts within its limit if that is possible."""
    shares: list[list[Entry]] = [[] for _ in asks]
    runs: list[Counter[str]] = [Counter() for _ in asks]
    for row in rows:
        able = [n for n, ask in enumerate(asks) if row.bot in ask.room]
        if row.answer is None:
            able = [n for n in able if runs[n][row.bot] < asks[n].room[row.bot]]
        taker = min(able, key=lambda n: len(shares[n]) >= asks[n].limit)
        shares[taker].append(row)
        runs[taker][row.bot] += row.answer is None
    return shares
