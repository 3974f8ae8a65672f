"""Read the embedded journal on read-only connections beside the writer."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from bothost.journal.migrations import KEPT, PARKED, POSTING, QUIET
from bothost.journal.past import NEWEST, columns, past_of
from bothost.journal.rows import COLUMNS, INDEXED_STATES, condition_of, entries_of, states_of, task_range
from bothost.journal.sqlite.connection import connect_to_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import TypeVar

    from bothost.journal.entry import Entry, EntryFilter, State
    from bothost.journal.past import Past

    T = TypeVar("T")

MOST_WAITING = 100
"""A bot's waiting entries are counted up to this."""
_SELECT = f"select {COLUMNS} from delivery"
_HOUR_S = 3600.0
_KEYS = "sqlite_autoindex_delivery_1"
"""The index of the ids. Left to itself the planner reads all rows of a bot to find those of one task."""


def bots_in(index: str, condition: str = "true", also: str = "") -> str:
    """Return SQL that gives each bot of an index once, by one step in the index for each; `also` names further columns."""
    return f"""
with recursive b(bot) as (
    select min(bot) from delivery indexed by {index} where {condition}
    union all
    select (select min(bot) from delivery indexed by {index} where bot > b.bot and {condition}) from b where b.bot is not null
)
select bot{also} from b where bot is not null
"""


BOTS = bots_in("d_bot")
BOTS_PARKED = bots_in("d_parked", PARKED)
BOTS_KEPT = bots_in("d_kept", KEPT)
_WAITING = bots_in(
    "d_ready",
    PARKED,
    ", (select count(*) from (select 1 from delivery d indexed by d_ready "
    f"where d.bot = b.bot and d.{PARKED} and d.due <= ?1 limit {MOST_WAITING}))",
)
_POSTS_WAITING = f"""
select bot, count(*) from (select bot from delivery indexed by d_post where {POSTING} and due <= ?1
limit {MOST_WAITING}) group by bot
"""

_OF_BOT = "from delivery d indexed by d_bot where d.bot = b.bot"
_NEWEST = bots_in(
    "d_bot",
    also=f""", coalesce(
    (select max(seen_at) from (select seen_at {_OF_BOT} order by created desc limit {NEWEST}) where seen_at > 0),
    (select seen_at {_OF_BOT} and seen_at > 0 order by created desc limit 1)),
    (select group_concat(ms, ' ') from (select ms {_OF_BOT} order by created desc limit {NEWEST}) where ms > 0)""",
)
_BY_MINUTE = f"""
select {columns("cast((created + ?3) / 60 as integer)")} from delivery indexed by d_created
where created >= ?1 and created < ?2 group by 1, 2
"""


class ReadConnection:
    """One thread's read-only connection. A lock is held during each query, because to close it meanwhile crashes the process."""

    __slots__ = ("_opened", "connection", "lock")

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.lock = threading.Lock()
        self._opened = os.stat(path)

    def is_at(self, path: Path) -> bool:
        """Return whether the file at the path is the one that was opened; true if there is none now."""
        try:
            return os.path.samestat(self._opened, os.stat(path))
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Interrupt the query that is under way, then close."""
        self.connection.interrupt()
        with self.lock:
            self.connection.close()


class ReadConnections:
    """Read-only connections, one for each thread that asks. They are made when needed, and closed together."""

    def __init__(self, path: Path, busy_s: float) -> None:
        self._path = path
        self._busy_s = busy_s
        self._local = threading.local()
        self._all: set[ReadConnection] = set()
        self._making = threading.Lock()
        self._closed = False
        self._abandoned: list[ReadConnection] = []

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Return the answer to a query on this thread's connection. Raises sqlite3.Error, also after `close`."""
        reader: ReadConnection | None = getattr(self._local, "reader", None)
        if reader is not None and not reader.is_at(self._path):
            # the file was replaced, and to close this connection would delete the log of the new one
            self._abandoned.append(reader)
            reader = None
        if reader is None:
            reader = self._local.reader = self._made()
        try:
            with reader.lock:
                return question(reader.connection)
        except sqlite3.Error:
            self._local.reader = None
            self._all.discard(reader)
            reader.close()
            raise

    def _made(self) -> ReadConnection:
        with self._making:
            if self._closed:
                raise sqlite3.ProgrammingError("the journal is closed")
            reader = ReadConnection(connect_to_read(self._path, self._busy_s), self._path)
            self._all.add(reader)
            return reader

    def close(self) -> None:
        """Close all connections. Later queries are refused."""
        with self._making:
            self._closed = True
        for reader in tuple(self._all):
            reader.close()
        self._all.clear()


def latest(connection: sqlite3.Connection, key: str) -> Entry | None:
    """Return the newest row of an event key, which has the highest `~n`; None if there is none."""
    rows = connection.execute(
        f"{_SELECT} where id = ?1 or (id >= ?1 || '~' and id < ?1 || char(127)) order by length(id) desc, id desc limit 1",
        (key,),
    ).fetchall()
    return entries_of(rows)[0] if rows else None


def waiting(connection: sqlite3.Connection, now: float) -> dict[str, int]:
    """Return the number of due entries by bot, counted up to `MOST_WAITING`."""
    counts: dict[str, int] = {}
    for asked in (_WAITING, _POSTS_WAITING):
        for bot, count in connection.execute(asked, (now,)):
            if count:
                counts[bot] = counts.get(bot, 0) + count
    return counts


def recent(connection: sqlite3.Connection, since: float) -> list[Entry]:
    """Return all open entries, and those delivered or changed since then that came at most an hour before it."""
    lately = f"{_SELECT} indexed by d_created where created >= ? and (seen_at >= ? or updated >= ?) and kind <> 'job'"
    entries = {entry.id: entry for entry in entries_of(connection.execute(lately, (since - _HOUR_S, since, since)))}
    for state in ("ready", "running"):
        still = f"{_SELECT} indexed by d_open where state <> 'answered' and state = '{state}' and kind <> 'job'"
        entries.update((entry.id, entry) for entry in entries_of(connection.execute(still)))
    return sorted(entries.values(), key=lambda entry: (entry.created, entry.id))


def highest(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the highest comment id of each bot. It reads all rows, so it is asked once, at start."""
    return dict(connection.execute("select bot, max(comment) from delivery group by bot"))


def past(connection: sqlite3.Connection, until: float, seconds: float, shift: float) -> Past:
    """Return the newest of each bot, and the counts by minute of the events that came within `seconds` before `until`."""
    return past_of(connection.execute(_NEWEST), connection.execute(_BY_MINUTE, (until - seconds, until, shift)))


def last_step(connection: sqlite3.Connection, bot: str, task: int) -> int | None:
    """Return the step of the newest event that the bot ran for this task; None if it ran none."""
    row = connection.execute(
        "select step from delivery where id >= ? and id < ? and kind not in ('timer', 'job', 'request') and (runs > 0 or state = 'running') "
        "order by created desc, id desc limit 1",
        task_range(bot, task),
    ).fetchone()
    return int(row[0]) if row else None


def written(connection: sqlite3.Connection, bot: str, task: int) -> set[int]:
    """Return the ids of comments on a task that the bot's handlers wrote themselves."""
    return {
        comment
        for (comment,) in connection.execute("select comment from written where bot = ? and task = ?", (bot, task))
    }


def listed(connection: sqlite3.Connection, want: EntryFilter) -> list[Entry]:
    """Return the entries that an operator asks for, newest first."""
    states = states_of(want)
    ranged = (want.task and want.bot is not None) or want.kind == "timer"
    if states and INDEXED_STATES.issuperset(states) and not ranged:
        return _listed_by_state(connection, want, states)
    if want.task and want.bot is None:
        return _listed_by_task(connection, want, want.task)
    where = condition_of(want, lambda _n: "?")
    index = f" indexed by {_KEYS if ranged else 'd_bot' if want.bot is not None else 'd_created'}"
    if want.phase == "undelivered" and not ranged:
        index = " indexed by d_quiet"
        where.add(QUIET["sqlite"])
    return _select(connection, f"{_SELECT}{index} where {where}", where.values, want.limit)


def _listed_by_state(connection: sqlite3.Connection, want: EntryFilter, states: Iterable[State]) -> list[Entry]:
    parts: list[str] = []
    values: list[Any] = []
    for state in dict.fromkeys(states):
        where = condition_of(want, lambda _n: "?")
        where.add("state = {}", state)
        # `<> 'answered'` tells the planner that the partial index holds all of them.
        part = (
            f"{_SELECT} indexed by d_open where state <> 'answered' and {where} order by created desc, id desc limit ?"
        )
        parts.append(f"select * from ({part})")
        values += [*where.values, want.limit]
    return _select(connection, " union all ".join(parts), values, want.limit)


def _listed_by_task(connection: sqlite3.Connection, want: EntryFilter, task: int) -> list[Entry]:
    where = condition_of(want, lambda _n: "?")
    bots = [bot for (bot,) in connection.execute(BOTS)]
    found: list[Entry] = []
    for bot in bots:
        asked = f"{_SELECT} indexed by {_KEYS} where id >= ? and id < ? and {where}"
        found += _select(connection, asked, [*task_range(bot, task), *where.values], want.limit)
    found.sort(key=lambda entry: (entry.created, entry.id), reverse=True)
    return found[: want.limit]


def _select(connection: sqlite3.Connection, asked: str, values: list[Any], limit: int) -> list[Entry]:
    rows = connection.execute(f"{asked} order by created desc, id desc limit ?", [*values, limit])
    return entries_of(rows.fetchall())


def counts(connection: sqlite3.Connection) -> dict[tuple[str, State], int]:
    """Return the numbers of open and failed entries by bot and state."""
    asked = (
        "select bot, state, count(*) from delivery indexed by d_open "
        "where state <> 'answered' and state in ('ready', 'running', 'failed') group by state, bot"
    )
    return {(bot, state): count for bot, state, count in connection.execute(asked)}


def controls(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the facts that all processes read. The clock's fact is left out, because only the journal uses it."""
    return dict(connection.execute("select name, value from control where name <> 'clock'"))


def body_of(connection: sqlite3.Connection, key: str) -> tuple[bytes | None, str | None]:
    """Return a row's small body, or the place of its large one."""
    row = connection.execute("select body, body_at from delivery where id = ?", (key,)).fetchone()
    return (row[0], row[1]) if row else (None, None)
