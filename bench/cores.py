"""Which core runs what."""

from __future__ import annotations

import os


def pinned(core: int) -> list[str]:
    """Return the command prefix that keeps a process and its children on one core."""
    return ["taskset", "-c", str(core % (os.cpu_count() or 1))]
