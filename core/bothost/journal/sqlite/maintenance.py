"""Do the embedded journal's rounds in SQL: free the entries of dead owners, move quiet ones, drop old ones, obey operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.errors import JournalError
from bothost.journal.entry import ReapedEntry
from bothost.journal.migrations import KEPT
from bothost.journal.retention import ANSWERS_S, DAY_S, KEEP_S, KEYS_S, TIMER_KEYS_S
from bothost.journal.rows import COLUMNS, entries_of, number_of
from bothost.journal.sqlite import queries, statements, values
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
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from bothost.journal.entry import Entry, JournalTiming
    from bothost.journal.sqlite.statements import TransactionTime

BATCH = 100
"""The most rows in one transaction of a round, because others wait for its end, and its pages stay in memory until then."""

_RUNNING_OF = (
    f"select {COLUMNS} from delivery indexed by d_running where state = 'running' and owner <> '' and owner = ?"
)
_OVERDUE = f"""
select {COLUMNS} from delivery indexed by d_running where state = 'running' and owner <> '' and owner <> ?
and until > 0 and until < ?
"""
"""It leaves out this owner's rows, because the owner knows what it runs, and writes the end as soon as the journal takes it."""


def beat(connection: sqlite3.Connection, boot_id: str, lease_end: float, owner: str) -> tuple[dict[str, int], set[str]]:
    """Renew the lease. Return what this owner runs by the journal (key → fence), and the keys that an operator asked to cancel."""
    connection.execute(
        "insert into owner (id, boot, lease) values (?, ?, ?) on conflict (id) do update set lease = excluded.lease",
        (owner, boot_id, lease_end),
    )
    rows = connection.execute(
        "select id, fence, cancel from delivery indexed by d_running where state = 'running' and owner <> '' and owner = ?",
        (owner,),
    ).fetchall()
    return {key: fence for key, fence, _ in rows}, {key for key, _, cancel in rows if cancel}


def gone_owners(
    connection: sqlite3.Connection, moment: TransactionTime, boot_id: str, is_dead: Callable[[str], bool]
) -> dict[str, bool]:
    """Return the other owners that are dead (True) or whose lease is over (False)."""
    known = connection.execute("select id, boot, lease from owner where id <> ?", (moment.owner,)).fetchall()
    unknown = connection.execute(
        "select distinct owner from delivery indexed by d_running where state = 'running' and owner <> '' and owner <> ? "
        "and owner not in (select id from owner)",
        (moment.owner,),
    ).fetchall()
    gone = {owner: True for (owner,) in unknown}
    for owner, boot, lease in known:
        if boot != boot_id or is_dead(owner):
            gone[owner] = True
        elif lease < moment.boot:
            gone[owner] = False
    return gone


def reap(
    connection: sqlite3.Connection,
    gone: Mapping[str, bool],
    moment: TransactionTime,
    timing: JournalTiming,
    *,
    also_lost: bool,
) -> list[ReapedEntry]:
    """Free and return the entries of gone owners and, with `also_lost`, those that are held longer than they may be."""
    found: list[ReapedEntry] = []
    for owner, dead in gone.items():
        if not dead and not also_lost:
            continue
        for entry in entries_of(connection.execute(_RUNNING_OF, (owner,)).fetchall()):
            freed = statements.put(connection, reaped(entry, dead=dead, now=moment.now, timing=timing))
            found.append(ReapedEntry(freed, dead))
        if dead:
            connection.execute("delete from owner where id = ?", (owner,))
    for entry in entries_of(connection.execute(_OVERDUE, (moment.owner, moment.boot)).fetchall()) if also_lost else ():
        freed = statements.put(connection, reaped(entry, dead=False, now=moment.now, timing=timing))
        found.append(ReapedEntry(freed, dead=False))
    return found


def give_back(
    connection: sqlite3.Connection, owner: str, orphans: Mapping[str, int], at: tuple[float, JournalTiming]
) -> None:
    """Free claims of this owner (key → fence) that it never heard of."""
    now, timing = at
    for key, fence in orphans.items():
        entry = statements.find(connection, key)
        if entry is not None and (entry.state, entry.owner, entry.fence) == ("running", owner, fence):
            statements.put(connection, given_back(entry, now=now, timing=timing))


def quiet(connection: sqlite3.Connection, now: float, keep: Mapping[str, float]) -> list[Entry]:
    """Move and return quiet entries, and parked ones whose bot did not come back."""
    moved = [statements.put(connection, quieted(entry, now)) for entry in statements.quiet_rows(connection, now, BATCH)]
    for (bot,) in connection.execute(queries.BOTS_PARKED).fetchall():
        before = now - max(keep.get(bot, KEEP_S), DAY_S)
        late = statements.parked_before(connection, bot, before, BATCH)
        moved += [statements.put(connection, expired(entry, now)) for entry in late]
    return moved


def drop_content(connection: sqlite3.Connection, bot: str, now: float, keep_s: float) -> tuple[int, list[str]]:
    """Drop bodies and answers of a bot's ended entries after `keep`, at most a batch. Return rows changed and bodies to wipe.

    A row that loses its body moves to the end of the table. In its old place it would hold a page that is four fifths empty
    as long as the key is kept. So the file would be as large as if bodies were kept for thirty days.
    """
    kept = f"from delivery indexed by d_kept where bot = ? and {KEPT} and created < ?"
    answers = connection.execute(
        f"select id {kept} and answer is not null limit ?",
        (bot, now - max(keep_s, ANSWERS_S), BATCH),
    ).fetchall()
    connection.executemany("update delivery set answer = null, revision = revision + 1 where id = ?", answers)
    bodies = connection.execute(
        f"select id, body_at {kept} and (body is not null or body_at is not null) limit ?",
        (bot, now - keep_s, BATCH),
    ).fetchall()
    connection.executemany(
        "update delivery set body = null, body_at = null, rowid = (select max(rowid) + 1 from delivery) where id = ?",
        [(key,) for key, _ in bodies],
    )
    return max(len(bodies), len(answers)), [location for _, location in bodies if location]


def drop_keys(connection: sqlite3.Connection, now: float) -> int:
    """Delete ended entries whose key is too old, whose bodies went before, and equally old ids of handlers' comments.

    It deletes at most a batch of each kind, and returns the number of rows.
    """
    ended = "state not in ('ready', 'running')"
    old = connection.execute(
        f"delete from delivery where id in (select id from delivery indexed by d_created "
        f"where created < ? and {ended} and body_at is null limit ?)",
        (now - KEYS_S, BATCH),
    ).rowcount
    ticks = connection.execute(
        f"delete from delivery where id in (select id from delivery where id >= 'timer:' and id < 'timer;' "
        f"and created < ? and {ended} limit ?)",
        (now - TIMER_KEYS_S, BATCH),
    ).rowcount
    written = connection.execute(
        "delete from written where rowid in (select rowid from written where at < ? limit ?)", (now - KEYS_S, BATCH)
    ).rowcount
    return old + ticks + written + values.drop_expired(connection, now, BATCH)


def wrote(connection: sqlite3.Connection, comment: tuple[str, int, int], now: float) -> None:
    """Keep a comment (bot, task, id) that a handler wrote."""
    connection.execute("insert or ignore into written (bot, task, comment, at) values (?, ?, ?, ?)", (*comment, now))


def used_segments(connection: sqlite3.Connection, segments: Iterable[str]) -> set[str]:
    """Return those of the segments in which a row has a body."""
    asked = "select 1 from delivery indexed by d_bodies where body_at >= ? and body_at < ? limit 1"
    return {segment for segment in segments if connection.execute(asked, (f"{segment}:", f"{segment};")).fetchone()}


def retry(connection: sqlite3.Connection, key: str, at: tuple[float, JournalTiming], who: str, revision: int) -> Entry:
    """Retry an entry, which is not answered, for an operator, and return it as it stands afterwards."""
    now, timing = at
    entry = _known(connection, key)
    refuse_changed(entry, revision)
    if entry.state == "answered":
        refuse_answered(entry)
    asked = "select 1 from delivery where id = ? and (body is not null or body_at is not null)"
    has_body = connection.execute(asked, (key,)).fetchone() is not None
    return statements.put(connection, retried(entry, has_body=has_body, now=now, timing=timing, who=who))


def new_number(connection: sqlite3.Connection, key: str) -> str:
    """Return the next free `key~n`."""
    base, _ = number_of(key)
    newest = queries.latest(connection, base)
    return f"{base}~{number_of(newest.id)[1] + 1 if newest else 2}"


def again(connection: sqlite3.Connection, key: str, now: float, who: str) -> Entry | None:
    """Return the new entry for `retry --again`, not written yet; None if the entry was not answered and a retry is enough."""
    entry = _known(connection, key)
    if entry.state != "answered":
        return None
    return run_again(entry, new_number(connection, key), now, who)


def cancel(connection: sqlite3.Connection, key: str, now: float, who: str) -> Entry:
    """Cancel an entry for an operator, and return it as it stands afterwards."""
    return statements.put(connection, cancelled(_known(connection, key), now, who))


def control(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    """Set or remove a fact."""
    if value is None:
        connection.execute("delete from control where name = ?", (name,))
    else:
        connection.execute(
            "insert into control (name, value) values (?, ?) on conflict (name) do update set value = excluded.value",
            (name, value),
        )


def gate(connection: sqlite3.Connection, name: str, want: int, pace: tuple[float, float], boot: float) -> float:
    """Take tokens of a bucket that fills by `pace` (rate per second, cap). Return 0.0, or the seconds until there are enough."""
    row = connection.execute("select tokens, at from gate where name = ?", (name,)).fetchone()
    left, wait_s = taken(row, want, pace, boot)
    gate_reset(connection, name, left, boot)
    return wait_s


def gate_reset(connection: sqlite3.Connection, name: str, tokens: float, boot: float) -> None:
    """Set the number of tokens that a bucket holds now."""
    connection.execute(
        "insert into gate (name, tokens, at) values (?, ?, ?) "
        "on conflict (name) do update set tokens = excluded.tokens, at = excluded.at",
        (name, tokens, boot),
    )


def _known(connection: sqlite3.Connection, key: str) -> Entry:
    entry = statements.find(connection, key)
    if entry is None:
        raise JournalError(f"there is no delivery {key}")
    return entry
