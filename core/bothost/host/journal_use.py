"""Remember which journal was used last, and refuse to start on an empty one while that one still holds open events.

The name of the journal, without a password, is kept in the state folder, and beside bots.ini if the host may write there. So
a change of `journal =` and one of `state =` are both noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bothost.clock import SystemClock
from bothost.errors import ConfigError, JournalError, Problem
from bothost.journal import open_journal
from bothost.journal.copying import COPYING
from bothost.journal.entry import EntryFilter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.config import HostConfig
    from bothost.journal import Journal

NAME = "journal-in-use"
EMBEDDED = "folder "


def check_journal(host: HostConfig) -> None:
    """Raise ConfigError if a change of `journal` or `state` would leave acknowledged events behind; else remember."""
    now = name_of(host)
    last = next((found for found in map(_read, _places(host)) if found and found != now), "")
    if last:
        asyncio.run(_compare(host, last))
    for place in _places(host):
        with contextlib.suppress(OSError):  # beside bots.ini the host may often not write
            _remember(place, now)


def name_of(host: HostConfig) -> str:
    """Return the name of a configuration's journal, without user and password."""
    if not host.journal:
        return EMBEDDED + name_of_folder(host.state)
    from bothost.journal.postgres.tables import label_of

    return label_of(host.journal)


def name_of_folder(folder: Path) -> str:
    """Return the name of a state folder, which is the same whatever links lead to it."""
    return os.path.realpath(folder)


async def _compare(host: HostConfig, last: str) -> None:
    new = await _look(host.journal, host.state, _state_of_new)
    if new == "copying":
        raise _refused(host, "is a copy that was cut off: run bothost journal copy again, which goes on where it stood")
    if new == "used":
        return
    folder = Path(last.removeprefix(EMBEDDED))
    if last.startswith(EMBEDDED) and not (folder / "journal.db").exists():
        return
    held = await _look("" if last.startswith(EMBEDDED) else last, folder, _open_events)
    if held == "0":
        return
    what = (
        f"still holds {held} open events" if held else "may still hold open events, because it cannot be read from here"
    )
    source = last.removeprefix(EMBEDDED)
    target = "env:NAME of the new address" if host.journal else name_of_folder(host.state)
    raise _refused(
        host,
        f"is empty, and the last one used here, {source}, {what}: put the old setting back, or run "
        f"bothost journal copy {source} {target}, or begin anew without them by removing "
        + " and ".join(str(place) for place in _places(host) if place.exists()),
    )


async def _look(journal: str, folder: Path, ask: Callable[[Journal], Awaitable[str]]) -> str:
    """Ask a journal as a visitor; "" if it cannot be asked."""
    store = open_journal(journal, folder, SystemClock(), claims_first=True, readonly=True)
    try:
        await store.open()
        try:
            return await ask(store)
        finally:
            await store.close()
    except JournalError:
        return ""


async def _state_of_new(store: Journal) -> str:
    facts, events = await store.controls(), await store.list(EntryFilter(limit=1))
    return "copying" if COPYING in facts else "used" if events else ""


async def _open_events(store: Journal) -> str:
    counts = await store.counts()
    return str(sum(count for (_, state), count in counts.items() if state in ("ready", "running")))


def _places(host: HostConfig) -> tuple[Path, Path]:
    return host.state / NAME, host.path.with_name(f".{host.path.name}.{NAME}")


def _read(place: Path) -> str:
    try:
        return place.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _remember(place: Path, name: str) -> None:
    if _read(place) != name:
        fresh = place.with_name(f"{place.name}-{os.getpid()}")
        fresh.write_text(f"{name}\n", "utf-8")
        fresh.replace(place)


def _refused(host: HostConfig, text: str) -> ConfigError:
    return ConfigError((Problem(f"the journal {text}", str(host.path), section="host", key="journal"),))
