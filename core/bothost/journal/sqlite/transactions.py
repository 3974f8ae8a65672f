"""Do the writer's own work in the embedded journal's transactions: notes, bodies, the owner's lease."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bothost.errors import JournalAway, JournalError
from bothost.journal import owner_locks
from bothost.journal.held_claims import HeldClaims
from bothost.journal.retention import KEEP_S
from bothost.journal.rows import FIELDS, raised, values_of
from bothost.journal.sqlite import maintenance, statements
from bothost.journal.sqlite.body_files import SMALL_BYTES, BodyFiles, location_of
from bothost.journal.sqlite.connection import savepoint
from bothost.journal.sqlite.statements import TransactionTime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bothost.journal.entry import Entry, JournalTiming, ReapedEntry
    from bothost.journal.journal_clock import JournalClock
    from bothost.journal.sqlite.connection import WritingConnection
    from bothost.journal.sqlite.writer import Note

log = logging.getLogger("bothost.journal")

_STATE = FIELDS.index("state")
_LIMIT = FIELDS.index("limit_s")


UNWRITABLE = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeError,
)  # fmt: skip
"""The errors that one entry's content causes. Any other one means that the journal itself fails."""
BOTS_AT_ONCE = 200
"""The most bots that one transaction of `drop_content` looks at."""


class Transactions:
    """See `writer.TransactionLog`. The loop's thread reads `lease_end` and `cancelled`."""

    def __init__(
        self, folder: Path, owner: str, clock: JournalClock, timing: JournalTiming, *, owns: bool, claims_first: bool
    ) -> None:
        self.bodies = BodyFiles(folder, owner)
        self.lease_end = 0.0
        self.cancelled: frozenset[str] = frozenset()
        self.held = HeldClaims()
        self.committed_at = 0.0
        """The time when the last transaction was durable, by the boot clock."""
        self.watchers: list[Callable[[float], None]] = []
        """Called in the writer's thread with the seconds that each transaction took."""
        self._folder = folder
        self._owner = owner
        self._clock = clock
        self._timing = timing
        self._owns = owns
        self._write = statements.WRITE if claims_first else statements.WRITE_BEHIND
        self._boot_id = owner_locks.boot_id()
        self._lock = owner_locks.OwnerLock(folder, owner)
        self._trouble_until = 0.0
        self._began = 0.0

    def begin(self, database: WritingConnection) -> None:
        """Take the owner's lock, then the first lease, so that a process which reads the lease finds the lock."""
        if self._owns:
            self._lock.take()
            began = self._clock.boot()
            with database.transaction() as connection:
                self.beat(connection)
            self.committed(began, beat=True)

    def lock_again(self) -> None:
        """Make the owner's lock anew if its file was deleted."""
        self._lock.take_again()
        self.bodies.restore()

    def end(self, database: WritingConnection) -> None:
        """Give back lease and lock."""
        if self._owns and database.is_open:
            try:
                with database.transaction() as connection:
                    connection.execute("delete from owner where id = ?", (self._owner,))
            except (sqlite3.Error, OSError, JournalAway) as error:
                log.warning("could not sign off from the journal, so others wait for its lease to end: %s", error)
        self.bodies.close()
        self._lock.give_back()
        self.lease_end = 0.0

    def write_notes(self, connection: sqlite3.Connection, notes: dict[str, Note]) -> None:
        """Write ended entries before running ones, so that a turn is free before the next entry takes it."""
        boot = self._clock.boot()
        ended: list[tuple[Any, ...]] = []
        running: list[tuple[Any, ...]] = []
        for note in notes.values():
            (running if note[1][_STATE] == "running" else ended).append(self._row_of(connection, note, boot))
        for rows in filter(None, (ended, running)):
            try:
                with savepoint(connection):
                    statements.write_all(connection, rows)
            except UNWRITABLE:
                self._write_singly(connection, rows)

    def _write_singly(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        for row in rows:
            try:
                statements.write(connection, statements.WRITE_BEHIND, row)
            except UNWRITABLE as error:
                log.error("an entry that cannot be written is dropped: %s: %s", row[0], error)

    def _row_of(self, connection: sqlite3.Connection, note: Note, boot: float) -> tuple[Any, ...]:
        key, values, body = note
        limit_s = values[_LIMIT]
        until = boot + limit_s if limit_s and values[_STATE] == "running" else 0.0
        return (*values, until, *self._location(connection, key, body))

    def _location(
        self, connection: sqlite3.Connection, key: str, body: bytes | None
    ) -> tuple[bytes | None, str | None]:
        """Return a small body for the row, or the place where a large one was written; nothing if the row has one."""
        if body is None or len(body) <= SMALL_BYTES or not self._owns:  # a visitor makes no files
            return body, None
        asked = "select 1 from delivery where id = ? and (body is not null or body_at is not null)"
        if connection.execute(asked, (key,)).fetchone():
            return None, None
        return None, str(self.bodies.append(body))

    def claim(
        self, connection: sqlite3.Connection, entry: Entry, body: bytes | None, is_ours: Callable[[Entry], bool]
    ) -> tuple[Literal["claimed", "known", "busy"], Entry]:
        """See `Journal.claim`; `is_ours` tells an earlier claim of this owner whose caller had given up waiting."""
        mine = msgspec.structs.replace(
            entry, state="running", fence=entry.fence + 1, owner=self._owner, updated=self._clock.now(), revision=1
        )
        is_small = body is None or len(body) <= SMALL_BYTES
        values = (mine.id, values_of(mine), body if is_small else None)
        if not statements.claim_new(connection, self._row_of(connection, values, self._clock.boot())):
            known = statements.find(connection, entry.id)
            if known is None:
                return "busy", entry
            return ("claimed" if known.owner == self._owner and is_ours(known) else "known"), known
        if body is not None and not is_small:  # only now, because a refused claim needs no place for its body
            statements.place_body(connection, mine.id, str(self.bodies.append(body)))
        return "claimed", mine

    def write_one(self, connection: sqlite3.Connection, entry: Entry, body: bytes | None) -> bool:
        """Write an entry and its body as the next revision. Return False if the row has gone on meanwhile."""
        row = self._row_of(connection, (entry.id, values_of(raised(entry)), body), self._clock.boot())
        return statements.write(connection, self._write, row)

    def beat(self, connection: sqlite3.Connection) -> None:
        """See `writer.TransactionLog.beat`."""
        if not self._owns:
            return
        lease_end = self._clock.boot() + self._timing.lease_s
        running, cancelled = maintenance.beat(connection, self._boot_id, lease_end, self._owner)
        self.cancelled = frozenset(cancelled)
        self.held.compare(running)

    def reap(self, connection: sqlite3.Connection) -> list[ReapedEntry]:
        """Free and return the entries of gone owners.

        After trouble with the journal only those of dead owners are freed, so that live hosts can renew their leases first.
        """
        self._notice_stall()
        moment = self._moment()
        calm = moment.boot >= self._trouble_until
        gone = maintenance.gone_owners(
            connection, moment, self._boot_id, lambda owner: owner_locks.is_dead(self._folder, owner)
        )
        found = maintenance.reap(connection, gone, moment, self._timing, also_lost=calm)
        for owner, dead in gone.items():
            if dead:
                owner_locks.forget(self._folder, owner)
        return found

    def living(self, connection: sqlite3.Connection) -> set[str]:
        """Return the owners whose lease holds; after trouble with the journal all that are not known to be dead."""
        now = self._clock.boot()
        since = now if now >= self._trouble_until else 0.0
        asked = "select id from owner where boot = ? and lease >= ?"
        return {owner for (owner,) in connection.execute(asked, (self._boot_id, since))}

    def give_back(self, connection: sqlite3.Connection, orphans: Mapping[str, int]) -> None:
        """Free claims of this owner (key → fence) that nobody here knows of."""
        maintenance.give_back(connection, self._owner, orphans, (self._moment().now, self._timing))

    def _notice_stall(self) -> None:
        """Note a stall, because a lock, a disk or a suspended machine that stopped this process may have stopped all of them."""
        now = self._clock.boot()
        if now >= self.lease_end or now - self._began > self._timing.lease_s / 4:
            self.trouble()

    def drop_content(
        self, connection: sqlite3.Connection, bots: Sequence[str], keep: Mapping[str, float]
    ) -> tuple[int, list[str], Sequence[str]]:
        """Drop a batch of old bodies and answers. Return the rows changed, the bodies to wipe, and the bots that may have more."""
        now = self._moment().now
        changed, places = 0, []
        for at, bot in enumerate(bots[:BOTS_AT_ONCE]):
            count, wiped = maintenance.drop_content(connection, bot, now, keep.get(bot, KEEP_S))
            changed += count
            places += wiped
            if changed >= maintenance.BATCH:  # others wait for this transaction to end
                return changed, places, bots[at:]
        return changed, places, bots[BOTS_AT_ONCE:]

    def remove_unused(self, connection: sqlite3.Connection) -> int:
        """Remove the files of large bodies that hold none any more, and return how many."""
        used = maintenance.used_segments(connection, self.bodies.names())
        return self.bodies.remove_unused(used, lambda owner: owner_locks.is_dead(self._folder, owner))

    def forget_owners(self, connection: sqlite3.Connection) -> None:
        """Remove the lock files of dead owners that the journal does not know."""
        owner_locks.forget_dead(self._folder, {owner for (owner,) in connection.execute("select id from owner")})

    def body(self, connection: sqlite3.Connection, key: str) -> bytes | None:
        """Return the body of a row, also one that this transaction has appended; None if it has none."""
        self.bodies.write()
        row = connection.execute("select body, body_at from delivery where id = ?", (key,)).fetchone()
        small, location = row or (None, None)
        return self.bodies.read(location_of(location)) if location else small

    def sync(self) -> None:
        """See `writer.TransactionLog.sync`."""
        self.bodies.sync()

    def begun(self) -> object:
        """See `writer.TransactionLog.begun`."""
        self._began = self._clock.boot()
        self.held.look()
        return self.bodies.mark()

    def undo(self, mark: object) -> None:
        """See `writer.TransactionLog.undo`."""
        assert isinstance(mark, tuple)
        self.bodies.rewind(mark)

    def committed(self, began: float, *, beat: bool) -> None:
        """See `writer.TransactionLog.committed`."""
        self.committed_at = self._clock.boot()
        for watcher in self.watchers:
            watcher(self.committed_at - began)
        if beat and self._owns:
            self.lease_end = began + self._timing.lease_s

    def trouble(self) -> None:
        """Note that a write failed or came too late. For half a lease no owner's lease counts as lost."""
        self._trouble_until = self._clock.boot() + self._timing.lease_s / 2

    def _moment(self) -> TransactionTime:
        return TransactionTime(self._owner, self._clock.now(), self._clock.boot())


def copy_body(connection: sqlite3.Connection, transactions: Transactions, key: str, new: Entry) -> None:
    """Write a new entry with the body of an old one. Raises JournalError if the old one has none any more."""
    body = transactions.body(connection, key)
    if body is None and new.kind != "timer":
        raise JournalError(f"{key} cannot run again: its body is no longer stored")
    transactions.write_one(connection, new, body)
