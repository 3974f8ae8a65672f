"""When timers tick, in the hours that a change of the clock takes away or repeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bothost.plugins.timers import TimerSpec

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC")
TIMES = ("30 2 * * *", "5 1 * * *", "45 1 * * 0", "*/15 * * * *", "0 * * * *", "5 2,3 * * *", "59 1-2 * * *")
CHANGES = (
    datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
)  # fmt: skip


def spec(when: str, tz: str) -> TimerSpec:
    handler: Any = None
    return TimerSpec("tick", "cron", when, handler, tz)


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("when", TIMES)
def test_the_next_tick_is_always_to_come(when: str, tz: str) -> None:
    for change in CHANGES:
        for minutes in range(-100, 100, 7):
            now = change + timedelta(minutes=minutes, seconds=13)
            tick = spec(when, tz).next_tick(now)
            assert tick > now
            assert spec(when, tz).next_tick(tick) > tick
            missed = spec(when, tz).missed_tick(now)
            assert missed is None or missed <= now < missed + timedelta(hours=1)


def test_a_time_of_day_in_the_repeated_hour_ticks_once() -> None:
    daily, now, ticks = spec("30 2 * * *", "Europe/Berlin"), datetime(2026, 10, 24, 12, tzinfo=UTC), []
    for _ in range(3):
        now = daily.next_tick(now)
        ticks.append(now)
    assert [tick.isoformat() for tick in ticks] == [
        "2026-10-25T00:30:00+00:00", "2026-10-26T01:30:00+00:00", "2026-10-27T01:30:00+00:00",
    ]  # fmt: skip
    in_the_second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert daily.next_tick(in_the_second) == ticks[1]
