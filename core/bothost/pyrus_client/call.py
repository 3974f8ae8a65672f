"""Define a call that can be awaited or waited for, and pages that can be iterated either way.

A `Call` wraps one real coroutine, so Python's own rules hold. A call that is never awaited sends nothing and warns. A call
used twice is an error. `gather`, `create_task` and `TaskGroup` take it. The coroutine always runs on the host's loop; another
loop (`asyncio.run` in a plain handler) and a thread wait for it from outside.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from bothost.errors import CallUnclear, CallUnsent

if TYPE_CHECKING:
    from types import TracebackType

    from bothost.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")


class CallLoop:
    """The loop on which a run's calls are made, until they are given up: at the end of the run, or of the host."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.clock = clock
        self.loop = loop
        self._pending: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._over = ""

    def here(self) -> bool:
        """Return whether the caller runs on this loop."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def begin(self) -> None:
        """Pass while calls may be made. Afterwards raise CallUnsent with the reason."""
        if self._over:
            raise CallUnsent(self._over)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on this loop for a caller in another thread."""
        try:
            with self._lock:  # without it a call that is given up at this instant would be missed
                self.begin()
                future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
                self._pending.add(future)
        except RuntimeError as error:
            coroutine.close()
            raise CallUnsent("the host has stopped, no call can be made any more") from error
        except CallUnsent:
            coroutine.close()
            raise
        future.add_done_callback(self._pending.discard)
        return future

    def result(self, future: Future[T]) -> T:
        """Wait in a thread, and return the result. A call that is given up meanwhile raises CallUnclear and frees the thread."""
        try:
            return self.clock.result(future)
        except CancelledError:
            raise CallUnclear(self._over or "the call was cancelled") from None

    def give_up(self, why: str) -> None:
        """Refuse further calls, and free the threads that wait for one."""
        with self._lock:
            self._over = why
            pending = list(self._pending)
        for future in pending:
            future.cancel()


class Call(Coroutine[Any, Any, T], Generic[T]):
    """One call to Pyrus: `await` it in an async handler, `.wait()` for it in a plain one."""

    __slots__ = ("_call_loop", "_coroutine", "_way")

    def __init__(self, coroutine: Coroutine[Any, Any, T], call_loop: CallLoop) -> None:
        self._coroutine = coroutine
        self._call_loop = call_loop
        self._way: Coroutine[Any, Any, T] | None = None

    def wait(self) -> T:
        """Return the result, in a plain handler or a thread. Raises CallError, and RuntimeError on the host's own loop."""
        if self._call_loop.here():
            self._coroutine.close()
            raise RuntimeError(
                f"{getattr(self._coroutine, '__qualname__', 'a call')}(...).wait() would stop the host's event loop. In an async handler write "
                "`await` instead; a plain handler that waits runs in a thread (run = auto or thread, not loop)"
            )
        return self._call_loop.result(self._call_loop.submit(self._coroutine))

    def __await__(self) -> Generator[Any, Any, T]:
        return self._direction().__await__()

    def send(self, value: Any) -> Any:
        """Behave as every coroutine does. The event loop calls this."""
        return self._direction().send(value)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        """Behave as every coroutine does. The event loop calls this."""
        error = val if val is not None else typ
        return self._direction().throw(error.with_traceback(tb) if tb is not None else error)

    def close(self) -> None:
        """Give the call up before it is sent."""
        (self._way or self._coroutine).close()

    if not TYPE_CHECKING:  # a type checker must not see it, so that it reports wrong attributes of a call

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: read it from the call's result, which comes by "
                "`await` or, in a plain handler, by `.wait()`",
                name=name,  # so that the error does not keep the call, which would warn much later
            )

    def _direction(self) -> Coroutine[Any, Any, T]:
        if self._way is None:
            self._way = self._coroutine if self._call_loop.here() else _across(self._coroutine, self._call_loop)
        return self._way


async def _across(coroutine: Coroutine[Any, Any, T], call_loop: CallLoop) -> T:
    return await asyncio.wrap_future(call_loop.submit(coroutine))


class CallsOnLoop(Protocol):
    """An object whose methods may be calls."""

    @property
    def _call_loop(self) -> CallLoop: ...


Self = TypeVar("Self", bound=CallsOnLoop)


def call(method: Callable[Concatenate[Self, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Self, P], Call[T]]:
    """Make a method that is written with `async def` return a `Call`."""

    @functools.wraps(method)
    def made(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return Call(method(self, *args, **kwargs), self._call_loop)

    return made


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and a function that returns the next page; None after the last page."""

    items: Sequence[T]
    following: Callable[[], Coroutine[Any, Any, Page[T]]] | None = None


class Pages(Generic[T]):
    """Items that come page by page. Iterate by `async for`, in a plain handler by `for`, or `await`/`.wait()` for all."""

    __slots__ = ("_call_loop", "_first")

    def __init__(self, first: Coroutine[Any, Any, Page[T]], call_loop: CallLoop) -> None:
        self._first = first
        self._call_loop = call_loop

    async def __aiter__(self) -> AsyncIterator[T]:
        page = await Call(self._first, self._call_loop)
        while True:
            for item in page.items:
                yield item
            if page.following is None:
                return
            page = await Call(page.following(), self._call_loop)

    def __iter__(self) -> Iterator[T]:
        if self._call_loop.here():
            self._first.close()
            raise RuntimeError(
                "`for` would stop the host's event loop here. In an async handler write `async for` instead"
            )
        page = Call(self._first, self._call_loop).wait()
        while True:
            yield from page.items
            if page.following is None:
                return
            page = Call(page.following(), self._call_loop).wait()

    def __await__(self) -> Generator[Any, Any, tuple[T, ...]]:
        return self._all().__await__()

    def wait(self) -> tuple[T, ...]:
        """Return all items, in a plain handler."""
        return tuple(self)

    async def _all(self) -> tuple[T, ...]:
        return tuple([item async for item in self])
