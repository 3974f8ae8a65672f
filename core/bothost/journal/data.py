"""The requests a plugin makes about data of its bot that the journal keeps: values, and jobs that run later.

They are plain values, so that a plugin in a process of its own can send them to its host.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote

import msgspec

from bothost.errors import StoreError
from bothost.journal.entry import Entry, EntryFilter
from bothost.journal.values import LONGEST_KEY, added

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.clock import Clock
    from bothost.journal import Journal

PAGE = 200
"""The most rows that one request lists."""


class ReadValue(msgspec.Struct, tag="read", frozen=True):
    """Read a value: its bytes, or None if there is none or it has expired."""

    key: str


class WriteValue(msgspec.Struct, tag="write", frozen=True):
    """Write a value, or delete it (`value` None). The result is whether that was done.

    If `checked`, it is done only if the value is still `expected` (None for absent). A value that changes keeps its expiry
    unless `expires_in_s` sets another one; 0 stands for never.
    """

    key: str
    value: bytes | None
    expires_in_s: float | None = 0.0
    checked: bool = False
    expected: bytes | None = None


class AddValue(msgspec.Struct, tag="add", frozen=True):
    """Add an encoded number to a number, or to 0 if there is none. The result is the encoded sum. Raises StoreError for no number."""

    key: str
    amount: bytes


class ListValues(msgspec.Struct, tag="list", frozen=True):
    """List the values with a prefix in the order of their keys, from behind a key on.

    The result is at most a page of (key, value, seconds until it expires or 0).
    """

    prefix: str = ""
    after: str = ""


class AddJob(msgspec.Struct, tag="add-job", frozen=True):
    """Put a job that runs at `due` (epoch seconds), in place of the waiting one with the same key. The result is its id."""

    name: str
    key: str
    task: int
    data: bytes
    due: float


class CancelJob(msgspec.Struct, tag="cancel-job", frozen=True):
    """Take out the waiting job with a key. The result is whether there was one."""

    key: str


class ListJobs(msgspec.Struct, tag="list-jobs", frozen=True):
    """List waiting jobs, the latest first. The result is at most a page of WaitingJob.

    `before` is (due, id) of the last job of the page before.
    """

    before: tuple[float, str] | None = None


class WaitingJob(msgspec.Struct, frozen=True):
    """A job that waits; its key and name stand in its id."""

    id: str
    task: int
    due: float
    data: bytes


JOB = "job"
"""The space that holds the id of the job that waits under a key."""
SLOT_S = 31 * 86400.0
"""The seconds after a job is due for which that id is kept."""
DataRequest = ReadValue | WriteValue | AddValue | ListValues | AddJob | CancelJob | ListJobs
"""The requests; each is carried out in one transaction."""


class BotData(Protocol):
    """One bot's access to its data: in the journal of this process, or for a child process through its host."""

    async def ask(self, space: str, request: DataRequest) -> Any:
        """Carry out a request. `space` "" holds the values of `self.store`, any other one the values of that name.

        Raises StoreError if the request cannot be carried out, JournalAway if the journal cannot be reached.
        """


def space_of(bot: str, space: str) -> str:
    """Return the name under which the journal keeps a space of a bot. It is unambiguous, because no bot's name holds a colon."""
    return f"{bot}:{space}" if space else bot


def beyond(prefix: str) -> str:
    """Return a text above all keys with a prefix, in the order of code points, which both journals have."""
    return prefix + "\U0010ffff" * LONGEST_KEY


def job_id(bot: str, request: AddJob) -> str:
    """Return a new job's id. It begins as the ids of its task's events do, so that all entries of a task are found together."""
    return f"{bot}:{request.task}:job:{quoted(request.key)}:{quoted(request.name)}:{secrets.token_hex(6)}"


def quoted(text: str) -> str:
    """Return a text as a part of an id, without the characters that separate the parts or number an id."""
    return quote(text, safe="").replace("~", "%7E")


def job_key_of(id: str) -> str:
    """Return the key in a job's id; "" if it has none."""
    return unquote(id.split(":")[3])


def job_name_of(id: str) -> str:
    """Return the name in a job's id."""
    return unquote(id.split(":")[4])


async def every_value(journal: Journal, space: str) -> list[tuple[str, bytes]]:
    """Read all keys and values of a space, page by page."""
    found: list[tuple[str, bytes]] = []
    while page := await journal.ask(space, ListValues(after=found[-1][0] if found else "")):
        found += [(key, value) for key, value, _ in page]
    return found


class JournalData:
    """One bot's data in the journal of this process. `limit_s`: how long a run of the bot may keep its claim; `discloses`
    tells whether a secret stands in a text."""

    def __init__(
        self,
        journal: Journal,
        bot: str,
        clock: Clock,
        limit_s: float = 0.0,
        discloses: Callable[[str], bool] = lambda _text: False,
    ) -> None:
        self._journal = journal
        self._bot = bot
        self._clock = clock
        self._limit_s = limit_s
        self._discloses = discloses

    async def ask(self, space: str, request: DataRequest) -> Any:
        """See `BotData.ask`."""
        match request:
            case AddJob():
                self._check(request.data, f"the data of the job {request.name!r}")
                return await self._add(request)
            case CancelJob(key):
                return await self._journal.withdraw(space_of(self._bot, JOB), key)
            case ListJobs(before):
                return await self._page(before)
            case WriteValue(key, value):
                self._check(value or b"", f"the value of {key!r}")
                return await self._journal.ask(space_of(self._bot, space), request)
            case _:
                return await self._journal.ask(space_of(self._bot, space), request)

    def _check(self, value: bytes, what: str) -> None:
        """Raise StoreError for what would keep a secret in the journal."""
        if self._discloses(value.decode("utf-8", "surrogatepass")):
            raise StoreError(f"{what} cannot be stored: it holds an access token or a secret; leave it out")

    async def _add(self, request: AddJob) -> str:
        """Put a job whose `created` is the time when it is due, because its place in line and its age count from then.

        The plugin gives that time by this machine's wall clock, and entries are planned by the journal's time.
        """
        now = self._journal.now()
        due = round(now + request.due - self._clock.epoch(), 6)
        entry = Entry(
            id=job_id(self._bot, request), bot=self._bot, kind="job", state="ready", door="api", task=request.task,
            due=due, created=due, updated=now,
            limit_s=self._limit_s if self._journal.claims_first else 0.0,
        )  # fmt: skip
        slot = (space_of(self._bot, JOB), request.key) if request.key else None
        await self._journal.put(entry, request.data, slot=slot)
        return entry.id

    async def _page(self, before: tuple[float, str] | None) -> list[WaitingJob]:
        want = EntryFilter(bot=self._bot, kind="job", phase="parked", before=before, limit=PAGE)
        rows = await self._journal.list(want)
        return [WaitingJob(row.id, row.task, row.created, await self._journal.body(row.id) or b"null") for row in rows]


class ReadOnlyData:
    """A bot's data in a rehearsal. It reads the real values, and drops every write."""

    def __init__(self, data: BotData) -> None:
        self._data = data

    async def ask(self, space: str, request: DataRequest) -> Any:
        """See `BotData.ask`. The result of a write says that it was done."""
        if isinstance(request, ReadValue | ListValues | ListJobs):
            return await self._data.ask(space, request)
        if isinstance(request, AddJob):
            return job_id("rehearsal", request)
        if isinstance(request, AddValue):
            return added(await self._data.ask(space, ReadValue(request.key)), request.amount)
        return True
