"""Join many small requests to few large ones. Those that come during one round trip go with the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from bothost.background import reserve
from bothost.errors import JournalAway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 200
"""The most items of one round trip."""


class BatchedCalls(Generic[Item, Result]):
    """Calls `flush` with all items that wait, one call at a time. `flush` returns one result for each item, in their order.

    Two items with the same `key_of` never travel together, such as two writes of one row. If `flush` raises, all callers of
    that round trip get the error. An item whose caller was cancelled before it travelled is dropped.
    """

    def __init__(
        self, flush: Callable[[list[Item]], Awaitable[Sequence[Result]]], key_of: Callable[[Item], str]
    ) -> None:
        self._flush = flush
        self._key_of = key_of
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Result:
        """Flush the item with the next round trip. Return its result, or raise the error of `flush`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = reserve(loop.create_task(self._run()))
        return await future

    async def drain(self) -> None:
        """Return when nothing is under way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while batch := self._take():
            try:
                results = await self._flush([item for item, _ in batch])
            except BaseException as error:  # the callers must get any error, a cancellation too
                self._fail(batch, error)
                if isinstance(error, asyncio.CancelledError):
                    raise
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    @staticmethod
    def _fail(batch: list[tuple[Item, asyncio.Future[Result]]], error: BaseException) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error if isinstance(error, Exception) else JournalAway("the journal was cut off"))

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: dict[str, tuple[Item, asyncio.Future[Result]]] = {}
        later: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < MOST:
            item, future = self._waiting.popleft()
            if future.cancelled():
                continue
            key = self._key_of(item)
            if key in batch:
                later.append((item, future))
            else:
                batch[key] = (item, future)
        self._waiting.extendleft(reversed(later))
        return list(batch.values())
