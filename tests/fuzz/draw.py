"""Values drawn from a fuzzer's bytes: the same bytes give the same values, and a changed byte changes little of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "я",
    "🙂",
    "0",
    "1/3",
    "true",
    "2026-01-05T09:00:00Z",
    "24:00",
    "waiting",
    "a" * 300,
)
ODD_NUMBERS = (0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 10**40)


class Draw:
    """Reads through the bytes once; past their end everything is zero, empty or the first choice."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def below(self, limit: int) -> int:
        """A whole number in range(limit), which is at most 256."""
        if self.place >= len(self.data):
            return 0
        self.place += 1
        return self.data[self.place - 1] % limit

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.below(min(len(choices), 256))]

    def sometimes(self, one_in: int) -> bool:
        """True once in so many times; never at the end of the bytes."""
        return self.below(one_in) == one_in - 1

    def chunk(self, longest: int = 255) -> bytes:
        """Some bytes, their number first."""
        size = self.below(min(longest, 255) + 1)
        piece = self.data[self.place : self.place + size]
        self.place += size
        return piece

    def rest(self) -> bytes:
        """All that is left."""
        piece = self.data[self.place :]
        self.place = len(self.data)
        return piece

    def text(self) -> str:
        """A known odd text (a lone surrogate among them), or what the next bytes decode to."""
        return self.pick(ODD_TEXTS) if self.sometimes(3) else self.chunk(40).decode("utf-8", "replace")

    def number(self) -> int | float:
        """A known odd number, a small one, or any float."""
        kind = self.below(4)
        if kind == 0:
            return self.below(256)
        if kind == 1:
            return self.pick(ODD_NUMBERS)
        if kind == 2:
            return int.from_bytes(self.chunk(9), "big", signed=True)
        return float(struct.unpack("<d", self.chunk(8).ljust(8, b"\0")[:8])[0])

    def json(self, keys: Sequence[str], depth: int = 4) -> Any:
        """Any JSON value, its objects mostly with the keys given."""
        kind = self.below(8 if depth else 5)
        if kind < 5:
            scalars = (lambda: None, self.text, self.number, lambda: self.sometimes(2), lambda: self.pick(ODD_TEXTS))
            return scalars[kind]()
        if kind == 5:
            return [self.json(keys, depth - 1) for _ in range(self.below(5))]
        return {self.key(keys): self.json(keys, depth - 1) for _ in range(self.below(8))}

    def key(self, keys: Sequence[str]) -> str:
        """One of the keys, or now and then any text."""
        return self.text() if self.sometimes(8) else self.pick(keys)
