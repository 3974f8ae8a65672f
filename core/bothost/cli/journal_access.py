"""Open the journal beside a running host. A visitor owns nothing, claims nothing and makes no files."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

from bothost.cli.privileges import become_owner
from bothost.cli.selection import host_of, read_existing
from bothost.clock import SystemClock
from bothost.errors import BothostError, JournalError
from bothost.journal import open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bothost.config import HostConfig
    from bothost.journal import Journal

T = TypeVar("T")


def visit(config: str, work: Callable[[Journal], Awaitable[T]]) -> T:
    """Open the journal of a configuration, call `work` with it, close it. Raises ConfigError, JournalError, BothostError."""
    host = host_of(read_existing(config))

    async def inside() -> T:
        async with visiting(host) as journal:
            return await work(journal)

    return asyncio.run(inside())


def _no_journal(host: HostConfig, error: JournalError) -> BothostError:
    """Explain an empty database: the host that runs here may use another one, for instance by another environment."""
    if not host.journal or "does not exist" not in str(error):
        return error
    return BothostError(
        f"this database holds no journal yet ({error}); the running host uses the one that its own `journal` and environment "
        "name: run this command with the service's environment, or start a host on this database first"
    )


@contextlib.asynccontextmanager
async def visiting(host: HostConfig) -> AsyncIterator[Journal]:
    """Open the journal and close it at the end. Root becomes the state folder's owner for good."""
    # made before root gives up its rights, because its modules may lie where only root reads
    journal = open_journal(
        host.journal, host.state, SystemClock(), claims_first=bool(host.journal) or host.processes > 1, readonly=True
    )
    if not host.journal:
        become_owner(host.state)
    try:
        await journal.open()
        try:
            yield journal
        finally:
            await journal.close()
    except JournalError as error:
        raise _no_journal(host, error) from None
