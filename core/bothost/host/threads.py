"""The threads behind `asyncio.to_thread`: plugins have theirs, so that they never take those of the host."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from bothost.plugins.attribution import BOT

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

OWN_THREADS = 8
PLUGIN_THREADS = 32


class DividedThreads(ThreadPoolExecutor):
    """The loop's default executor: work that comes from a plugin runs here, that of the host in threads of its own."""

    def __init__(self) -> None:
        super().__init__(PLUGIN_THREADS, "bothost-plugins")
        self._own = ThreadPoolExecutor(OWN_THREADS, "bothost-own")

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor.submit`; the context of the caller tells whose work it is."""
        if BOT.get():
            return super().submit(fn, *args, **kwargs)
        return self._own.submit(fn, *args, **kwargs)
