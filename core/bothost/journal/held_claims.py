"""What this process believes to hold, compared at each beat with what the journal says it runs.

The two can differ: a lease was lost, or a claim was committed while its caller had given up waiting (the connection broke,
the disk hung). Since a claim or an outcome may be under way at the instant of a beat, a difference counts only when two
beats in a row show it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bothost.journal.entry import Entry


class HeldClaims:
    """Written on the loop's thread, compared in the one that beats."""

    def __init__(self) -> None:
        self._fences: dict[str, int] = {}
        self._claiming: set[str] = set()
        self._missing: frozenset[tuple[str, int]] = frozenset()
        self._extra: frozenset[tuple[str, int]] = frozenset()
        self._snapshot: dict[str, int] = {}
        self.lost: frozenset[str] = frozenset()
        """Keys that were held and are another's now."""
        self.orphans: Mapping[str, int] = {}
        """Key → fence of what the journal says is ours and nobody here knows of."""

    def add(self, entry: Entry) -> Entry:
        """Claimed."""
        self._fences[entry.id] = entry.fence
        return entry

    def drop(self, key: str) -> None:
        """Given up, ended, or refused."""
        self._fences.pop(key, None)

    def follow(self, entry: Entry) -> None:
        """The owner writes the entry as it stands: held while it runs."""
        if entry.state == "running":
            self._fences[entry.id] = entry.fence
        else:
            self._fences.pop(entry.id, None)

    def knows(self, key: str, fence: int) -> bool:
        """Whether it is held with this fence."""
        return self._fences.get(key) == fence

    @contextmanager
    def claiming(self, entry: Entry) -> Iterator[Callable[[Entry], bool]]:
        """While a new event is being claimed. Gives a test whether the row that was found is an earlier claim of ours whose
        caller had given up waiting; it is not where another call here is at it or holds it."""
        first = entry.id not in self._claiming
        if first:
            self._claiming.add(entry.id)
        owner_fence = entry.fence + 1

        def is_ours(row: Entry) -> bool:
            return first and row.state == "running" and row.fence == owner_fence and not self.knows(row.id, row.fence)

        try:
            yield is_ours
        finally:
            if first:
                self._claiming.discard(entry.id)

    def look(self) -> None:
        """Take note of what is held, before the journal is asked what runs."""
        self._snapshot = dict(self._fences)

    def compare(self, running: Mapping[str, int]) -> None:
        """Compare with what the journal says this owner runs (key → fence)."""
        missing = frozenset(item for item in self._snapshot.items() if running.get(item[0]) != item[1])
        extra = frozenset(item for item in running.items() if not self.knows(*item))
        self.lost = frozenset(key for key, _ in missing & self._missing)
        self.orphans = dict(extra & self._extra)
        self._missing, self._extra = missing, extra
