"""Enter hooks around each run of a handler or timer, for tracing and error tracking."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from bothost.plugins.explained import plain_decorator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from contextlib import AbstractContextManager

    from bothost.plugins.api import Tick
    from bothost.plugins.event import Event
    from bothost.plugins.http import Request
    from bothost.plugins.jobs import Job

    RunAbout = Event | Tick | Job | Request
    RunHook = Callable[[RunAbout], AbstractContextManager[object]]

H = TypeVar("H", bound="RunHook")

log = logging.getLogger("bothost.plugin")

_hooks: dict[str, RunHook] = {}
"""The hooks by module and name, so that a module that is imported anew replaces its hook."""


@plain_decorator
def on_run(hook: H) -> H:
    """Enter the context manager that `hook(event)` returns around each run in this process; `tick`,
    `job` or `request` in place of the event for timers, jobs and hooks. What the run raises reaches its `__exit__`; what that returns is ignored.

    The hook is entered in the thread and the context of the handler. What the hook itself raises is logged, and the run goes on.
    """
    if not callable(hook):
        raise TypeError("@on_run takes a function that returns a context manager, such as one with @contextmanager")
    name = f"{getattr(hook, '__module__', '')}.{getattr(hook, '__qualname__', repr(hook))}"
    _hooks[name] = hook
    return hook


def hooked(begin: Callable[[], Any], subject: RunAbout) -> Callable[[], Any]:
    """Return the call with every hook around it."""
    if not _hooks:
        return begin

    def run() -> Any:
        entered = _Entered(subject)
        try:
            answer = begin()
        except BaseException as error:
            entered.leave(error)
            raise
        if inspect.isawaitable(answer):
            return _Hooked(answer if inspect.iscoroutine(answer) else _awaited(answer), entered)
        entered.leave(None)
        return answer

    return run


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


class _Hooked(Coroutine[Any, Any, Any]):
    """A handler's coroutine with its hooks around it. Closing it leaves the hooks also if it was never begun."""

    def __init__(self, work: Coroutine[Any, Any, Any], entered: _Entered) -> None:
        self.cr_await = work
        """The handler's own coroutine, under the name by which it is asked where a coroutine stands."""
        self._entered = entered

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # it has what a generator has

    def __iter__(self) -> _Hooked:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any, /) -> Any:
        """See `Coroutine.send`."""
        return self._step(self.cr_await.send, value)

    def throw(self, kind: Any, /, *more: Any) -> Any:
        """See `Coroutine.throw`."""
        return self._step(self.cr_await.throw, kind, *more)

    def close(self) -> None:
        """See `Coroutine.close`."""
        self._step(self.cr_await.close)
        self._entered.leave(None)

    def _step(self, step: Callable[..., Any], *given: Any) -> Any:
        try:
            return step(*given)
        except StopIteration:
            self._entered.leave(None)
            raise
        except BaseException as error:
            self._entered.leave(error)
            raise


class _Entered:
    """The hooks of one run that were entered, the last one first to leave."""

    def __init__(self, subject: RunAbout) -> None:
        self._exits: list[tuple[str, AbstractContextManager[object]]] = []
        for name, hook in list(_hooks.items()):
            try:
                around = hook(subject)
                around.__enter__()
            except BaseException:  # a plugin's own code, beside the run of any bot
                log.exception("the hook %s could not be entered", name)
            else:
                self._exits.append((name, around))

    def leave(self, error: BaseException | None) -> None:
        """Leave all of them with what the run raised. Harmless when called again."""
        given = (None, None, None) if error is None else (type(error), error, error.__traceback__)
        while self._exits:
            name, around = self._exits.pop()
            try:
                around.__exit__(*given)
            except BaseException as fault:  # a plugin's own code; a generator raises what it was thrown
                if fault is not error:
                    log.error("the hook %s failed", name, exc_info=fault)
