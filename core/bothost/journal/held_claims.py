"""The claims that this process believes to hold, compared at each beat with those that the journal shows.

The two can differ: a lease was lost, or a claim was committed after its caller had given up waiting (the connection broke,
the disk hung). A claim or an outcome may be under way at the instant of a beat, so a difference counts only when two beats
in a row show it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bothost.journal.entry import Entry


class HeldClaims:
    """Written on the loop's thread, compared in the thread that beats."""

    def __init__(self) -> None:
        self._fences: dict[str, int] = {}
        self._claiming: set[str] = set()
        self._missing: frozenset[tuple[str, int]] = frozenset()
        self._extra: frozenset[tuple[str, int]] = frozenset()
        self._snapshot: dict[str, int] = {}
        self.lost: frozenset[str] = frozenset()
        """Keys that were held and are another's now."""
        self.orphans: Mapping[str, int] = {}
        """Key → fence of claims that the journal shows as ours and that were never heard of here. The event table has the
        last word: a run on a claim in memory, or one whose claim is being asked for again, is not forgotten."""

    def add(self, entry: Entry) -> Entry:
        """Hold an entry that was just claimed."""
        self._fences[entry.id] = entry.fence
        return entry

    def wrote(self, entry: Entry) -> None:
        """Drop an entry whose write has landed, unless it runs. A write that was refused or whose end is unknown changes
        nothing: dropping its claim made the next beat give a running event away. Nor does a write make a claim ours."""
        if entry.state != "running":
            self._fences.pop(entry.id, None)

    def follow(self, entry: Entry) -> None:
        """Hold the entry while it runs, and drop it when it does not."""
        if entry.state == "running":
            self._fences[entry.id] = entry.fence
        else:
            self._fences.pop(entry.id, None)

    def knows(self, key: str, fence: int) -> bool:
        """Tell whether the key is held with this fence."""
        return self._fences.get(key) == fence

    @contextmanager
    def claiming(self, entry: Entry) -> Iterator[Callable[[Entry], bool]]:
        """Mark a new event as being claimed. Gives a test for the row that was found: True where it is an earlier claim of
        ours whose caller had given up waiting, False where another call here is at it or holds it."""
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
        """Remember what is held, before the journal is asked what runs."""
        self._snapshot = dict(self._fences)

    def compare(self, running: Mapping[str, int]) -> None:
        """Compare with what the journal says this owner runs (key → fence)."""
        missing = frozenset(item for item in self._snapshot.items() if running.get(item[0]) != item[1])
        extra = frozenset(item for item in running.items() if not self.knows(*item))
        self.lost = frozenset(key for key, _ in missing & self._missing)
        self.orphans = dict(extra & self._extra)
        for key, fence in missing & self._missing:
            # told for one beat; after that the row is somebody else's and this process has nothing to compare
            if self._fences.get(key) == fence:
                del self._fences[key]
        self._missing, self._extra = missing, extra
