"""`journal`: copy, back up and restore the journal as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bothost.cli import OK
from bothost.cli.completion import complete_folder
from bothost.cli.help import Group
from bothost.cli.output import config_option, json_option, say, show_json, warn
from bothost.cli.privileges import become_owner, give_to_owner
from bothost.cli.selection import host_of, read_existing
from bothost.clock import SystemClock
from bothost.config.dsn import SCHEMES, dsn_problem
from bothost.config.secrets import SecretSources, Unresolved
from bothost.errors import BothostError, JournalAway, UsageError
from bothost.journal.copying import CopyResult, copy
from bothost.journal.owner_locks import HostLock
from bothost.journal.sqlite.tables import SqliteTables, why_no_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bothost.config import HostConfig
    from bothost.journal.copying import JournalTables

TOLD_EVERY = 10_000
_UNFINISHED = ".bothost-backup-"
_LEFT_S = 60.0
"""A younger folder may be one of a backup that has begun and holds no lock yet."""


@click.group(cls=Group, epilog="Example: bothost journal backup /var/backups/bothost-journal.db")
def journal() -> None:
    """Copy the journal into another one, back it up, restore it."""


@journal.command("copy", epilog="Example: bothost journal copy /var/lib/bothost/state env:BOTHOST_JOURNAL")
@click.argument("source", metavar="FROM", shell_complete=complete_folder)
@click.argument("target", metavar="TO", shell_complete=complete_folder)
@config_option
@json_option
def copy_(config: str, as_json: bool, source: str, target: str) -> int:
    """Copy a journal into an empty one and check that both are equal. No host may run on either of them.

    Each is a state folder, postgresql://USER@HOST/DATABASE, or env:NAME or file:PATH that leads to one. A copy that was cut off
    goes on where it stopped.
    """
    folder = Path(config).absolute().parent

    here_at, there_at = _place(source, folder), _place(target, folder)
    if _settled(here_at) == _settled(there_at):
        raise UsageError(f"{source} and {target} are the same journal: name another one to copy it into")

    async def work() -> CopyResult:
        async with _opened(here_at) as here, _opened(there_at, made=True) as there:
            return await copy(here, there, SystemClock().epoch(), _tell)

    return _say(asyncio.run(work()), f"{source} was copied to {target}", as_json=as_json)


@journal.command("backup", epilog="Example: bothost journal backup /var/backups/bothost-journal.db")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
def backup(config: str, as_json: bool, file: Path) -> int:
    """Write the whole journal, bodies too, into one new file, also while the host runs."""
    host = host_of(read_existing(config))
    if file.exists():
        raise UsageError(f"{file} exists already: name a new file")
    if not file.absolute().parent.is_dir():
        raise UsageError(
            f"there is no folder {file.absolute().parent} for the backup: make it, or name a file elsewhere"
        )
    _remove_left(file.absolute().parent)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=file.absolute().parent) as work_folder:

        async def work() -> CopyResult:
            place = host.journal or host.state
            async with _opened(place, beside=True) as here, _opened(Path(work_folder), made=True) as there:
                return await copy(here, there, SystemClock().epoch(), _tell)

        result = asyncio.run(work())
        with (Path(work_folder) / "journal.db").open("rb") as written:
            os.fsync(written.fileno())
        os.link(Path(work_folder) / "journal.db", file)  # in place only when it is whole, and over nothing
    return _say(result, f"the journal is in {file}", as_json=as_json)


def _remove_left(folder: Path) -> None:
    """Remove what backups that were killed have left in a folder: it holds as much as the journal."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        lock = HostLock(left, alone=True)
        with contextlib.suppress(OSError, JournalAway):  # another user's, or of a backup under way
            if SystemClock().epoch() - left.stat().st_mtime > _LEFT_S:
                lock.take()
                shutil.rmtree(left)
        lock.give_back()


@journal.command("restore", epilog="Example: bothost journal restore /var/backups/bothost-journal.db")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@json_option
def restore(config: str, as_json: bool, file: Path) -> int:
    """Fill the empty journal of bots.ini from a backup, and check that both are equal. The host must not run."""
    host = host_of(read_existing(config))
    with tempfile.TemporaryDirectory() as work_folder:
        shutil.copyfile(file, Path(work_folder) / "journal.db")

        async def work() -> CopyResult:
            label = str(file)
            async with _opened(Path(work_folder), label=label) as here, _opened(_of(host), made=True) as there:
                return await copy(here, there, SystemClock().epoch(), _tell)

        result = asyncio.run(work())
    return _say(result, f"the journal holds what {file} held", as_json=as_json)


def _of(host: HostConfig) -> str | Path:
    """Return where the journal of a configuration is. Root becomes the state folder's owner, so that it owns nothing there."""
    if host.journal:
        return host.journal
    if host.state.exists():
        become_owner(host.state)
    return host.state


def _settled(place: str | Path) -> str | Path:
    return place.resolve() if isinstance(place, Path) else place


def _place(text: str, folder: Path) -> str | Path:
    """Read FROM or TO: an address of PostgreSQL, or a state folder. Raises UsageError."""
    try:
        found = SecretSources(folder, os.environ).resolve(text).decode()
    except (Unresolved, UnicodeDecodeError) as error:
        raise UsageError(str(error)) from None
    if not found.startswith(SCHEMES):
        return Path(found)
    if why := dsn_problem(found):
        raise UsageError(f"the address {why}")
    return found


@contextlib.asynccontextmanager
async def _opened(
    place: str | Path, *, made: bool = False, beside: bool = False, label: str = ""
) -> AsyncIterator[JournalTables]:
    """Open the tables of a journal, and close them at the end. `made` allows a state folder without a journal."""
    clock = SystemClock()
    if isinstance(place, str):
        from bothost.journal.postgres.tables import PostgresTables

        shared = PostgresTables(place, clock, beside=beside)
        await shared.open()
        try:
            yield shared
        finally:
            await shared.close()
        return
    if not made and not (place / "journal.db").exists():
        raise BothostError(f"{place} holds no journal: it has no file journal.db")
    if not made and (why := why_no_journal(place / "journal.db")):
        raise BothostError(f"{label or place} holds no journal: {why}")
    embedded = SqliteTables(place, clock, beside=beside, label=label)
    embedded.open()
    try:
        yield embedded
    finally:
        embedded.close()
        give_to_owner(place)


def _tell(done: int) -> None:
    if done % TOLD_EVERY < 500 and done >= TOLD_EVERY:
        warn(f"{done} entries …")


def _say(result: CopyResult, what: str, *, as_json: bool) -> int:
    if as_json:
        show_json({"entries": result.entries, "digest": result.digest})
    else:
        say(f"{what}: {result.entries} entries, digest {result.digest[:12]} in both")
    return OK
