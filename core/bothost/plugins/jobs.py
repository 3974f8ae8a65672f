"""Define `self.jobs`, by which a plugin lets a method of `@job` run once, later, over all hosts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from bothost.config.units import span
from bothost.errors import StoreError
from bothost.journal.data import AddJob, CancelJob, ListJobs, WaitingJob, job_key_of, job_name_of
from bothost.journal.values import check_key, decode, encode
from bothost.plugins.event import RunContext, once_of
from bothost.plugins.store import check_prefix
from bothost.pyrus_client.call import Page, Pages, call
from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.clock import Clock
    from bothost.journal.data import BotData
    from bothost.plugins.store import Once
    from bothost.pyrus_client.call import CallLoop

T = TypeVar("T")

LONGEST_S = 10 * 366 * 86400.0
"""The most seconds that a job may lie ahead."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One job: its `name`, `key` and `id` (the same in every rerun), its `task_id` and `data`, and the time when it was `due`.

    `late` tells by how much it runs after that, `rerun` why it runs again, `deadline` when its time ends.
    """

    id: str
    name: str
    key: str
    task_id: int
    data: Any
    due: datetime
    late: timedelta = timedelta(0)
    _context: RunContext | None = None

    @property
    def rerun(self) -> str:
        """Return the reason why the job runs again (`error`, `crash`, `drain`, `manual`); "" in its first run."""
        return self._context.rerun if self._context is not None else ""

    @property
    def deadline(self) -> datetime:
        """Return the moment at which the bot's `timeout` ends this run: an aware datetime. Raises StoreError for one that waits."""
        return self._run.deadline

    @overload
    def once(self, name: str, function: Callable[[], Awaitable[T]]) -> Once[T]: ...
    @overload
    def once(self, name: str, function: Callable[[], T]) -> Once[T]: ...
    def once(self, name: str, function: Callable[[], T | Awaitable[T]]) -> Once[T]:
        """See `Event.once`. Raises StoreError for a job that waits."""
        return once_of(self._run, name, function)

    @property
    def _run(self) -> RunContext:
        if self._context is None:
            raise StoreError(
                f"the job {self.id} only waits: `once` and `deadline` are for the job that a method of @job gets"
            )
        return self._context

    def __repr__(self) -> str:
        return f"<Job {self.id} due {self.due.isoformat()}>"


class Jobs:
    """A bot's jobs: in an async handler `await` a call, in a plain one `.wait()` for it."""

    def __init__(self, data: BotData, call_loop: CallLoop, names: frozenset[str]) -> None:
        self._data = data
        self._call_loop = call_loop
        self._names = names

    def __repr__(self) -> str:
        return "<bothost jobs>"

    @call
    async def add(
        self,
        name: str,
        *,
        after: str | timedelta | None = None,
        at: datetime | None = None,
        key: str | None = None,
        task: int = 0,
        data: Any = None,
    ) -> str:
        """Have the method of `@job(name)` run `after` a duration ("3h"), or `at` an aware datetime, once over all hosts.

        A time that is past means now. A waiting job with the same `key` is replaced; without one each call adds a job. Durable when it returns; the job's
        id. A Reply that the job returns is written to `task`. Raises StoreError for what cannot be kept.
        """
        listed = ", ".join(sorted(self._names)) or "none"
        if not isinstance(name, str):
            raise StoreError(f"a job is added by its name, a text, and not by {name!r:.80} (the plugin has: {listed})")
        if name not in self._names:
            raise StoreError(f"the plugin has no job {name!r:.80}{nearest(name, self._names)} (it has: {listed})")
        if key is not None:
            check_key(key, "the key of a job")
        if isinstance(task, bool) or not isinstance(task, int) or not 0 <= task < 2**63:
            raise StoreError(f"task={task!r:.80} is no task's id")
        wanted = AddJob(name, key or "", task, encode(data), _due(self._call_loop.clock, after, at))
        added: str = await self._data.ask("", wanted)
        return added

    @call
    async def cancel(self, key: str) -> bool:
        """Remove the waiting job with this key; return whether there was one. A job that runs already goes on."""
        return bool(await self._data.ask("", CancelJob(check_key(key, "the key of a job"))))

    def list(self, prefix: str = "") -> Pages[Job]:
        """Return the jobs that wait, those whose key has a prefix: iterate, or `await` (`.wait()` for) all."""
        return Pages(self._page(check_prefix(prefix), None), self._call_loop)

    async def _page(self, prefix: str, before: tuple[float, str] | None) -> Page[Job]:
        rows = [_row(row) for row in await self._data.ask("", ListJobs(before))]
        found = tuple(job for row in rows if (job := waiting(row)).key.startswith(prefix))
        return Page(found, (lambda: self._page(prefix, (rows[-1].due, rows[-1].id))) if rows else None)


def waiting(row: WaitingJob) -> Job:
    """Return a job that waits, as its author sees it."""
    due = datetime.fromtimestamp(row.due, UTC)
    return Job(row.id, job_name_of(row.id), job_key_of(row.id), row.task, decode(row.data), due)


def _row(row: Any) -> WaitingJob:
    return row if isinstance(row, WaitingJob) else WaitingJob(**row)


def _due(clock: Clock, after: str | timedelta | None, at: datetime | None) -> float:
    if (after is None) == (at is None):
        raise StoreError('a job needs either after="3h" or at=a datetime')
    now = clock.epoch()
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise StoreError(f"at={at!r:.80} is no aware datetime: write one with a time zone")
        due = at.timestamp()
    else:
        try:
            due = now + span(after)
        except ValueError as error:
            raise StoreError(f"after={after!r:.80} is no duration: write one such as 3h ({error})") from None
    if due - now > LONGEST_S:
        raise StoreError(f"a job cannot lie more than ten years ahead ({after or at})")
    return max(due, now)
