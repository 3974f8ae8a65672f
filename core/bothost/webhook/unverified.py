"""Bound the bytes of all bodies that have come and are not verified yet."""

from __future__ import annotations

from typing import Protocol

MOST_BYTES = 256 << 20


class HeldBody(Protocol):
    """A request that holds a part of its body."""

    held: int

    def shed(self) -> None:
        """Give up this body, because unverified bodies hold too much in all."""


class UnverifiedBodies:
    """Counts the bytes of unfinished bodies; used on the loop only."""

    __slots__ = ("held", "holders", "most")

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self.held = 0
        self.holders: set[HeldBody] = set()

    def add(self, holder: HeldBody, size: int) -> None:
        """Count bytes of a body. While all bodies hold too much, refuse the one that holds most."""
        self.holders.add(holder)
        holder.held += size
        self.held += size
        while self.held > self.most and self.holders:
            max(self.holders, key=lambda each: each.held).shed()

    def release(self, holder: HeldBody) -> None:
        """Stop counting a body, because it is verified or given up."""
        if holder.held:
            self.holders.discard(holder)
            self.held -= holder.held
            holder.held = 0
