"""Tell what bots did before a host started, as the journal's rows show it: the newest of each bot, and counts by minute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

NEWEST = 50
"""The number of a bot's newest rows that are read."""


class PastMinute(msgspec.Struct, frozen=True, array_like=True):
    """The events of one bot that came within one minute, and what became of them. Field by field as `columns` selects them."""

    bot: str
    minute: int
    """Minutes since 1970 of the wall clock."""
    deliveries: int
    """Events that a webhook brought. Repeats are not counted, and neither is what was refused or passed over."""
    runs: int
    failures: int
    seconds: float
    slowest: float


class NewestOfBot(msgspec.Struct, frozen=True, array_like=True):
    """The newest rows of one bot."""

    bot: str
    last_delivery: float | None
    """When its last delivery came, in the journal's time; None if none is known."""
    runs_s: tuple[float, ...]
    """How long its newest runs took, in seconds."""


class Past(msgspec.Struct, frozen=True):
    """The deeds of all bots that a journal knows."""

    newest: tuple[NewestOfBot, ...]
    minutes: tuple[PastMinute, ...]


def columns(minute: str) -> str:
    """Return the SQL columns of a `PastMinute`; `minute` is the expression that gives the number of the minute."""
    return f"""bot, {minute}, sum(case when seen_at > 0 then 1 else 0 end), sum(runs),
    sum(case when state = 'failed' and (failed or door = 'response') then runs when rerun = 'error' then runs - 1 else 0 end),
    sum(ms) / 1000, max(ms) / 1000"""


def past_of(newest: Iterable[tuple[str, float | None, str | None]], minutes: Iterable[Any]) -> Past:
    """Return the past from rows: bot, last delivery, milliseconds of runs with blanks between them; and by minute."""
    return Past(
        tuple(NewestOfBot(bot, last, _seconds(runs)) for bot, last, runs in newest),
        tuple(PastMinute(*row) for row in minutes),
    )


def _seconds(runs: str | None) -> tuple[float, ...]:
    return tuple(float(ms) / 1000 for ms in (runs or "").split())
