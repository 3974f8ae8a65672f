"""Run the host's event loop to its end, whatever plugins do to the loop that all share."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, Any

from bothost.background import RESERVED, reserve
from bothost.host import process_setup
from bothost.host.threads import DividedThreads
from bothost.plugins.attribution import BOT, innermost_of
from bothost.text import LONGEST_TEXT, said

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.getLogger("bothost.server")

LEAST_LIFE_S = 0.001
MOST_ENDS = 1000
"""The times in a row that the loop may end within `LEAST_LIFE_S` before the host takes it for broken, and ends too."""


def run_to_the_end(work: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on a new loop and return what it returns, whatever a plugin throws into the loop meanwhile.

    A loop ends by `loop.stop()`, by a SystemExit or KeyboardInterrupt of any task or callback, and by what a signal handler
    of a plugin raises, which may stand anywhere. This is not asyncio.run, which waits at its end for plugins' tasks and threads.
    """
    loop: Any = asyncio.Runner(loop_factory=process_setup.loop_factory()).get_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(DividedThreads())
    loop.set_default_executor = _keep_threads
    loop.shutdown_default_executor = _go_on_with_threads
    RESERVED.set(True)
    task = reserve(loop.create_task(work))
    ends = 0
    while True:
        began = loop.time()
        try:
            code: int = loop.run_until_complete(task)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # around the host's loop, which plugins share
            ends = ends + 1 if loop.time() - began < LEAST_LIFE_S else 0
            if task.done() or ends > MOST_ENDS or is_of_closed_file(error):
                raise
            log.error("a plugin has stopped the event loop, which goes on: %s", _stopped_by(error))
        else:
            return code


def is_of_closed_file(error: BaseException) -> bool:
    """Return whether a file was closed that the loop needs: it cannot go on."""
    return isinstance(error, OSError) and error.errno == errno.EBADF


def _stopped_by(error: BaseException) -> str:
    if isinstance(error, RuntimeError) and "stopped before Future completed" in str(error):
        return "remove its call of loop.stop()"
    place = innermost_of(error.__traceback__)
    return (
        f"{said(error, LONGEST_TEXT)} was raised out of a task or a signal handler ({place or 'no code of a plugin'})"
    )


def _keep_threads(_executor: object) -> None:
    """Stand in for `loop.set_default_executor`: the threads behind `asyncio.to_thread` belong to all plugins."""
    log.warning(
        "[bot:%s] its plugin replaces the threads of asyncio.to_thread, which all share; they stay: give "
        "loop.run_in_executor threads of its own",
        BOT.get(), extra={"bot": BOT.get()},
    )  # fmt: skip


async def _go_on_with_threads(**_limit: object) -> None:
    """Stand in for `loop.shutdown_default_executor`, which plugins call that clean up as asyncio.run does."""
