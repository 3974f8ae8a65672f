"""Compare at each beat the claims that this process believes to hold with those that the journal shows.

The two can differ: a lease was lost, or a claim was committed after its caller had given up waiting (the connection broke,
the disk hung). A claim or an outcome may be under way at the instant of a beat, so a difference counts only when two beats
in a row show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bothost.journal.entry import Entry


class NewClaim:
    """The claim of a new event while it is under way. The block gets a test for the row that was found instead."""

    __slots__ = ("_claiming", "_fence", "_first", "_held", "_key")

    def __init__(self, held: HeldClaims, claiming: set[str], entry: Entry) -> None:
        self._held = held
        self._claiming = claiming
        self._key = entry.id
        self._fence = entry.fence + 1
        self._first = entry.id not in claiming

    def __enter__(self) -> Callable[[Entry], bool]:
        self._claiming.add(self._key)
        return self._is_ours

    def __exit__(self, *error: object) -> None:
        if self._first:
            self._claiming.discard(self._key)

    def _is_ours(self, row: Entry) -> bool:
        """Return whether the row is an earlier claim of ours whose caller had given up waiting.

        It is not if another call here claims or holds the event.
        """
        return (
            self._first
            and row.state == "running"
            and row.fence == self._fence
            and not self._held.knows(row.id, row.fence)
        )


class HeldClaims:
    """The claims of this process. The loop's thread writes them, and the thread that beats compares them."""

    def __init__(self) -> None:
        self._fences: dict[str, int] = {}
        self._claiming: set[str] = set()
        self._missing: frozenset[tuple[str, int]] = frozenset()
        self._extra: frozenset[tuple[str, int]] = frozenset()
        self._snapshot: dict[str, int] = {}
        self.lost: frozenset[str] = frozenset()
        """The keys that were held here and belong to another owner now."""
        self.orphans: Mapping[str, int] = {}
        """Key → fence of claims that the journal shows as ours and that were never heard of here.

        The event table decides: it keeps a run on a claim in memory, and one whose claim is being asked for again."""

    def add(self, entry: Entry) -> Entry:
        """Hold an entry that was just claimed."""
        self._fences[entry.id] = entry.fence
        return entry

    def wrote(self, entry: Entry) -> None:
        """Drop an entry whose write has landed, unless it runs.

        A write that was refused or whose end is unknown changes nothing, because dropping its claim would make the next beat
        give a running event away. A write does not make a claim ours either.
        """
        if entry.state != "running":
            self._fences.pop(entry.id, None)

    def follow(self, entry: Entry) -> None:
        """Hold the entry while it runs, and drop it when it does not."""
        if entry.state == "running":
            self._fences[entry.id] = entry.fence
        else:
            self._fences.pop(entry.id, None)

    def knows(self, key: str, fence: int) -> bool:
        """Return whether the key is held with this fence."""
        return self._fences.get(key) == fence

    def claiming(self, entry: Entry) -> NewClaim:
        """Mark a new event as being claimed, in a `with` block."""
        return NewClaim(self, self._claiming, entry)

    def look(self) -> None:
        """Remember the held claims before the journal is asked for the running rows."""
        self._snapshot = dict(self._fences)

    def compare(self, running: Mapping[str, int]) -> None:
        """Compare the held claims with the rows that this owner runs by the journal (key → fence)."""
        missing = frozenset(item for item in self._snapshot.items() if running.get(item[0]) != item[1])
        extra = frozenset(item for item in running.items() if not self.knows(*item))
        self.lost = frozenset(key for key, _ in missing & self._missing)
        self.orphans = dict(extra & self._extra)
        for key, fence in missing & self._missing:
            # reported at one beat only: after it the row belongs to another owner, and there is nothing left to compare
            if self._fences.get(key) == fence:
                del self._fences[key]
        self._missing, self._extra = missing, extra
