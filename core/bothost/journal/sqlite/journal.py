"""Keep the journal of one machine in SQLite, with one thread that writes, for one process or several on one folder."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from bothost.background import SupervisedLoops
from bothost.errors import JournalAway
from bothost.journal import owner_locks
from bothost.journal.data import ListValues, ReadValue
from bothost.journal.entry import JournalTiming
from bothost.journal.journal_clock import JournalClock
from bothost.journal.moving import move_statements
from bothost.journal.rows import values_of
from bothost.journal.sqlite import clock_steps, maintenance, queries, slots, statements, values
from bothost.journal.sqlite.body_files import location_of
from bothost.journal.sqlite.connection import WritingConnection, explain, path_of
from bothost.journal.sqlite.queries import ReadConnections
from bothost.journal.sqlite.statements import TransactionTime
from bothost.journal.sqlite.transactions import Transactions, copy_body
from bothost.journal.sqlite.writer import Writer, WriteRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set
    from pathlib import Path

    from bothost.clock import Clock
    from bothost.journal.data import DataRequest
    from bothost.journal.entry import Entry, EntryFilter, ReapedEntry, State
    from bothost.journal.past import Past

T = TypeVar("T")
log = logging.getLogger("bothost.journal")


class SqliteJournal:
    """See `Journal`. `readonly` makes a visitor beside a running host: it makes no files, owns nothing and claims nothing, and
    only the operator's `retry`, `cancel` and `control` write."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        claims_first: bool,
        timing: JournalTiming | None = None,
        readonly: bool = False,
    ) -> None:
        self.claims_first = claims_first
        self.owner = owner_locks.new_owner()
        self.loops = SupervisedLoops(clock)
        self._folder = folder
        self._clock = clock
        self._timing = timing or JournalTiming()
        self._readonly = readonly
        self._time = JournalClock(clock)
        self.now = self._time.now
        self._lock = owner_locks.HostLock(folder, alone=not claims_first)
        busy_s = self._timing.commit_s
        self._database = WritingConnection(folder, clock, busy_s, self._lock_again)
        self._transactions = Transactions(
            folder, self.owner, self._time, self._timing, owns=not readonly, claims_first=claims_first
        )
        self._writer = Writer(self._database, self._transactions, clock, self._timing, self.loops)
        self._readers = ReadConnections(path_of(folder), busy_s)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="bothost-journal-read")
        self._closed = False
        self._keep: Mapping[str, float] = {}

    def measure(self, watcher: Callable[[float], None]) -> None:
        """Call `watcher` in the writer's thread with the seconds that each transaction took."""
        self._transactions.watchers.append(watcher)

    async def open(self) -> None:
        """See `Journal.open`."""
        owner_locks.let_go_in_children(self._folder)
        await self._in_thread(self._open)
        self._writer.start(self._clock.boot() + self._timing.beat_s)
        if not self._readonly:
            self._time.offset = await self._ask(self._follow)

    def _open(self) -> None:
        self._database.open(make=not self._readonly)
        try:
            if not self._readonly:
                self._lock.take()
            self._transactions.begin(self._database)
        except (sqlite3.Error, OSError, JournalAway) as error:
            self._transactions.end(self._database)
            self._lock.give_back()
            self._database.close()
            raise (
                error if isinstance(error, JournalAway) else JournalAway(explain(error, self._database.path))
            ) from error

    async def follow_clock(self) -> float:
        """See `Journal.follow_clock`. Every process sees the wall clock's step, and the first one moves the rows."""
        if not self._time.wall_stepped():
            return 0.0
        before, self._time.offset = self._time.offset, await self._ask(self._follow)
        return self._time.offset - before

    def _follow(self, connection: sqlite3.Connection) -> float:
        return clock_steps.follow(connection, self._time, owner_locks.boot_id())

    async def close(self) -> None:
        """See `Journal.close`."""
        await self._in_thread(self._close)
        self._closed = True
        self._threads.shutdown(wait=False)

    def flush(self) -> None:
        """Write the notes that wait and take no more, because the process ends without `close`. It blocks, in any thread."""
        self._writer.stop()

    def _close(self) -> None:
        ended = self._writer.stop()
        self._readers.close()
        if not ended:
            log.error("%s: the journal's disk does not answer; left as it is", self._database.path)
            return
        self._transactions.end(self._database)
        self._database.close()
        self._lock.give_back()

    async def claim(self, entry: Entry, body: bytes) -> tuple[Literal["claimed", "known", "busy"], Entry]:
        """See `Journal.claim`."""

        with self._transactions.held.claiming(entry) as is_ours:
            word, row = await self._ask(
                lambda c: self._transactions.claim(c, entry, body or None, is_ours), is_whole=True
            )
            if word == "claimed":
                self._transactions.held.add(row)
            return word, row

    async def take(self, key: str, *, seen: int, seen_at: float) -> Entry | None:
        """See `Journal.take`."""
        entry = await self._ask(lambda c: statements.take(c, key, (seen, seen_at), self._moment()))
        return self._transactions.held.add(entry) if entry is not None else None

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        """See `Journal.note`."""
        self._writer.note((entry.id, values_of(entry), body or None))
        self._transactions.held.follow(entry)

    async def save(self, entry: Entry, body: bytes | None = None) -> bool:
        """See `Journal.save`."""
        mine = msgspec.structs.replace(entry)
        saved = await self._ask(lambda c: self._transactions.write_one(c, mine, body or None), is_whole=True)
        if saved:
            entry.revision = mine.revision + 1
            self._transactions.held.wrote(mine)
        return saved

    async def find(self, key: str) -> Entry | None:
        """See `Journal.find`."""
        return await self._read(lambda c: statements.find(c, key))

    async def latest(self, key: str) -> Entry | None:
        """See `Journal.latest`."""
        return await self._read(lambda c: queries.latest(c, key))

    async def body(self, key: str) -> bytes | None:
        """See `Journal.body`."""
        return await self._read(lambda c: self._body(c, key))

    def _body(self, connection: sqlite3.Connection, key: str) -> bytes | None:
        small, location = queries.body_of(connection, key)
        return self._transactions.bodies.read(location_of(location)) if location else small

    async def due(self, room: Mapping[str, int], limit: int) -> Sequence[Entry]:
        """See `Journal.due`."""
        rooms = dict(room)
        rows = await self._ask(lambda c: self._due(c, rooms, limit))
        for row in rows:
            self._transactions.held.add(row)
        return rows

    def _due(self, connection: sqlite3.Connection, room: Mapping[str, int], limit: int) -> list[Entry]:
        moment = self._moment()
        rows = statements.posts(connection, room, limit, moment)
        open_bots = [bot for bot, free in room.items() if free > 0]
        bots = statements.by_age(connection, open_bots, moment.now) if len(open_bots) > 1 else open_bots
        share = max(1, limit // max(len(bots), 1))
        for bot in bots:
            free = min(room[bot], share, limit - len(rows))
            if free > 0:
                rows += statements.heads(connection, bot, free, moment)
        return rows

    async def waiting(self) -> Mapping[str, int]:
        """See `Journal.waiting`."""
        now = self.now()
        return await self._read(lambda c: queries.waiting(c, now))

    async def wait_hint(self, seconds: float) -> None:
        """See `Journal.wait_hint`. Nothing gives hints here, so it waits the whole time."""
        await asyncio.sleep(seconds)

    async def reap(self) -> Sequence[ReapedEntry]:
        """See `Journal.reap`."""
        return await self._ask(self._transactions.reap)

    async def owners(self) -> Set[str]:
        """See `Journal.owners`."""
        return await self._read(self._transactions.living)

    def orphans(self) -> Mapping[str, int]:
        """See `Journal.orphans`."""
        return self._transactions.held.orphans

    async def give_back(self, orphans: Mapping[str, int]) -> None:
        """See `Journal.give_back`."""
        await self._ask(lambda c: self._transactions.give_back(c, orphans))

    async def quiet(self) -> Sequence[Entry]:
        """See `Journal.quiet`."""
        return await self._ask(lambda c: maintenance.quiet(c, self.now(), self._keep))

    async def retain(self, keep: Mapping[str, float]) -> int:
        """See `Journal.retain`."""
        self._keep = dict(keep)
        bots: Sequence[str] = await self._read(lambda c: [bot for (bot,) in c.execute(queries.BOTS_KEPT)])
        changed = 0
        while bots:
            count, wiped, bots = await self._ask(partial(self._transactions.drop_content, bots=bots, keep=self._keep))
            await self._in_thread(
                partial(self._transactions.bodies.drop, [location_of(location) for location in wiped])
            )
            changed += count
        while gone := await self._ask(lambda c: maintenance.drop_keys(c, self.now())):
            changed += gone
        await self._ask(self._transactions.remove_unused)
        await self._ask(self._transactions.forget_owners)
        return changed

    async def recent(self, since: float) -> Sequence[Entry]:
        """See `Journal.recent`."""
        return await self._read(lambda c: queries.recent(c, since))

    async def highest(self) -> Mapping[str, int]:
        """See `Journal.highest`."""
        return await self._read(queries.highest)

    async def past(self, until: float, seconds: float, shift: float) -> Past:
        """See `Journal.past`."""
        return await self._read(lambda c: queries.past(c, until, seconds, shift))

    async def last_step(self, bot: str, task: int) -> int | None:
        """See `Journal.last_step`."""
        return await self._read(lambda c: queries.last_step(c, bot, task))

    async def wrote(self, bot: str, task: int, comment: int) -> None:
        """See `Journal.wrote`."""
        await self._ask(lambda c: maintenance.wrote(c, (bot, task, comment), self.now()))

    async def written(self, bot: str, task: int) -> set[int]:
        """See `Journal.written`."""
        return await self._read(lambda c: queries.written(c, bot, task))

    async def list(self, want: EntryFilter) -> Sequence[Entry]:
        """See `Journal.list`."""
        return await self._read(lambda c: queries.listed(c, want))

    async def counts(self) -> Mapping[tuple[str, State], int]:
        """See `Journal.counts`."""
        return await self._read(queries.counts)

    async def control(self, key: str, value: str | None) -> None:
        """See `Journal.control`."""
        await self._ask(lambda c: maintenance.control(c, key, value))

    async def controls(self) -> Mapping[str, str]:
        """See `Journal.controls`."""
        return await self._read(queries.controls)

    async def retry(self, key: str, *, again: bool = False, who: str = "", revision: int = 0) -> Entry:
        """See `Journal.retry`."""

        def work(connection: sqlite3.Connection) -> Entry:
            new = maintenance.again(connection, key, self.now(), who) if again else None
            if new is None:
                return maintenance.retry(connection, key, (self.now(), self._timing), who, revision)
            copy_body(connection, self._transactions, key, new)
            return new

        return await self._ask(work)

    async def cancel(self, key: str, who: str = "") -> Entry:
        """See `Journal.cancel`."""
        return await self._ask(lambda c: maintenance.cancel(c, key, self.now(), who))

    async def move(self, old: str, new: str) -> int:
        """See `Journal.move`."""

        def work(connection: sqlite3.Connection) -> int:
            deliveries, written = move_statements("", "?1", "?2")
            connection.execute(written, (old, new))
            return connection.execute(deliveries, (old, new)).rowcount

        return await self._ask(work)

    def cancelled(self) -> set[str]:
        """See `Journal.cancelled`."""
        return set(self._transactions.cancelled)

    def lost(self) -> set[str]:
        """See `Journal.lost`."""
        return set(self._transactions.held.lost)

    def damage(self) -> str:
        """See `Journal.damage`."""
        return self._database.guard.damage()

    def _lock_again(self) -> None:
        """Take the host's and the owner's lock anew if their files were deleted. Raises JournalAway, OSError."""
        if not self._readonly:
            self._lock.take_again()
            self._transactions.lock_again()

    def alive(self) -> bool:
        """See `Journal.alive`."""
        return self._clock.boot() < self._transactions.lease_end

    async def put(self, entry: Entry, body: bytes, *, slot: tuple[str, str] | None = None) -> Entry:
        """See `Journal.put`."""
        return await self._ask(lambda c: slots.put(c, self._transactions, entry, body, slot))

    async def withdraw(self, space: str, name: str) -> bool:
        """See `Journal.withdraw`."""
        return await self._ask(lambda c: slots.withdraw(c, (space, name), self.now()))

    async def ask(self, space: str, request: DataRequest) -> Any:
        """See `Journal.ask`."""
        if isinstance(request, ReadValue | ListValues):
            return await self._read(lambda c: values.answer(c, space, request, self.now()))
        return await self._ask(lambda c: values.answer(c, space, request, self.now()))

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        """See `Journal.gate`."""
        return await self._ask(lambda c: maintenance.gate(c, name, want, (rate_per_s, cap), self._clock.boot()))

    async def gate_reset(self, name: str, tokens: float) -> None:
        """See `Journal.gate_reset`."""
        await self._ask(lambda c: maintenance.gate_reset(c, name, tokens, self._clock.boot()))

    def _moment(self) -> TransactionTime:
        return TransactionTime(self.owner, self.now(), self._clock.boot())

    async def _ask(self, work: Callable[[sqlite3.Connection], T], *, is_whole: bool = False) -> T:
        """Do a piece of work in the next transaction, and return its result. Give up after `commit_s`, because a disk can hang."""
        if not self._writer.is_started:
            raise JournalAway("the journal is not open")
        loop = asyncio.get_running_loop()
        job = WriteRequest(work, loop, is_whole=is_whole)
        self._writer.ask(job)
        limit = loop.call_later(self._timing.commit_s, job.expire)
        try:
            with self._clock.real_io():
                result: T = await job.future
                return result
        except TimeoutError:
            self._transactions.trouble()
            raise JournalAway(f"{self._database.path}: no answer within {self._timing.commit_s:g} s") from None
        finally:
            limit.cancel()

    async def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Read beside the writer, and return the result. It sees the notes before it, unless they cannot be written at present."""
        if self._writer.is_started and self._writer.has_notes:
            try:
                await self._ask(_nothing)
            except JournalAway:
                log.debug("reading beside notes that cannot be written")
        return await self._in_thread(lambda: self._readers.ask(question))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise JournalAway("the journal is not open")
        try:
            with self._clock.real_io():
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError as error:
            # no thread can be started at this moment (pids.max): nothing was read, and it can be tried again
            raise JournalAway(f"{self._database.path}: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise JournalAway(explain(error, self._database.path)) from error


def _nothing(connection: sqlite3.Connection) -> None:
    """Be done when all before is written."""
