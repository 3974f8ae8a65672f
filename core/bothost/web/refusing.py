"""What the log says of requests that end at the web, to the person who can do something about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bothost.refusals import Refusal, Refusals

if TYPE_CHECKING:
    from bothost.answers import Count
    from bothost.bots import Bot

_TEXTS = {
    "not-found": "no bot has this path",
    "method": "only POST is taken here",
    "bad-request": "a request without exactly one Host",
    "unreadable": "this is not HTTP, or its end can be read in two ways",
    "refused-signature": "the signature is missing or wrong: bots.ini and Pyrus hold different secrets, or this is not Pyrus",
    "slow": "the body did not arrive in `body_timeout`",
    "shed": "too many unverified bodies at once: the largest was given up",
}


class Refusing:
    """Counts each refusal and has it logged, once a minute for one bot, word and address."""

    def __init__(self, refusals: Refusals, count: Count) -> None:
        self._refusals = refusals
        self._count = count

    def refuse(self, bot: Bot | None, peer: str, word: str, status: int) -> None:
        """Tell of one request that was refused."""
        name = bot.name if bot is not None else ""
        self._count.delivery(name, word, status, 0.0)
        self._refusals.tell(
            Refusal(name, word, peer, status), _text(bot, word), logging.ERROR if status == 413 else logging.WARNING
        )


def _text(bot: Bot | None, word: str) -> str:
    if bot is None:
        return _TEXTS.get(word, word)
    if word == "too-large":
        return (
            f"[bot:{bot.name}] a delivery is larger than max_body ({bot.config.max_body_bytes} bytes): raise max_body, or "
            'switch on "only the last comment" for this bot in Pyrus'
        )
    if word == "unavailable":
        return f"[bot:{bot.name}] {bot.state.reason or 'its section of bots.ini is wrong'}"
    return f"[bot:{bot.name}] {_TEXTS.get(word, word)}"
