"""One log line per bot, outcome and address a minute for what is refused, then a count: strangers cannot flood the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bothost.clock import Clock

_LOG = logging.getLogger("bothost.refused")
_QUIET_S = 60.0
_MOST_ADDRESSES = 1_000
ELSEWHERE = "other addresses"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused to whom: `word` as in metrics, `bot` empty where the path is nobody's."""

    bot: str
    word: str
    peer: str
    status: int


class Refusals:
    """Writes the first refusal of each kind at once and counts the rest; used on the loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str, str], tuple[float, int, Refusal]] = {}

    def tell(self, refusal: Refusal, text: str, level: int = logging.WARNING) -> None:
        """Log it, or count it where such a line was written within the last minute."""
        key = self._key(refusal)
        now = self._clock.monotonic()
        due, count, _ = self._seen.get(key, (0.0, 0, refusal))
        if now < due:
            self._seen[key] = (due, count + 1, refusal)
            return
        if count:
            self._count(refusal, key[2], count)
        self._seen[key] = (now + _QUIET_S, 0, refusal)
        _LOG.log(level, "%s", text, extra=_fields(refusal, refusal.peer))

    def sweep(self, *, everything: bool = False) -> None:
        """Write the counts of minutes that are over (at a stop: of all); call it every few seconds."""
        now = self._clock.monotonic()
        over = [key for key, (due, _, _) in self._seen.items() if everything or due <= now]
        for key in over:
            _, count, refusal = self._seen.pop(key)
            if count:
                self._count(refusal, key[2], count)

    def _key(self, refusal: Refusal) -> tuple[str, str, str]:
        key = (refusal.bot, refusal.word, refusal.peer)
        if key in self._seen or len(self._seen) < _MOST_ADDRESSES:
            return key
        return (refusal.bot, refusal.word, ELSEWHERE)

    def _count(self, refusal: Refusal, peer: str, count: int) -> None:
        times = "once more" if count == 1 else f"{count} times more"
        _LOG.warning("refused %s within a minute", times, extra={**_fields(refusal, peer), "count": count})


def _fields(refusal: Refusal, peer: str) -> dict[str, object]:
    return {"bot": refusal.bot, "outcome": refusal.word, "status": refusal.status, "peer": peer}
