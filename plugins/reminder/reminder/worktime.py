"""Count the working time between two moments, in which a person could have reacted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LONGEST_DAYS = 366


@dataclass(frozen=True)
class Days:
    """Days of the week, such as `Mon-Fri` or `Mon, Wed, Sat`."""

    days: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Days:
        """Return the days of a text. Raises ValueError."""
        found: set[int] = set()
        for part in re.split(r"[,\s]+", text.strip()):
            first, _, last = part.partition("-")
            start, end = _day(first), _day(last or first)
            while True:
                found.add(start)
                if start == end:
                    break
                start = (start + 1) % 7
        return cls(frozenset(found))

    def __contains__(self, moment: datetime) -> bool:
        return moment.weekday() in self.days


@dataclass(frozen=True)
class Hours:
    """Hours of the day, such as `09:00-18:00`."""

    begin: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Return the hours of a text. Raises ValueError."""
        match = re.fullmatch(r"\s*(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})\s*", text)
        if match is None:
            raise ValueError("is not a span of hours; write 09:00-18:00")
        begin, end = (time.fromisoformat(part.zfill(5)) for part in match.groups())
        if begin >= end:
            raise ValueError("must begin before it ends; write 09:00-18:00")
        return cls(begin, end)


def _day(name: str) -> int:
    short = name.strip().capitalize()[:3]
    if short not in DAYS:
        raise ValueError(
            f"{name!r} is not a day of the week; write some of {', '.join(DAYS)}, or a span such as Mon-Fri"
        )
    return DAYS.index(short)


def worked(since: datetime, until: datetime, days: Days, hours: Hours, zone: ZoneInfo) -> timedelta:
    """Count the working time from `since` to `until` (both aware), for at most a year back; there is none before `since`."""
    start = max(min(since, until), until - timedelta(days=LONGEST_DAYS)).astimezone(zone)
    stop = until.astimezone(zone)
    total = timedelta()
    day = start.date()
    while day <= stop.date():
        begin = datetime.combine(day, hours.begin, zone)
        end = datetime.combine(day, hours.end, zone)
        if begin in days:
            # as instants: a change to summer time inside must not count an hour that was not there
            span = min(end, stop).timestamp() - max(begin, start).timestamp()
            total += timedelta(seconds=max(span, 0.0))
        day += timedelta(days=1)
    return total
