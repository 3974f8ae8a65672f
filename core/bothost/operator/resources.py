"""Measure what a process uses, and how old the oldest waiting work is."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.journal.entry import EntryFilter, Phase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bothost.journal.entry import Entry

_MOST = 1_000
_AGES_S = (600.0, 3600.0, 86400.0, 7 * 86400.0)
"""If more than a thousand wait, only those older than each of these ages are asked for, one after the other."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def used() -> dict[str, Any]:
    """Return processor time, memory and open files of this process, by the names of `MetricsSnapshot`. Linux only."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            memory = int(file.read().split()[1]) * _PAGE_BYTES
        files = len(os.listdir("/proc/self/fd"))
    except OSError:
        return {"cpu_s": time.process_time()}
    return {"cpu_s": time.process_time(), "memory_bytes": memory, "open_files": files}


async def oldest_of(read: Callable[[EntryFilter], Awaitable[Sequence[Entry]]], phase: Phase, now: float) -> float:
    """Return the age of the oldest entry of a phase in seconds, 0 without one. With many it may be up to a step too young."""
    oldest = 0.0
    want = EntryFilter(phase=phase, limit=_MOST)
    for age_s in (0.0, *_AGES_S):
        found = await read(msgspec.structs.replace(want, until=now - age_s) if age_s else want)
        oldest = max([oldest, *(now - entry.created for entry in found)])
        if len(found) < _MOST:
            break
    return oldest
