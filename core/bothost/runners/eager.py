"""Begin a coroutine at once instead of in the loop's next iteration, because most handlers never wait for anything.

An answer that is there before the request's own callback ends costs neither a watch on the connection nor another iteration.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.tasks import _enter_task, _leave_task  # documented for who brings a task of his own ("Extending" asyncio)
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from bothost.background import reserve

if TYPE_CHECKING:
    from contextvars import Context

T = TypeVar("T")
_CURRENT: Mapping[asyncio.AbstractEventLoop, asyncio.Task[Any]] = getattr(asyncio.tasks, "_current_tasks", {})
"""The task that runs on each loop, where `begin` has to know it: on Python 3.11."""


def begin(work: Coroutine[Any, Any, T], context: Context, name: str | None = None) -> asyncio.Task[T]:
    """Return a task for the work, whose first step, up to where it waits for something, has been made when this returns.

    To be called on the loop; inside the step `asyncio.current_task()` is the new task.
    """
    # `context` stands in this frame under this name: the watchdog reads from it whose code runs
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, name=name, context=context, eager_start=True)
    step = _FirstStep(work)
    task: asyncio.Task[T] = asyncio.Task(step, loop=loop, name=name, context=context)
    # looked up here, because where there is one, `_enter_task` refuses with both tasks written out: 200 calls
    outer = _CURRENT[loop] if loop in _CURRENT else None  # noqa: SIM401 - no call where there is none
    if outer is not None:
        _leave_task(loop, outer)
    _enter_task(loop, task)
    try:
        step.waits_for(context.run(work.send, None))
    except StopIteration as end:
        step.has_ended, step.value = True, end.value
    except BaseException as error:  # noqa: BLE001 - it is raised again where the task takes it up
        step.raised(error)
    finally:
        _leave_task(loop, task)
        if outer is not None:
            _enter_task(loop, outer)
    return task


def advance(work: Coroutine[Any, Any, T], context: Context) -> asyncio.Task[T] | None:
    """Begin as `begin` does, but without a task if the first step is the last one; then None is returned.

    For work of the host's own that asks for no task in its first step: there is no current one in it.
    """
    loop = asyncio.get_running_loop()
    outer = asyncio.current_task(loop)
    if outer is not None:
        _leave_task(loop, outer)
    try:
        waited = context.run(work.send, None)
    except StopIteration:
        return None
    except BaseException as error:  # noqa: BLE001 - it is raised again where the task takes it up
        step = _FirstStep(work)
        step.raised(error)
    else:
        step = _FirstStep(work)
        step.waits_for(waited)
    finally:
        if outer is not None:
            _enter_task(loop, outer)
    return reserve(loop.create_task(step, context=context))


class _FirstStep(Coroutine[Any, Any, Any]):
    """A coroutine whose first step is made before its task's. The task then takes over the result, and goes on from there."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._taken_up = False
        self.has_ended = False
        self.value: Any = None
        """The future that the work waits for, or its result if it has ended."""
        self._error: BaseException | None = None
        self._blocks = False

    def raised(self, error: BaseException) -> None:
        """Note that the first step was the last one, and raised this."""
        self.has_ended, self._error = True, error

    def waits_for(self, waited: Any) -> None:
        """Note that the first step ended because the work waits for this."""
        self.value = waited
        # the mark of a future that is being awaited; until the task looks at it, others may await the same one
        self._blocks = bool(getattr(waited, "_asyncio_future_blocking", False))
        if self._blocks:
            waited._asyncio_future_blocking = False

    def send(self, value: Any, /) -> Any:
        """See `Coroutine.send`."""
        if self._taken_up:
            return self._work.send(value)
        self._taken_up = True
        value, self.value = self.value, None
        if self._error is not None:
            raise self._error
        if self.has_ended:
            raise StopIteration(value)
        if self._blocks:
            value._asyncio_future_blocking = True
        return value

    def throw(self, kind: Any, /, *more: Any) -> Any:
        """See `Coroutine.throw`. A cancellation that came before the task took up the first step goes to what is waited for,
        as `Task.cancel` would have sent it there."""
        if not self._taken_up and (self.has_ended or (self._blocks and self.value.cancel())):
            return self.send(None)
        self._taken_up, self.value = True, None
        return self._work.throw(kind, *more)

    def close(self) -> None:
        """See `Coroutine.close`."""
        self._work.close()

    def __await__(self) -> Any:
        """Raise TypeError, because only a task may go on with it."""
        raise TypeError("the rest of a begun coroutine belongs to its task")

    def __getattr__(self, name: str) -> Any:
        """Return `cr_frame`, `cr_await` and the like of the work itself."""
        return getattr(self._work, name)
