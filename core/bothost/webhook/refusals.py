"""Log refused requests for the person who can do something about them.

Each bot, outcome and address gets one line a minute, then a count. Each kind of Tornado's own lines passes once a minute. So
strangers cannot flood the log.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost.background import Throttle

if TYPE_CHECKING:
    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.pipeline.responses import PipelineMetrics

_LOG = logging.getLogger("bothost.refused")
_MOST_ADDRESSES = 1_000
ELSEWHERE = "other addresses"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request. `word` is the one of the metrics; `bot` is empty if no bot has the path."""

    bot: str
    word: str
    peer: str
    status: int


class Refusals:
    """Writes the first refusal of each kind at once and counts the rest; used on the loop only."""

    def __init__(self, clock: Clock) -> None:
        self._seen: Throttle[tuple[str, str, str]] = Throttle(clock, QUIET_S)
        self._status: dict[tuple[str, str, str], int] = {}

    def tell(self, refusal: Refusal, text: str, level: int = logging.WARNING) -> None:
        """Log a refusal, or count it if such a line was written within the last minute."""
        key = self._key(refusal)
        count = self._seen.passes(key)
        if count is None:
            return
        if count:
            self._count(key, count)
        self._status[key] = refusal.status
        _LOG.log(level, "%s", text, extra=_fields(refusal, refusal.peer))

    def sweep(self, *, everything: bool = False) -> None:
        """Write the counts whose minute is over, or at a stop all of them. The caller does so every few seconds."""
        for key, count in self._seen.over(everything=everything):
            if count:
                self._count(key, count)
            del self._status[key]

    def _key(self, refusal: Refusal) -> tuple[str, str, str]:
        key = (refusal.bot, refusal.word, refusal.peer)
        if key in self._seen or len(self._seen) < _MOST_ADDRESSES:
            return key
        return (refusal.bot, refusal.word, ELSEWHERE)

    def _count(self, key: tuple[str, str, str], count: int) -> None:
        bot, word, peer = key
        refusal = Refusal(bot, word, peer, self._status[key])
        times = "once more" if count == 1 else f"{count} times more"
        who = f"[bot:{bot}]" if bot else "a path of no bot"
        why = _REASONS.get(word, word)
        text = "%s: refused %s within a minute: %s, from %s"
        _LOG.warning(text, who, times, why, peer or "nowhere", extra={**_fields(refusal, peer), "count": count})


def _fields(refusal: Refusal, peer: str) -> dict[str, object]:
    return {"bot": refusal.bot, "outcome": refusal.word, "status": refusal.status, "peer": peer}


_TEXTS = {
    "not-found": "no bot has this path",
    "method": "only POST is taken here",
    "bad-request": "a request without exactly one Host",
    "unreadable": "this is not HTTP, or its end can be read in two ways",
    "refused-signature": "the signature is missing or wrong: bots.ini and Pyrus hold different secrets, or this is not Pyrus",
    "head-too-large": "the request line and headers are larger than 8 kB or more than 100 lines",
    "fault": "a fault of bothost, which the log names",
    "slow": "the body did not arrive in `body_timeout`",
    "shed": "too many unverified bodies at once: the largest was given up",
}


_REASONS = {
    "not-found": "no bot has this path",
    "refused-signature": "wrong signature",
    "too-large": "larger than max_body",
    "unavailable": "the bot does not serve",
}
"""The reasons in a few words; the counts use them."""


class RefusalCounter:
    """Counts each refusal, and has it logged once a minute for each bot, word and address."""

    def __init__(self, refusals: Refusals, count: PipelineMetrics) -> None:
        self._refusals = refusals
        self._count = count

    def refuse(self, bot: Bot | None, peer: str, word: str, status: int) -> None:
        """Count one refused request, and pass it to the log."""
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


QUIET_S = 60.0
MOST_KINDS = 100


class OncePerMinuteFilter(logging.Filter):
    """Lets one line of a kind pass in a minute; the kind is the text before the arguments. Errors always pass."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._kinds: Throttle[str] = Throttle(clock, QUIET_S)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line passes. The next line of its kind says how many were held back."""
        if record.levelno >= logging.ERROR:
            return True
        kind = str(record.msg).partition(":")[0][:60]
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = ""
        held = self._kinds.passes(kind)
        if held is None:
            return False
        if held:
            record.msg = f"{record.msg} (and {held} times more in the minute before)"
        return True


def spare_the_log(clock: Clock) -> None:
    """Limit Tornado's own lines in this process, so that strangers cannot flood the log."""
    tornado = logging.getLogger("tornado.general")
    if not any(isinstance(each, OncePerMinuteFilter) for each in tornado.filters):
        tornado.addFilter(OncePerMinuteFilter(clock))
