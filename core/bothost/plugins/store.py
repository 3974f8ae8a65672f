"""Define `self.store`, values of a bot that outlive its process and are the same on every host, and `once`, which uses them."""

from __future__ import annotations

import asyncio
import copy
import inspect
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from bothost.config.units import span
from bothost.errors import JournalAway, StoreError
from bothost.journal.data import AddValue, ListValues, ReadValue, WriteValue
from bothost.journal.values import check_key, decode, encode
from bothost.pyrus_client.call import Call, CallLoop, Page, Pages, call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta
    from decimal import Decimal

    from bothost.clock import Clock
    from bothost.journal.data import BotData

T = TypeVar("T")

ONCE = "once"
"""The space in which results of `once` are kept."""
ONCE_S = 30 * 86400.0
"""The seconds for which they are kept, as long as keys of events are."""
AGAIN_S = 0.5
"""The pause before a result of `once` is kept again that the journal could not take."""
PAUSE_S = 0.005
"""The longest pause before an update is tried again, times the tries so far."""


class Store:
    """Values by key: in an async handler `await` a call, in a plain one `.wait()` for it.

    A value is what JSON carries, a Decimal, datetime, date or bytes, at most 256 kB encoded; a key has 1 to 200 characters.
    Raises StoreError for others, and JournalAway if the journal cannot be reached.
    """

    def __init__(self, data: BotData, clock: Clock, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._data = data
        self._call_loop = CallLoop(clock, loop or asyncio.get_running_loop())

    def __repr__(self) -> str:
        return "<bothost store>"

    @call
    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if there is none or it has expired."""
        data = await self._read(key)
        return default if data is None else decode(data)

    @call
    async def set(self, key: str, value: Any, expires: str | timedelta | None = None) -> None:
        """Set a value; `expires` ("7d", a timedelta) is when it goes, counted from now. None: it stays."""
        await self._data.ask("", WriteValue(check_key(key), encode(value), _expiry(expires)))

    @call
    async def add(self, key: str, amount: float | Decimal = 1) -> Any:
        """Add to a number, or to 0 if there is none, in one step over all hosts. Return the new number."""
        return decode(await self._data.ask("", AddValue(check_key(key), encode(amount))))

    @call
    async def setdefault(self, key: str, value: Any, expires: str | timedelta | None = None) -> Any:
        """Set a value if there is none. Return the value that is stored afterwards."""
        data = encode(value)
        wanted = WriteValue(check_key(key), data, _expiry(expires), checked=True, expected=None)
        while not await self._data.ask("", wanted):
            found = await self._read(key)
            if found is not None:
                return decode(found)
        return decode(data)

    @call
    async def delete(self, key: str) -> bool:
        """Delete a key; return whether it was there."""
        return bool(await self._data.ask("", WriteValue(check_key(key), None)))

    @call
    async def update(self, key: str, function: Callable[[Any], Any], default: Any = None) -> Any:
        """Replace a value by `function(value)`; return the new value. An expiry that is set stays.

        The function is called again if another process was quicker, so it must be short and do nothing else.
        """
        if not callable(function):
            raise StoreError(f"update takes a function of the value, not {function!r:.80}: write lambda value: …")
        tries = 0
        while True:
            data = await self._read(key)
            new = function(copy.deepcopy(default) if data is None else decode(data))
            if inspect.isawaitable(new):
                if inspect.iscoroutine(new):
                    new.close()
                raise StoreError(f"update: {function!r:.80} is async; give a plain function")
            wanted = WriteValue(check_key(key), encode(new), None, checked=True, expected=data)
            if await self._data.ask("", wanted):
                return new
            tries = min(tries + 1, 10)
            await asyncio.sleep(random.uniform(0, PAUSE_S * tries))  # noqa: S311 - only so that two do not go in step

    def items(self, prefix: str = "") -> Pages[tuple[str, Any]]:
        """Return keys and values with a prefix, in the order of the keys. Iterate with `async for`, in a plain handler with `for`."""
        return Pages(self._page(check_prefix(prefix), ""), self._call_loop)

    def once(self, event: str, name: str, function: Callable[[], T | Awaitable[T]]) -> Once[T]:
        """Make the call for `event.once`; see there. Raises StoreError for a wrong name, and for what is no function."""
        if not callable(function):
            if isinstance(function, Coroutine):
                function.close()
            raise StoreError(
                f"once takes a function, not {function!r:.80}: write once({name!r:.80}, lambda: …), so that a rerun calls nothing"
            )
        return Once(self, (event, check_key(name, "the name of a once")), function)

    @property
    def call_loop(self) -> CallLoop:
        """Return the loop on which the store is asked. `once` uses it."""
        return self._call_loop

    @property
    def data(self) -> BotData:
        """Return the bot's data. Jobs use it."""
        return self._data

    async def kept(self, event: str, name: str) -> bytes | None:
        """Return the result that an earlier run kept, or None. `once` uses it."""
        found: bytes | None = await self._data.ask(ONCE, ReadValue(f"{event}/{name}"))
        return found

    async def keep(self, event: str, name: str, result: bytes) -> bytes:
        """Keep a result for `once`. Return the kept result, which may be that of a run that was quicker.

        While the journal is away it tries again until the run ends, because the call was made and a rerun would make it again.
        """
        wanted = WriteValue(f"{event}/{name}", result, ONCE_S, checked=True, expected=None)
        while True:
            try:
                if await self._data.ask(ONCE, wanted):
                    return result
                return await self.kept(event, name) or result
            except JournalAway:
                await asyncio.sleep(AGAIN_S)

    async def _read(self, key: str) -> bytes | None:
        found: bytes | None = await self._data.ask("", ReadValue(check_key(key)))
        return found

    async def _page(self, prefix: str, after: str) -> Page[tuple[str, Any]]:
        rows = await self._data.ask("", ListValues(prefix, after))
        found = tuple((key, decode(value)) for key, value, _ in rows)
        return Page(found, (lambda: self._page(prefix, found[-1][0])) if found else None)


class Once(Call[T]):
    """One call whose result is kept for reruns: `await` it in an async handler, `.wait()` for it in a plain one."""

    __slots__ = ("_function", "_place", "_store")

    def __init__(self, store: Store, place: tuple[str, str], function: Callable[[], T | Awaitable[T]]) -> None:
        # the coroutine does not hold this object, so that one which nobody awaits goes at once, with Python's warning
        super().__init__(_named(_made(store, place, function)), store.call_loop)
        self._store = store
        self._place = place
        self._function = function

    def _direction(self) -> Coroutine[Any, Any, T]:
        return self._coroutine  # the author's function runs where it is awaited, also on a loop of the author's own

    def wait(self) -> T:
        """Return the result, in a plain handler: the call is made in its thread."""
        self.close()
        loop = self._store.call_loop
        found = Call(_named(self._store.kept(*self._place)), loop).wait()
        if found is None:
            result = self._function()
            if isinstance(result, Call):
                result = result.wait()
            elif inspect.isawaitable(result):
                result = Call(_result(result), loop).wait()
            found = Call(self._store.keep(*self._place, encode(result)), loop).wait()
        return decode(found)  # type: ignore[no-any-return]


async def _made(store: Store, place: tuple[str, str], function: Callable[[], T | Awaitable[T]]) -> T:
    """Return the kept result, or make the call on the loop and keep its result."""
    loop = store.call_loop
    found = await Call(store.kept(*place), loop)
    if found is None:
        result = function()
        if inspect.isawaitable(result):
            result = await result
        found = await Call(store.keep(*place, encode(result)), loop)
    return decode(found)  # type: ignore[no-any-return]


async def _result(result: Awaitable[T]) -> T:
    return await result


def _named(coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """Return a coroutine that an author's errors and warnings call `once`."""
    coroutine.__qualname__ = "once"  # type: ignore[attr-defined]
    return coroutine


def check_prefix(prefix: object) -> str:
    """Return the prefix of keys. Raises StoreError if it is no text."""
    if not isinstance(prefix, str):
        raise StoreError(f"the prefix of keys is a text, not {prefix!r:.80}")
    return prefix


def _expiry(expires: str | timedelta | None) -> float:
    if expires is None:
        return 0.0
    try:
        in_s = span(expires)
    except ValueError as error:
        raise StoreError(f"expires={expires!r} is no duration: write one such as 7d ({error})") from None
    if in_s <= 0:
        raise StoreError(f"expires={expires!r} is not in the future: write a duration such as 7d")
    return in_s
