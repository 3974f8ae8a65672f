"""Follow the database's clock, by which every host plans. At a step of it planned times move too, once for all hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.journal.journal_clock import STEP_S
from bothost.journal.postgres.statements import SCHEMA, TABLE

if TYPE_CHECKING:
    from bothost.journal.journal_clock import JournalClock
    from bothost.journal.postgres.pool import ConnectionPool

FACT = "clock"
"""The fact that holds the sum of all moves in seconds, so that one host moves the rows and the others see it."""
RECENT_S = 7200.0
"""The age up to which ended entries move too, because they tell repeats from new events."""
UNSURE_S = 0.25
"""The duration beyond which an answer is too unsure about the database's time for a small correction."""
_TIME = "select extract(epoch from clock_timestamp())::double precision"
_MAKE = f"insert into {SCHEMA}.control (name, value) values ('{FACT}', '0') on conflict do nothing"
_MOVED = f"select value from {SCHEMA}.control where name = '{FACT}'"
_SET = f"update {SCHEMA}.control set value = $1 where name = '{FACT}'"
_SHIFT = f"""
update {TABLE} set created = created + $1, updated = updated + $1, revision = revision + 1,
    due = case when due > 0 then due + $1 else due end, seen_at = case when seen_at > 0 then seen_at + $1 else seen_at end,
    until = case when until > 0 then until + $1 else until end
where state in ('ready', 'running') or (state = 'answered' and not delivered) or created >= $2
"""
_VALUES = f"update {SCHEMA}.value set expires = expires + $1 where expires > 0"
_LEASES = f"update {SCHEMA}.owner set lease = lease + $1"


class DatabaseClock:
    """Keeps one host's journal time equal to the database's. It is used on the loop."""

    def __init__(self, pool: ConnectionPool, clock: JournalClock, *, readonly: bool) -> None:
        self._pool = pool
        self._clock = clock
        self._readonly = readonly
        self._moved = 0.0

    async def begin(self) -> None:
        """Set the journal's time to the database's. Raises JournalAway."""
        if not self._readonly:
            await self._pool.fetch(_MAKE)
            self._moved = float((await self._pool.fetch(_MOVED))[0][0])
        self._clock.offset, _ = await self._measure()

    async def follow(self) -> float:
        """Follow the database's time. Return the seconds by which it stepped and planned times were moved, or 0.0."""
        offset, unsure_s = await self._measure()
        step_s = offset - self._clock.offset
        if abs(step_s) <= STEP_S + unsure_s:
            if unsure_s < UNSURE_S:
                self._clock.offset = offset
            return 0.0
        async with self._pool.transaction() as session:
            moved = float(await session.fetchval(f"{_MOVED} for update"))
            by_us_s = step_s - (moved - self._moved)
            if abs(by_us_s) > STEP_S + unsure_s:
                await session.execute(_SHIFT, by_us_s, self._clock.now() - RECENT_S)
                await session.execute(_LEASES, by_us_s)
                await session.execute(_VALUES, by_us_s)
                moved += by_us_s
                await session.execute(_SET, repr(moved))
        self._moved, self._clock.offset = moved, offset
        return step_s

    async def _measure(self) -> tuple[float, float]:
        """Return the database's offset to our boot clock, and its greatest error, both in seconds."""
        asked = self._clock.boot()
        (row,) = await self._pool.fetch(_TIME)
        heard = self._clock.boot()
        return row[0] - (asked + heard) / 2, (heard - asked) / 2
