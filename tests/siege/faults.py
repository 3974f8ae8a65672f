"""What a siege does to hosts and to their journal, each for a moment; all of it is over when a fault returns."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from tests.kills.siege import children_of, kill_quietly

from bothost.errors import JournalAway, JournalError
from bothost.journal.entry import EntryFilter
from bothost.journal.sqlite.connection import path_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tests.siege.field import Field

    Fault = Callable[[Field], Awaitable[None]]

SESSIONS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
PIDS = Path("/sys/fs/cgroup/pids")
LONG_S = float(os.environ.get("BOTHOST_SIEGE_LONGEST", "6"))
"""The longest that anything stands still; 25 by hand, which is longer than half a lease."""


async def frozen(field: Field, pids: Iterable[int]) -> None:
    """Stop these processes for a while."""
    stopped = list(pids)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGSTOP:
            await asyncio.sleep(field.rng.uniform(0.3, LONG_S))


async def host_killed(field: Field) -> None:
    await field.siege.kill_one()


async def host_frozen(field: Field) -> None:
    process = field.rng.choice(field.siege.sites).process
    assert process is not None
    pids = children_of(process.pid) or [process.pid]
    await frozen(field, [field.rng.choice(pids)])


async def no_thread_starts(field: Field) -> None:
    """The hosts may begin neither threads nor processes for a while, as at TasksMax; needs root and the pids controller."""
    if not os.access(PIDS, os.W_OK):
        return
    group = PIDS / f"bothost-siege-{os.getpid()}"
    group.mkdir(exist_ok=True)
    for site in field.siege.sites:
        assert site.process is not None
        for pid in (site.process.pid, *children_of(site.process.pid)):
            with contextlib.suppress(OSError):
                (group / "cgroup.procs").write_text(str(pid))
    most = group / "pids.max"
    most.write_text((group / "pids.current").read_text())
    await asyncio.sleep(field.rng.uniform(0.5, LONG_S))
    most.write_text("max")


async def operator_acts(field: Field) -> None:
    """Cancel or retry something that is open or has failed."""
    store = await field.visitor()
    try:
        rows = await store.list(EntryFilter(states=("ready", "running", "failed"), limit=50))
        for row in field.rng.sample(list(rows), min(3, len(rows))):
            field.touched.add(row.task)
            with contextlib.suppress(JournalError):
                await (store.cancel(row.id) if field.rng.random() < 0.5 else store.retry(row.id))
    except JournalAway:
        return
    finally:
        await store.close()


async def stopped_fast(field: Field) -> None:
    await restart(field, fast=True)


async def stopped_at_once(field: Field) -> None:
    await restart(field, fast=False)


async def restart(field: Field, *, fast: bool) -> None:
    await asyncio.to_thread(field.server.stop, fast=fast)
    await asyncio.sleep(field.rng.uniform(0.0, 2.0))
    await asyncio.to_thread(field.server.start)


async def backend_killed(field: Field) -> None:
    """kill -9 of one backend: the postmaster ends them all and recovers."""
    for pid in field.rng.sample(children_of(field.server.pid), 1):
        kill_quietly(pid)
    await asyncio.sleep(1.0)


async def database_frozen(field: Field) -> None:
    await frozen(field, [field.server.pid, *children_of(field.server.pid)])


async def sessions_ended(field: Field) -> None:
    await field.sql(SESSIONS)


async def connections_exhausted(field: Field) -> None:
    hogs = []
    with contextlib.suppress(asyncpg.PostgresError, OSError):
        await field.sql(SESSIONS)
        for _ in range(100):
            hogs.append(await asyncpg.connect(field.server.url("postgres")))  # noqa: PERF401 - those made so far stay
    await asyncio.sleep(field.rng.uniform(0.5, 4.0))
    for hog in hogs:
        hog.terminate()


async def read_only(field: Field) -> None:
    for word in ("set default_transaction_read_only = on", "reset default_transaction_read_only"):
        # from another database, because a session of this one would be read-only itself
        await field.sql(f"alter database {field.database} {word}", field.server.url("postgres"))
        await field.sql(SESSIONS)
        await asyncio.sleep(field.rng.uniform(0.5, 4.0))


async def table_locked(field: Field) -> None:
    connection = await asyncpg.connect(field.url)
    with contextlib.suppress(asyncpg.PostgresError, OSError):
        async with connection.transaction():
            await connection.execute("lock table bothost.delivery in access exclusive mode")
            await asyncio.sleep(field.rng.uniform(0.5, LONG_S))
    connection.terminate()


async def network_stalled(field: Field) -> None:
    field.proxy.stall()
    await asyncio.sleep(field.rng.uniform(0.3, LONG_S))
    field.proxy.go_on()


async def network_cut(field: Field) -> None:
    field.proxy.cut()


async def file_locked(field: Field) -> None:
    other = sqlite3.connect(
        path_of(field.siege.sites[0].folder / "state"), isolation_level=None, check_same_thread=False, timeout=2
    )
    with contextlib.suppress(sqlite3.Error):
        await asyncio.to_thread(other.execute, "begin exclusive")
        await asyncio.sleep(field.rng.uniform(0.3, LONG_S))
        other.execute("rollback")
    other.close()


async def lock_held(field: Field) -> None:
    handle = os.open(field.siege.sites[0].folder / "state" / "journal.lock", os.O_RDWR)
    with contextlib.suppress(OSError):
        await asyncio.to_thread(fcntl.flock, handle, fcntl.LOCK_EX)
        await asyncio.sleep(field.rng.uniform(0.3, LONG_S))
    os.close(handle)


ON_HOSTS: tuple[Fault, ...] = (host_killed, host_frozen, operator_acts, no_thread_starts)
ON_DATABASE: tuple[Fault, ...] = (
    stopped_fast, stopped_at_once, backend_killed, database_frozen, sessions_ended, connections_exhausted, read_only,
    table_locked, network_stalled, network_cut,
)  # fmt: skip
ON_FILE: tuple[Fault, ...] = (file_locked, lock_held)
