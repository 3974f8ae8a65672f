"""Counts with all workers of a host together: replies for the loop breaker, and deaths of a bot's processes.

Each keeps all counts and tells its own; nothing of it is kept on disk, and a worker that starts again begins at none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bothost.runners.process.runner import ChildRunner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bothost.bots.registry import Service
    from bothost.host.workers.siblings import Siblings
    from bothost.pipeline.loop_breaker import LoopBreaker


class SharedReplyCounts(msgspec.Struct, array_like=True):
    """Non-empty replies in one task, of each whether it was to a bot."""

    bot: str
    task: int
    to_bots: list[bool]


_DECODER = msgspec.msgpack.Decoder(SharedReplyCounts)


def count_together(siblings: Siblings, loop_breaker: LoopBreaker, service: Service) -> None:
    """Tell the siblings what is counted here from now on, and count what they tell."""

    def replied(bot: str, task: int, to_bots: Sequence[bool]) -> None:
        siblings.tell("replies", msgspec.msgpack.encode(SharedReplyCounts(bot, task, list(to_bots))))

    def hear_replies(data: bytes) -> None:
        told = _DECODER.decode(data)
        loop_breaker.hear(told.bot, told.task, told.to_bots)

    def hear_death(data: bytes) -> None:
        bot = service.find(data.decode())
        if bot is not None and isinstance(bot.runner, ChildRunner):
            bot.runner.died_elsewhere()

    loop_breaker.reply_watchers.append(replied)
    siblings.hears.update(replies=hear_replies, death=hear_death)
