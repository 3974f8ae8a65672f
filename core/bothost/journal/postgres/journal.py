"""Keep the journal that several hosts share in PostgreSQL. Its clock alone decides about leases and what is due."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bothost.background import SupervisedLoops
from bothost.errors import JournalAway, JournalError, TurnTaken
from bothost.journal import owner_locks
from bothost.journal.entry import JournalTiming
from bothost.journal.held_claims import HeldClaims
from bothost.journal.journal_clock import JournalClock
from bothost.journal.migrations import QUIET
from bothost.journal.moving import move_statements
from bothost.journal.past import past_of
from bothost.journal.postgres import maintenance, slots, values
from bothost.journal.postgres import statements as sql
from bothost.journal.postgres.batching import BatchedCalls
from bothost.journal.postgres.clock_steps import DatabaseClock
from bothost.journal.postgres.due import DueClaims
from bothost.journal.postgres.heartbeat import Heartbeat, OwnerIdentity
from bothost.journal.postgres.pool import ConnectionPool
from bothost.journal.postgres.session import DatabaseAddress
from bothost.journal.rows import (
    COLUMNS,
    INDEXED_STATES,
    condition_of,
    entries_of,
    entry_of,
    raised,
    states_of,
    task_range,
    values_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.journal.data import DataRequest
    from bothost.journal.entry import Entry, EntryFilter, ReapedEntry, State
    from bothost.journal.past import Past

log = logging.getLogger("bothost.journal")

Write = tuple["Entry", bytes | None]


class PostgresJournal:
    """See `Journal`. `readonly` makes a visitor beside running hosts: only the operator's `retry`, `cancel`, `control` write."""

    claims_first = True

    def __init__(
        self, dsn: str, clock: Clock, *, timing: JournalTiming | None = None, folder: Path, readonly: bool = False
    ) -> None:
        self.owner = owner_locks.new_owner()
        self.loops = SupervisedLoops(clock)
        self._clock = clock
        self._timing = timing or JournalTiming()
        self._folder = folder
        self._readonly = readonly
        self._trouble_until = 0.0
        address = DatabaseAddress(dsn, self._timing.commit_s)
        self._pool = ConnectionPool(address, clock, self.loops, self._trouble)
        self._time = JournalClock(clock)
        self.now = self._time.now
        self._database_clock = DatabaseClock(self._pool, self._time, readonly=readonly)
        self._lock = owner_locks.OwnerLock(folder, self.owner)
        self._held = HeldClaims()
        self._heartbeat = Heartbeat(
            address, OwnerIdentity(self.owner, folder, self._timing), self._held, clock, self.loops
        )
        self._writes: BatchedCalls[Write, bool] = BatchedCalls(self._write_all, lambda item: item[0].id)
        self._claims: BatchedCalls[Write, Entry | None] = BatchedCalls(self._claim_all, lambda item: item[0].id)
        self._due = DueClaims(self._pool, self.owner, self.now)
        self._keep: Mapping[str, float] = {}

    async def open(self) -> None:
        """See `Journal.open`. Other hosts get half a lease of grace, because after an outage live ones may look dead."""
        owner_locks.let_go_in_children(self._folder)
        await self._pool.open(make=not self._readonly)
        if self._readonly:
            await self._database_clock.begin()
            return
        try:
            self._take_lock()
            async with self._pool.connection() as connection:
                await self._heartbeat.beat(connection, self._clock.boot())
            await self._database_clock.begin()
        except JournalAway:
            self._lock.give_back()
            await self._pool.close()
            raise
        self._trouble()
        self._heartbeat.start()

    async def follow_clock(self) -> float:
        """See `Journal.follow_clock`. After a step all hosts get grace, because its cause may have stopped them all."""
        step_s = await self._database_clock.follow()
        if step_s:
            self._trouble()
        return step_s

    def _take_lock(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.take()
        except OSError as error:
            raise JournalAway(f"the state folder {self._folder} cannot be used: {error}") from error

    async def close(self) -> None:
        """See `Journal.close`."""
        await self._writes.drain()
        await self._claims.drain()
        await self._due.drain()
        with self._clock.real_io():
            await asyncio.to_thread(self._heartbeat.stop)
        await self._pool.close()
        self._lock.give_back()

    async def claim(self, entry: Entry, body: bytes) -> tuple[Literal["claimed", "known", "busy"], Entry]:
        """See `Journal.claim`."""
        mine = msgspec.structs.replace(
            entry, state="running", fence=entry.fence + 1, owner=self.owner, updated=self._now(), revision=1
        )
        with self._held.claiming(entry) as is_ours:
            row = await self._claims.ask((mine, body or None))
            if row is None:
                return "busy", entry
            if row is mine or (row.owner == self.owner and is_ours(row)):
                return "claimed", self._held.add(row)
            return "known", row

    async def _claim_all(self, items: list[Write]) -> Sequence[Entry | None]:
        """Insert new events whose turn is free. Return the rows as they stand, and None for each whose turn is taken."""
        arguments = [(*values_of(entry), body) for entry, body in items]
        async with self._pool.connection() as connection:
            rows = await connection.fetchmany(sql.CLAIM, arguments)
            new = {row[0] for row in rows}
            rest = [entry.id for entry, _ in items if entry.id not in new]
            known = (
                {row["id"]: entry_of(tuple(row)) for row in await connection.fetch(sql.FIND_ALL, rest)} if rest else {}
            )
        return [entry if entry.id in new else known.get(entry.id) for entry, _ in items]

    async def take(self, key: str, *, seen: int, seen_at: float) -> Entry | None:
        """See `Journal.take`."""
        try:
            async with self._pool.connection() as connection:
                row = await connection.fetchrow(sql.TAKE, self.owner, self._now(), key, seen, seen_at)
        except TurnTaken:
            return None
        return self._held.add(entry_of(tuple(row))) if row else None

    def note(self, entry: Entry, body: bytes | None = None) -> None:  # noqa: ARG002 - the Protocol's
        """See `Journal.note`. It does nothing, because nothing is written behind if claims come first."""
        raise JournalError(f"{entry.id}: a journal that claims first is written by `save`")

    async def save(self, entry: Entry, body: bytes | None = None) -> bool:
        """See `Journal.save`."""
        mine = raised(entry)
        saved = await self._writes.ask((mine, body or None))
        if saved:
            entry.revision = mine.revision
            self._held.wrote(mine)
        return saved

    async def _write_all(self, items: list[Write]) -> Sequence[bool]:
        arguments = [(*values_of(entry), body) for entry, body in items]
        try:
            rows = await self._fetch_many(sql.WRITE, arguments)
            written = {row[0] for row in rows}
        except TurnTaken:
            written = {key for item in items if (key := await self._write_singly(item)) is not None}
        if any(entry.state == "ready" and entry.door == "api" and entry.id in written for entry, _ in items):
            await self._pool.hint()
        return [entry.id in written for entry, _ in items]

    async def _write_singly(self, item: Write) -> str | None:
        """Write one entry. If another host's entry has its turn, write it without the turn."""
        entry, body = item
        try:
            rows = await self._fetch_many(sql.WRITE, [(*values_of(entry), body)])
        except TurnTaken:
            entry = msgspec.structs.replace(entry, turn=None)
            rows = await self._fetch_many(sql.WRITE, [(*values_of(entry), body)])
        return rows[0][0] if rows else None

    async def _fetch_many(self, statement: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        async with self._pool.connection() as connection:
            rows: list[Any] = await connection.fetchmany(statement, arguments)
            return rows

    async def find(self, key: str) -> Entry | None:
        """See `Journal.find`."""
        rows = await self._pool.fetch(sql.FIND, key)
        return entry_of(tuple(rows[0])) if rows else None

    async def latest(self, key: str) -> Entry | None:
        """See `Journal.latest`."""
        rows = await self._pool.fetch(sql.LATEST, key)
        return entry_of(tuple(rows[0])) if rows else None

    async def body(self, key: str) -> bytes | None:
        """See `Journal.body`."""
        rows = await self._pool.fetch(sql.BODY_OF, key)
        return rows[0][0] if rows else None

    async def due(self, room: Mapping[str, int], limit: int) -> Sequence[Entry]:
        """See `Journal.due`."""
        return [self._held.add(row) for row in await self._due.claim(room, limit)]

    async def waiting(self) -> Mapping[str, int]:
        """See `Journal.waiting`."""
        counts: dict[str, int] = {}
        for statement in (sql.WAITING, sql.POSTS_WAITING):
            for bot, count in await self._pool.fetch(statement):
                counts[bot] = counts.get(bot, 0) + count
        return {bot: count for bot, count in counts.items() if count}

    async def wait_hint(self, seconds: float) -> None:
        """See `Journal.wait_hint`."""
        await self._pool.wait_hint(seconds)

    async def reap(self) -> Sequence[ReapedEntry]:
        """See `Journal.reap`. If this process lost its lease, all hosts get grace, because the cause may have stopped them all."""
        if not self.alive():
            self._trouble()
        return await maintenance.reap(self._pool, self._round(), also_lost=self._is_calm())

    def _is_calm(self) -> bool:
        return self._clock.boot() >= self._trouble_until

    async def owners(self) -> Set[str]:
        """See `Journal.owners`."""
        return {row[0] for row in await self._pool.fetch(sql.LIVING, not self._is_calm())}

    def orphans(self) -> Mapping[str, int]:
        """See `Journal.orphans`."""
        return self._held.orphans

    async def give_back(self, orphans: Mapping[str, int]) -> None:
        """See `Journal.give_back`."""
        await maintenance.give_back(self._pool, self._round(), orphans)

    async def quiet(self) -> Sequence[Entry]:
        """See `Journal.quiet`."""
        return await maintenance.quiet(self._pool, self._round(), self._keep)

    async def retain(self, keep: Mapping[str, float]) -> int:
        """See `Journal.retain`."""
        self._keep = dict(keep)
        await maintenance.forget_owners(self._pool, self._round())
        return await maintenance.retain(self._pool, self._keep)

    async def recent(self, since: float) -> Sequence[Entry]:
        """See `Journal.recent`."""
        return entries_of(tuple(row) for row in await self._pool.fetch(sql.RECENT, since))

    async def highest(self) -> Mapping[str, int]:
        """See `Journal.highest`."""
        found: dict[str, int] = {}
        last = ""
        while rows := await self._pool.fetch(sql.HIGHEST, last):
            last = max(row[2] for row in rows)
            found.update((bot, max(comment, found.get(bot, 0))) for bot, comment, _ in rows)
        return found

    async def past(self, until: float, seconds: float, shift: float) -> Past:
        """See `Journal.past`."""
        newest = await self._pool.fetch(sql.NEWEST_OF_BOTS)
        minutes = await self._pool.fetch(sql.BY_MINUTE, until - seconds, until, shift)
        return past_of(map(tuple, newest), map(tuple, minutes))

    async def last_step(self, bot: str, task: int) -> int | None:
        """See `Journal.last_step`."""
        rows = await self._pool.fetch(sql.LAST_STEP, *task_range(bot, task))
        return rows[0][0] if rows else None

    async def wrote(self, bot: str, task: int, comment: int) -> None:
        """See `Journal.wrote`."""
        await self._pool.fetch(sql.WROTE, bot, task, comment)

    async def written(self, bot: str, task: int) -> set[int]:
        """See `Journal.written`."""
        return {row[0] for row in await self._pool.fetch(sql.WRITTEN, bot, task)}

    async def list(self, want: EntryFilter) -> Sequence[Entry]:
        """See `Journal.list`."""
        where = condition_of(want, lambda number: f"${number}")
        states = states_of(want)
        if states and INDEXED_STATES.issuperset(states):
            where.add("state <> 'answered'")  # it tells the planner that the partial index holds all of them
        elif want.phase == "undelivered":
            where.add(QUIET["postgres"])
        asked = (
            f"select {COLUMNS} from {sql.TABLE} where {where} order by created desc, id desc limit {int(want.limit)}"
        )
        return entries_of(tuple(row) for row in await self._pool.fetch(asked, *where.values))

    async def counts(self) -> Mapping[tuple[str, State], int]:
        """See `Journal.counts`."""
        return {(row[0], row[1]): row[2] for row in await self._pool.fetch(sql.COUNTS)}

    async def control(self, key: str, value: str | None) -> None:
        """See `Journal.control`."""
        if value is None:
            await self._pool.fetch(sql.DROP_CONTROL, key)
        else:
            await self._pool.fetch(sql.SET_CONTROL, key, value)

    async def controls(self) -> Mapping[str, str]:
        """See `Journal.controls`."""
        return {row[0]: row[1] for row in await self._pool.fetch(sql.CONTROLS)}

    async def retry(self, key: str, *, again: bool = False, who: str = "", revision: int = 0) -> Entry:
        """See `Journal.retry`."""
        entry = await maintenance.retry(self._pool, self._round(), key, again=again, who=who, revision=revision)
        await self._pool.hint()
        return entry

    async def cancel(self, key: str, who: str = "") -> Entry:
        """See `Journal.cancel`."""
        return await maintenance.cancel(self._pool, self._round(), key, who)

    async def move(self, old: str, new: str) -> int:
        """See `Journal.move`."""
        deliveries, written = move_statements(f"{sql.SCHEMA}.", "$1::text", "$2::text")
        async with self._pool.transaction() as session:
            await session.execute(written, old, new)
            moved = await session.fetch(f"{deliveries} returning 1", old, new)
        await self._pool.hint()
        return len(moved)

    def cancelled(self) -> set[str]:
        """See `Journal.cancelled`."""
        return set(self._heartbeat.cancelled)

    def lost(self) -> set[str]:
        """See `Journal.lost`."""
        return set(self._held.lost)

    def damage(self) -> str:
        """See `Journal.damage`. There is none, because the database looks after its files itself."""
        return ""

    def alive(self) -> bool:
        """See `Journal.alive`."""
        return self._clock.boot() < self._heartbeat.lease_end

    async def put(self, entry: Entry, body: bytes, *, slot: tuple[str, str] | None = None) -> Entry:
        """See `Journal.put`."""
        return await slots.put(self._pool, entry, body, slot, self._now())

    async def withdraw(self, space: str, name: str) -> bool:
        """See `Journal.withdraw`."""
        return await slots.withdraw(self._pool, (space, name), self._now())

    async def ask(self, space: str, request: DataRequest) -> Any:
        """See `Journal.ask`."""
        return await values.answer(self._pool, space, request)

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        """See `Journal.gate`."""
        return await maintenance.gate(self._pool, name, want, (rate_per_s, cap))

    async def gate_reset(self, name: str, tokens: float) -> None:
        """See `Journal.gate_reset`."""
        await self._pool.fetch(sql.SET_GATE, name, tokens)

    def _trouble(self) -> None:
        self._trouble_until = self._clock.boot() + self._timing.lease_s / 2

    def _round(self) -> maintenance.MaintenanceRound:
        return maintenance.MaintenanceRound(self.owner, self._folder, self._now(), self._timing)

    def _now(self) -> float:
        return self._time.now()
