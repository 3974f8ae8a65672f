"""Do the shared journal's rounds: free the entries of dead owners, move quiet ones, drop old ones, obey operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bothost.errors import JournalError
from bothost.journal import owner_locks
from bothost.journal.entry import ReapedEntry
from bothost.journal.postgres import statements as sql
from bothost.journal.postgres.values import DROP_EXPIRED
from bothost.journal.retention import ANSWERS_S, DAY_S, KEEP_S, KEYS_S, OWNERS_S, TIMER_KEYS_S
from bothost.journal.rows import entries_of, entry_of, number_of, values_of
from bothost.journal.transitions import (
    cancelled,
    expired,
    given_back,
    quieted,
    reaped,
    refuse_answered,
    refuse_changed,
    retried,
    run_again,
    taken,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bothost.journal.entry import Entry, JournalTiming
    from bothost.journal.postgres.pool import ConnectionPool
    from bothost.journal.postgres.session import Session

BATCH = 500


@dataclass(frozen=True, slots=True)
class MaintenanceRound:
    """The owner that makes the round, and the journal's time of it."""

    owner: str
    folder: Path
    now: float
    timing: JournalTiming


async def reap(pool: ConnectionPool, at: MaintenanceRound, *, also_lost: bool) -> list[ReapedEntry]:
    """Free and return the entries of gone owners and, with `also_lost`, those that are held longer than they may be."""
    found: list[ReapedEntry] = []
    for owner, dead in (await _gone(pool, at)).items():
        if dead or also_lost:
            found += await _free_all_of(pool, owner, at, dead=dead)
    if also_lost:
        async with pool.transaction() as connection:
            found += await _free(connection, await connection.fetch(sql.OVERDUE, at.owner), at, dead=False)
    return found


async def _gone(pool: ConnectionPool, at: MaintenanceRound) -> dict[str, bool]:
    """Return the other owners that their lock file shows to be dead (True), and those whose lease is over (False)."""
    place = owner_locks.place_id(at.folder)
    gone: dict[str, bool] = {}
    for owner, where, over in await pool.fetch(sql.OWNERS, at.owner):
        if where == place and owner_locks.is_dead(at.folder, owner, missing=False):
            gone[owner] = True
        elif over:
            gone[owner] = False
    return gone


async def _free_all_of(pool: ConnectionPool, owner: str, at: MaintenanceRound, *, dead: bool) -> list[ReapedEntry]:
    async with pool.transaction() as connection:
        if not dead and await connection.fetchval(sql.IS_OVER, owner) is False:
            return []  # it has beaten meanwhile
        freed = await _free(connection, await connection.fetch(sql.RUNNING_OF, owner), at, dead=dead)
        if dead:
            await connection.execute(sql.FORGET_OWNER, owner)
    if dead:
        owner_locks.forget(at.folder, owner)
    return freed


async def _free(connection: Session, rows: list[Any], at: MaintenanceRound, *, dead: bool) -> list[ReapedEntry]:
    freed = [reaped(entry_of(tuple(row)), dead=dead, now=at.now, timing=at.timing) for row in rows]
    await _put(connection, freed)
    return [ReapedEntry(entry, dead) for entry in freed]


async def _put(connection: Session, entries: list[Entry]) -> None:
    """Write entries that this transaction has locked, each as its next revision."""
    for entry in entries:
        entry.revision += 1
    if entries:
        await connection.executemany(sql.PUT, [values_of(entry) for entry in entries])


async def give_back(pool: ConnectionPool, at: MaintenanceRound, orphans: Mapping[str, int]) -> None:
    """Free claims of this owner (key → fence) that it never heard of."""
    async with pool.transaction() as connection:
        rows = entries_of(tuple(row) for row in await connection.fetch(sql.RUNNING_OF, at.owner))
        mine = [entry for entry in rows if orphans.get(entry.id) == entry.fence]
        await _put(connection, [given_back(entry, now=at.now, timing=at.timing) for entry in mine])


async def quiet(pool: ConnectionPool, at: MaintenanceRound, keep: Mapping[str, float]) -> list[Entry]:
    """Move and return quiet entries, and parked ones whose bot did not come back."""
    async with pool.transaction() as connection:
        rows = await connection.fetch(sql.SLEEPERS, BATCH)
        moved = [quieted(entry_of(tuple(row)), at.now) for row in rows]
        bots = [bot for (bot,) in await connection.fetch(sql.BOTS_PARKED)]
        before = [at.now - max(keep.get(bot, KEEP_S), DAY_S) for bot in bots]
        rows = await connection.fetch(sql.EXPIRED, bots, before, BATCH) if bots else []
        moved += [expired(entry_of(tuple(row)), at.now) for row in rows]
        await _put(connection, moved)
    return moved


async def retain(pool: ConnectionPool, keep: Mapping[str, float]) -> int:
    """Drop bodies, answers and keys that are too old, and return the number of rows changed."""
    changed = 0
    for (bot,) in await pool.fetch(sql.BOTS_KEPT):
        keep_s = keep.get(bot, KEEP_S)
        changed += await _repeat(pool, sql.DROP_BODIES, bot, keep_s)
        changed += await _repeat(pool, sql.DROP_ANSWERS, bot, max(keep_s, ANSWERS_S))
    for statement in (sql.DROP_KEYS, sql.DROP_WRITTEN):
        changed += await _repeat(pool, statement, KEYS_S)
    changed += await _repeat(pool, DROP_EXPIRED)
    changed += await _repeat(pool, sql.DROP_OWNERS, OWNERS_S)
    return changed + await _repeat(pool, sql.DROP_TICKS, TIMER_KEYS_S)


async def forget_owners(pool: ConnectionPool, at: MaintenanceRound) -> None:
    """Remove the lock files of dead owners that the journal does not know."""
    known = {owner for owner, _, _ in await pool.fetch(sql.OWNERS, at.owner)}
    owner_locks.forget_dead(at.folder, known | {at.owner})


async def _repeat(pool: ConnectionPool, statement: str, *values: object) -> int:
    """Run a statement in batches until it changes nothing more, and return the number of rows changed."""
    changed = 0
    while True:
        async with pool.connection() as connection:
            status: str = await connection.execute(statement, *values, BATCH)
        count = int(status.rpartition(" ")[2])
        changed += count
        if count < BATCH:
            return changed


async def retry(pool: ConnectionPool, at: MaintenanceRound, key: str, *, again: bool, who: str, revision: int) -> Entry:
    """Retry an entry for an operator; with `again`, an answered one as a new entry with its body. Return the entry."""
    async with pool.transaction() as connection:
        entry = await _locked(connection, key)
        refuse_changed(entry, revision)
        body = await connection.fetchval(sql.BODY_OF, key)
        if entry.state != "answered":
            ready = retried(entry, has_body=body is not None, now=at.now, timing=at.timing, who=who)
            await _put(connection, [ready])
            return ready
        if not again:
            refuse_answered(entry)
        if body is None and entry.kind != "timer":
            raise JournalError(f"{key} cannot run again: its body is no longer stored")
        base, _ = number_of(key)
        newest = await connection.fetchrow(sql.LATEST, base)
        new = run_again(entry, f"{base}~{number_of(newest['id'])[1] + 1}", at.now, who)
        new.revision = 1
        await connection.execute(sql.WRITE, *values_of(new), body)
        return new


async def cancel(pool: ConnectionPool, at: MaintenanceRound, key: str, who: str) -> Entry:
    """Cancel an entry for an operator, and return it as it stands afterwards."""
    async with pool.transaction() as connection:
        entry = cancelled(await _locked(connection, key), at.now, who)
        await _put(connection, [entry])
        return entry


async def _locked(connection: Session, key: str) -> Entry:
    row = await connection.fetchrow(f"{sql.FIND} for update", key)
    if row is None:
        raise JournalError(f"there is no delivery {key}")
    return entry_of(tuple(row))


async def gate(pool: ConnectionPool, name: str, want: int, pace: tuple[float, float]) -> float:
    """Take tokens of a shared bucket. Return 0.0, or the seconds until there are enough."""
    async with pool.transaction() as connection:
        await connection.execute(sql.MAKE_GATE, name, pace[1])
        tokens, filled_at, now = await connection.fetchrow(sql.GATE, name)
        left, wait_s = taken((tokens, filled_at), want, pace, now)
        await connection.execute(sql.SET_GATE, name, left)
        return wait_s
