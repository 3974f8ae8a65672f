"""Write and claim entries in a transaction of the embedded journal, in SQL.

The statements name their partial indexes (INDEXED BY). Without that the planner took another index, and claims fell from
thousands a second to 45 with 20,000 waiting.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bothost.journal.migrations import HOLDS_TURN, ON_ITS_WAY, PARKED, POSTING, QUIET, SUSPECT
from bothost.journal.rows import COLUMNS, FIELDS, FIXED_FIELDS, entries_of, entry_of, raised, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bothost.journal.entry import Entry

_ALL = f"{COLUMNS}, until, body, body_at"
_MARKS = ", ".join(["max(?, 1)" if name == "revision" else "?" for name in FIELDS] + ["?"] * 3)
_NEWEST = ("seen", "seen_at")
"""The columns whose higher value stays, because another process may have counted more deliveries meanwhile."""
_SET = ", ".join(
    f"{name} = max({name}, excluded.{name})" if name in _NEWEST else f"{name} = excluded.{name}"
    for name in FIELDS
    if name not in FIXED_FIELDS and name not in ("cancel", "revision", "history")
)
_UPSERT = f"""
insert into delivery ({_ALL}) values ({_MARKS})
on conflict (id) do update set {_SET},
    until = iif(excluded.fence = delivery.fence and (excluded.answer is null) = (delivery.answer is null),
                delivery.until, excluded.until),
    body = iif(delivery.body_at is null, coalesce(delivery.body, excluded.body), null),
    body_at = iif(delivery.body is null, coalesce(delivery.body_at, excluded.body_at), null),
"""
WRITE = f"""{_UPSERT}
    cancel = excluded.cancel, revision = excluded.revision, history = excluded.history
where delivery.revision = excluded.revision - 1
"""
"""The write that applies only to the revision that the entry was decided on."""
_FORWARD = """(excluded.state not in ('ready', 'running') or (excluded.state = 'ready' and delivery.state in ('ready', 'running'))
    or (delivery.state = 'running' and (delivery.answer is null or excluded.answer is not null)))"""
"""Within one claim an entry only moves forward. So a write that comes too late neither wakes it nor takes its answer."""
WRITE_BEHIND = f"""{_UPSERT}
    cancel = iif(excluded.fence > delivery.fence, delivery.state = 'cancelled', delivery.cancel),
    revision = delivery.revision + 1,
    history = iif(length(coalesce(excluded.history, x'')) < length(coalesce(delivery.history, x'')),
                  delivery.history, excluded.history)
where delivery.fence < excluded.fence or (delivery.fence = excluded.fence and delivery.owner = excluded.owner and {_FORWARD})
"""
"""The write of the one process whose memory is the truth. One queue keeps its writes in order, so no revision is needed.

Only the history may hold more in the row, because an operator has added to it."""
_TURN = FIELDS.index("turn")
_FIND = f"select {COLUMNS} from delivery where id = ?"

_TURN_RUNS = f"""
select 1 from delivery r indexed by d_turn where r.bot = {{0}} and r.turn = {{1}} and r.id <> {{2}} and r.{HOLDS_TURN}
"""
_OLDER_WAITS = f"""
select 1 from delivery o indexed by d_line where o.bot = {{0}} and o.turn = {{1}} and o.{PARKED}
and o.created <= {{3}} and (o.created < {{3}} or o.id < {{2}})
"""
_BUSY = f"(exists ({_TURN_RUNS}) or exists ({_OLDER_WAITS}))"
_IS_BUSY = f"select {_BUSY.format('?1', '?2', '?3', '?4')}"
_PLACES = {name: f"?{number}" for number, name in enumerate(FIELDS, 1)}
_CLAIM_NEW = f"""
insert into delivery ({_ALL}) select {", ".join(f"?{number}" for number in range(1, len(FIELDS) + 4))}
where not {_BUSY.format(*(_PLACES[name] for name in ("bot", "turn", "id", "created")))} on conflict do nothing
"""
_CLAIM = """
update delivery set state = 'running', fence = fence + 1, revision = revision + 1, owner = ?, until = iif(limit_s > 0, ? + limit_s, 0),
    cancel = 0, updated = ? where id = ?
"""

_LOOK_AHEAD = 200
_BOUND = f"""
select due from delivery indexed by d_ready where bot = ? and {PARKED} and due <= ?
order by due limit 1 offset {_LOOK_AHEAD}
"""
_HEADS = f"""
select id, deaths > 0 and rerun = 'crash' from delivery d indexed by d_ready
where bot = ?1 and {PARKED} and due <= ?2
and (?3 or deaths = 0 or rerun <> 'crash')
and not exists ({_TURN_RUNS.format("d.bot", "d.turn", "d.id")})
and not exists ({_OLDER_WAITS.format("d.bot", "d.turn", "d.id", "d.created")})
order by due limit ?4
"""
_TURNS = f"""
with recursive t(turn) as (
    select min(turn) from delivery indexed by d_line where bot = ?1 and turn is not null and {PARKED}
    union all
    select (select min(turn) from delivery indexed by d_line where bot = ?1 and turn > t.turn and {PARKED})
    from t where t.turn is not null
)
select id, deaths > 0 and rerun = 'crash' from (
    select (select h.id from delivery h indexed by d_line where h.bot = ?1 and h.turn = t.turn and h.{PARKED}
            order by h.created, h.id limit 1) as head from t where t.turn is not null
    union all
    select * from (select n.id from delivery n indexed by d_line where n.bot = ?1 and n.turn is null and n.{PARKED}
                   and n.due <= ?2 order by n.created limit ?4)
) join delivery d on d.id = head
where d.due <= ?2 and (?3 or d.deaths = 0 or d.rerun <> 'crash')
and not exists ({_TURN_RUNS.format("d.bot", "d.turn", "d.id")}) limit ?4
"""
_HEAD_DUE = f"select min(due) from delivery indexed by d_ready where bot = ? and {PARKED} and due <= ?"
_POSTS = f"""
select d.id, d.bot from delivery d indexed by d_post where d.{POSTING} and d.due <= ?1
and not exists (select 1 from delivery o indexed by d_posts where o.bot = d.bot and o.task = d.task and d.task <> 0
                and o.{ON_ITS_WAY} and o.created <= d.created and (o.created < d.created or o.id < d.id))
and (d.tries > 0 or not exists ({_TURN_RUNS.format("d.bot", "d.turn", "d.id")})) order by d.due
"""
_SUSPECT_RUNS = f"select 1 from delivery indexed by d_suspect where {SUSPECT} and owner = ? limit 1"


@dataclass(frozen=True, slots=True)
class TransactionTime:
    """The journal's owner and clocks at one transaction: wall (epoch seconds) and boot."""

    owner: str
    now: float
    boot: float


def write(connection: sqlite3.Connection, statement: str, row: Sequence[Any]) -> bool:
    """Insert or update one row by `WRITE` or `WRITE_BEHIND`. Return False if it was refused.

    If another row holds its turn, it is written without the turn.
    """
    try:
        return connection.execute(statement, row).rowcount > 0
    except sqlite3.IntegrityError:
        turnless = list(row)
        turnless[_TURN] = None
        return connection.execute(statement, turnless).rowcount > 0


def write_all(connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Insert or update many noted rows. A row whose fence refuses is left as it is."""
    connection.executemany(WRITE_BEHIND, rows)


def find(connection: sqlite3.Connection, key: str) -> Entry | None:
    """Return the row of a key, or None."""
    row = connection.execute(_FIND, (key,)).fetchone()
    return entry_of(row) if row else None


def is_busy(connection: sqlite3.Connection, entry: Entry) -> bool:
    """Return whether another entry runs in this one's turn, or an older parked one waits for it."""
    if entry.turn is None:
        return False
    asked = (entry.bot, entry.turn, entry.id, entry.created)
    return bool(connection.execute(_IS_BUSY, asked).fetchone()[0])


def claim_new(connection: sqlite3.Connection, row: Sequence[Any]) -> bool:
    """Insert a row that runs. Return False if its key is there already, or if `is_busy`."""
    return connection.execute(_CLAIM_NEW, row).rowcount > 0


def place_body(connection: sqlite3.Connection, key: str, place: str) -> None:
    """Give a row the place of its body."""
    connection.execute("update delivery set body_at = ? where id = ?", (place, key))


def claim_row(connection: sqlite3.Connection, key: str, moment: TransactionTime) -> Entry:
    """Make a row run under this owner with the next fence, and return it."""
    connection.execute(_CLAIM, (moment.owner, moment.boot, moment.now, key))
    entry = find(connection, key)  # not by RETURNING, which gives a REAL column's 0.0 as an integer
    assert entry is not None
    return entry


def take(connection: sqlite3.Connection, key: str, seen: tuple[int, float], moment: TransactionTime) -> Entry | None:
    """Claim a held entry and return it; None if it is not held any more or its turn is taken."""
    entry = find(connection, key)
    if entry is None or entry.state != "ready" or entry.door != "response" or is_busy(connection, entry):
        return None
    connection.execute("update delivery set seen = max(seen, ?), seen_at = max(seen_at, ?) where id = ?", (*seen, key))
    return claim_row(connection, key, moment)


def heads(connection: sqlite3.Connection, bot: str, room: int, moment: TransactionTime) -> list[Entry]:
    """Claim and return at most `room` parked entries of a bot whose turn has come, the oldest first."""
    suspect_runs = connection.execute(_SUSPECT_RUNS, (moment.owner,)).fetchone() is not None
    bound = connection.execute(_BOUND, (bot, moment.now)).fetchone()
    until = bound[0] if bound else moment.now
    found = connection.execute(_HEADS, (bot, until, not suspect_runs, room)).fetchall()
    if bound and len(found) < room:
        # One busy task must not hide the others behind its waiting entries, so the first entry of each turn is looked at.
        seen = {key for key, _ in found}
        more = connection.execute(_TURNS, (bot, moment.now, not suspect_runs, room)).fetchall()
        found += [row for row in more if row[0] not in seen]
    return [claim_row(connection, key, moment) for key in one_suspect(found)[:room]]


def one_suspect(found: Iterable[tuple[str, int]]) -> list[str]:
    """Return the keys with at most one of those whose host died during a run, because such events run one by one."""
    keys, have = [], False
    for key, suspect in found:
        if not (suspect and have):
            keys.append(key)
        have = have or bool(suspect)
    return keys


def by_age(connection: sqlite3.Connection, bots: Iterable[str], now: float) -> list[str]:
    """Return the bots that have an entry due, in the order of their oldest one."""
    waiting = []
    for bot in bots:
        due = connection.execute(_HEAD_DUE, (bot, now)).fetchone()[0]
        if due is not None:
            waiting.append((due, bot))
    return [bot for _, bot in sorted(waiting)]


def posts(connection: sqlite3.Connection, bots: Iterable[str], limit: int, moment: TransactionTime) -> list[Entry]:
    """Claim and return the entries whose post is due, of each task only the oldest."""
    known = set(bots)
    keys: list[str] = []
    for key, bot in connection.execute(_POSTS, (moment.now,)):
        if bot in known:
            keys.append(key)
            if len(keys) >= limit:
                break
    return [claim_row(connection, key, moment) for key in keys]


def quiet_rows(connection: sqlite3.Connection, now: float, limit: int) -> list[Entry]:
    """Return entries to which Pyrus did not come back, at most `limit`."""
    asked = (
        f"select {COLUMNS} from delivery indexed by d_quiet where {QUIET['sqlite']} and due <= ? order by due limit ?"
    )
    return entries_of(connection.execute(asked, (now, limit)))


def parked_before(connection: sqlite3.Connection, bot: str, before: float, limit: int) -> list[Entry]:
    """Return a bot's parked entries that came before this time, at most `limit`."""
    asked = f"select {COLUMNS} from delivery indexed by d_parked where bot = ? and {PARKED} and created < ? limit ?"
    return entries_of(connection.execute(asked, (bot, before, limit)))


def put(connection: sqlite3.Connection, entry: Entry) -> Entry:
    """Write an entry that this transaction has read, and return it as written. Nothing is checked, because the lock is held."""
    entry = raised(entry)
    names = ", ".join(f"{name} = ?" for name in FIELDS if name != "id")
    values = [value for name, value in zip(FIELDS, values_of(entry), strict=True) if name != "id"]
    connection.execute(f"update delivery set {names} where id = ?", (*values, entry.id))
    return entry
