"""Which core runs what, and which processes belong to one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def pinned(core: int) -> list[str]:
    """Return the command prefix that keeps a process and its children on one core."""
    return ["taskset", "-c", str(core % (os.cpu_count() or 1))]


def family(pid: int) -> Iterator[Path]:
    """Yield the folders in /proc of a process and its living descendants; none for process 0."""
    if not pid:
        return
    folder = Path(f"/proc/{pid}")
    yield folder
    with contextlib.suppress(OSError):
        for thread in (folder / "task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from family(int(child))
