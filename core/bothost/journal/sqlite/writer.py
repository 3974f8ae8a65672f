"""Write the embedded journal in one thread: gather notes and jobs, write them together, and renew the lease.

Nobody waits for notes. So they are gathered for `linger_s` and coalesced: a claim and its outcome become one INSERT. A coroutine
waits for a job. So a job is written at once, together with the notes before it. Its result is given only after the COMMIT.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from bothost.errors import JournalAway, JournalError
from bothost.journal.sqlite.connection import explain, savepoint
from bothost.journal.sqlite.file_guard import JournalTaken

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bothost.background import SupervisedLoops
    from bothost.clock import Clock
    from bothost.journal.entry import JournalTiming
    from bothost.journal.sqlite.connection import WritingConnection

log = logging.getLogger("bothost.journal")

Note = tuple[str, tuple[Any, ...], bytes | None]
"""The key, the entry's values and the body."""
MOST_JOBS = 512
"""The most jobs in one transaction."""
MOST_KEPT_BYTES = 64 << 20
STOP_S = 5.0
"""The time that the writer gets to end, beyond the waits for a lock and a busy database."""


class TransactionLog(Protocol):
    """The operations of the writer. It calls them in its thread, inside a transaction unless the method says otherwise."""

    def write_notes(self, connection: sqlite3.Connection, notes: dict[str, Note]) -> None:
        """Write entries as they stand, if their fence allows it."""

    def beat(self, connection: sqlite3.Connection) -> None:
        """Renew the owner's lease, and look for cancelled and lost entries."""

    def sync(self) -> None:
        """Make the bodies beside the database durable before the commit."""

    def begun(self) -> object:
        """Return a mark for `undo`, before notes and jobs are taken from the queue."""

    def undo(self, mark: object) -> None:
        """Undo the appended bodies, after the transaction failed. It is called outside of one."""

    def committed(self, began: float, *, beat: bool) -> None:
        """Note that the transaction that began at this boot time is durable. It is called outside of one."""

    def trouble(self) -> None:
        """Note that the journal could not be written. It is called outside of a transaction."""


class WriteRequest:
    """A piece of work in a transaction, for which a coroutine waits. Whatever ends its future before withdraws it.

    Work that `is_whole` fails before it has changed anything, so that it needs no savepoint.
    """

    __slots__ = ("error", "future", "is_whole", "loop", "result", "work")

    def __init__(
        self, work: Callable[[sqlite3.Connection], Any], loop: asyncio.AbstractEventLoop, *, is_whole: bool = False
    ) -> None:
        self.work = work
        self.is_whole = is_whole
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: Exception | None = None

    def expire(self) -> None:
        """Withdraw the work, because its time is over. Whoever waits gets a TimeoutError."""
        if not self.future.done():
            self.future.set_exception(TimeoutError())

    def finish(self) -> None:
        """Hand over the result or the error, unless nobody waits any more. It runs on the loop's thread."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Writes in a thread of its own between `start` and `stop`. The loop's thread calls `note` and `ask`."""

    def __init__(
        self,
        database: WritingConnection,
        transactions: TransactionLog,
        clock: Clock,
        timing: JournalTiming,
        loops: SupervisedLoops,
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._clock = clock
        self._timing = timing
        self._loops = loops
        self._ended = threading.Event()
        self._queue: deque[Note | WriteRequest] = deque()
        self._kept: dict[str, Note] = {}
        """The notes that could not be written yet, the oldest first."""
        self._wake = threading.Event()
        self._idle = False
        self._urgent = False
        self._stopping = False
        self._hold: AbstractContextManager[object] | None = None
        self._beat_at = 0.0
        self._away = False
        self._kept_back = ""
        """The last reason why the journal could not be kept in a new file."""
        self._thread: threading.Thread | None = None

    def start(self, beat_at: float) -> None:
        """Start the thread. The first beat is due at this boot time."""
        self._beat_at = beat_at
        self._stopping = False
        self._ended.clear()
        work = self._clock.in_thread(lambda: self._loops.keep_here("journal", self._run, self._ended))
        self._thread = threading.Thread(target=work, name="bothost-journal", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """Try once to write notes and jobs that wait, and end the thread. Return False if the thread hangs at its disk.

        It blocks, so the loop's thread must not call it.
        """
        self._stopping = True
        self._ended.set()
        self._urgent = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(STOP_S + 2 * self._timing.commit_s)
            return not thread.is_alive()
        return True

    @property
    def is_started(self) -> bool:
        """Return whether the thread was started and was not told to end."""
        return self._thread is not None

    @property
    def has_notes(self) -> bool:
        """Return whether a note may not be in the file yet."""
        return bool(self._queue or self._kept) or not self._idle

    def note(self, note: Note) -> None:
        """Queue a note. It takes about a microsecond if the writer is awake already."""
        self._queue.append(note)
        if self._idle:
            self._idle = False
            if not self._timing.linger_s:
                self._hold = self._clock.real_io()
                self._hold.__enter__()
            self._wake.set()

    def ask(self, job: WriteRequest) -> None:
        """Queue a job, which is written as soon as its loop has taken all that came in with it."""
        self._queue.append(job)
        job.loop.call_soon(self._hurry)

    def _hurry(self) -> None:
        if not self._urgent and self._queue:
            self._urgent = True
            self._wake.set()

    def _run(self) -> None:
        while True:
            self._wait()
            hold, self._hold = self._hold, None
            self._urgent = False
            stopping = self._stopping
            self._turn()
            if hold is not None:
                hold.__exit__(None, None, None)
            if stopping and not self._queue:
                if self._kept:
                    log.error("%d entries could not be written before the end", len(self._kept))
                return

    def _wait(self) -> None:
        """Wait for work or the next beat. For notes alone, wait a little longer, so that more of them come together."""
        self._idle = True
        if not self._queue and not self._stopping:
            self._clock.wait(self._wake, max(self._beat_at - self._clock.boot(), 0.0))
        self._idle = False
        self._wake.clear()
        linger_s = self._timing.linger_s
        if linger_s and self._queue and not (self._urgent or self._stopping):
            self._clock.wait(self._wake, linger_s)
            self._wake.clear()

    def _turn(self) -> None:
        """Write all that waits in one transaction."""
        jobs: list[WriteRequest] = []
        began = self._clock.boot()
        beat = began >= self._beat_at
        if not (self._queue or self._kept or beat):
            return
        mark = self._transactions.begun()
        parts: list[dict[str, Note] | WriteRequest] = []
        try:
            self._write(parts, jobs, beat=beat)
        except Exception as error:  # noqa: BLE001 - around the loop that writes for all: what was taken must not be lost
            self._failed(error, parts or self._take(jobs), jobs, mark)
        else:
            if beat:
                self._beat_at = began + self._timing.beat_s
            if self._away:
                self._away = False
                log.warning("the journal is back: %s", self._database.path)
            self._transactions.committed(began, beat=beat)
        self._tell(jobs)

    def _take(self, jobs: list[WriteRequest]) -> list[dict[str, Note] | WriteRequest]:
        """Return all that waits in order. Notes between two jobs are one part, with the newest note of each key."""
        parts: list[dict[str, Note] | WriteRequest] = []
        notes = self._kept
        self._kept = {}
        queue = self._queue
        while queue and len(jobs) < MOST_JOBS:
            item = queue.popleft()
            if not isinstance(item, WriteRequest):
                _lay_over(notes, item)
                continue
            if item.future.done():  # whoever waited was cancelled, or its time is over
                continue
            if notes:
                parts.append(notes)
                notes = {}
            jobs.append(item)
            parts.append(item)
        if notes:
            parts.append(notes)
        return parts

    def _write(self, parts: list[dict[str, Note] | WriteRequest], jobs: list[WriteRequest], *, beat: bool) -> None:
        if not self._database.is_open:
            self._database.open(make=True)
        with self._database.transaction() as connection:
            parts += self._take(jobs)  # only now, because more came while another process held the lock
            for part in parts:
                if isinstance(part, WriteRequest):
                    _do(part, connection)
                else:
                    self._transactions.write_notes(connection, part)
            if beat:
                self._database.look_at_locks()
                self._transactions.beat(connection)
            self._transactions.sync()

    def _failed(
        self, error: Exception, parts: list[dict[str, Note] | WriteRequest], jobs: list[WriteRequest], mark: object
    ) -> None:
        """Keep the notes of a failed transaction, pass the error to the jobs' callers, and try again soon."""
        self._transactions.undo(mark)
        if not isinstance(error, (sqlite3.Error, OSError, JournalError)):
            self._loops.failed("journal", error)
            self._loops.resumed("journal")
        text = explain(error, self._database.path) if isinstance(error, (sqlite3.Error, OSError)) else str(error)
        for part in parts:
            if not isinstance(part, WriteRequest):
                for note in part.values():
                    _lay_over(self._kept, note)
        _strip(self._kept)
        for job in jobs:
            job.error = JournalAway(text)
            job.error.__cause__ = error
        if not self._away:
            self._away = True
            log.error("the journal is away: %s", text)
        self._beat_at = self._clock.boot() + self._timing.retry_beat_s
        self._transactions.trouble()
        self._mend(error)

    def _mend(self, error: Exception) -> None:
        """Save a journal whose file was taken away into a new file, or open anew one whose connection fails."""
        if isinstance(error, JournalTaken):
            self._keep_in_new_file(error)
        elif isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._database.disconnect()

    def _keep_in_new_file(self, why: JournalTaken) -> None:
        try:
            self._database.keep_in_new_file(why)
        except (sqlite3.Error, OSError, JournalError) as error:
            text = f"{why}; it cannot be kept in a new file yet: {error}"
            if text != self._kept_back:  # it is tried again several times a second
                self._kept_back = text
                log.error("%s", text)

    def _tell(self, jobs: list[WriteRequest]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[WriteRequest]] = {}
        for job in jobs:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, done in by_loop.items():
            try:
                loop.call_soon_threadsafe(_finish, done)
            except RuntimeError:  # the loop has ended, and with it all coroutines that waited
                continue


def _finish(jobs: list[WriteRequest]) -> None:
    for job in jobs:
        job.finish()


def _lay_over(notes: dict[str, Note], note: Note) -> None:
    """Replace the older note of a key by a newer one at the end of the queue. If the newer one has no body, keep the older's."""
    key, values, body = note
    older = notes.pop(key, None)
    notes[key] = (key, values, older[2]) if older is not None and body is None else note


def _do(job: WriteRequest, connection: sqlite3.Connection) -> None:
    """Run one job. A refused job fails alone; an error of the journal itself fails all jobs of the transaction."""
    try:
        with nullcontext() if job.is_whole else savepoint(connection):
            job.result = job.work(connection)
    except (sqlite3.OperationalError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one job, the thread that writes for all must go on
        job.error = error


def _strip(notes: dict[str, Note]) -> None:
    """Drop the oldest notes' bodies beyond a limit, so that memory stays bounded while nothing can be written."""
    total = sum(len(body) for _, _, body in notes.values() if body)
    for key, (_, values, body) in list(notes.items()):
        if total <= MOST_KEPT_BYTES:
            return
        if body:
            total -= len(body)
            notes[key] = (key, values, None)
