"""Count together with all workers of a host: replies for the loop breaker, and deaths of a bot's processes.

Each worker keeps all counts and tells its own. They are not kept on disk, so a worker that restarts begins with none.
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
    """The non-empty replies in one task; each is True if it was to a bot."""

    bot: str
    task: int
    to_bots: list[bool]


_DECODER = msgspec.msgpack.Decoder(SharedReplyCounts)


def count_together(siblings: Siblings, loop_breaker: LoopBreaker, service: Service) -> None:
    """Tell the siblings the counts of this process from now on, and count theirs."""

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
