"""The part of a journal that calls need, without any limit."""

from __future__ import annotations


class Unlimited:
    """A rate limit and a lease without end; `comments` are those that handlers wrote."""

    def __init__(self) -> None:
        self.comments: list[tuple[str, int, int]] = []

    def alive(self) -> bool:
        return True

    def lost(self) -> set[str]:
        return set()

    async def gate(self, name: str, want: int, rate_per_s: float, cap: float) -> float:
        return 0.0

    async def gate_reset(self, name: str, tokens: float) -> None: ...

    async def wrote(self, bot: str, task: int, comment: int) -> None:
        self.comments.append((bot, task, comment))

    async def wait_hint(self, seconds: float) -> None: ...
