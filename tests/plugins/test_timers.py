"""Timers of a loaded plugin: settings read, cron expressions, zones and periods checked."""

from __future__ import annotations

import types
from datetime import time, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bothost import Plugin, Settings, Tick, cron, every
from bothost.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.plugins.loading import LoadedPlugin


class When(Settings):
    at: str = "5 8 * * *"
    clock: time = time(9, 30)
    zone: str = "Europe/Moscow"
    period: timedelta = timedelta(minutes=5)


class Reminder(Plugin[When]):
    @cron("settings.at", tz="settings.zone")
    async def remind(self) -> None: ...

    @cron("settings.clock")
    def daily(self, tick: Tick) -> None: ...

    @every("settings.period")
    @every("1h 30m")
    def sweep(self) -> None: ...


def test_timers_are_read_with_their_settings(plug: Callable[..., LoadedPlugin]) -> None:
    specs = plug(Reminder, zone="Asia/Tokyo").timers
    told = [
        (spec.name, spec.kind, spec.when, spec.tz, spec.period_s, spec.takes_tick, spec.handler.is_async)
        for spec in specs
    ]
    assert told == [
        ("remind", "cron", "5 8 * * *", "Asia/Tokyo", 0.0, False, True),
        ("daily", "cron", "30 9 * * *", "UTC", 0.0, True, False),
        ("sweep", "every", "5m", "UTC", 300.0, False, False),
        ("sweep~2", "every", "90m", "UTC", 5400.0, False, False),
    ]
    assert plug(Reminder).timer("daily") is not None
    assert plug(Reminder).timer("nightly") is None


@pytest.mark.parametrize(
    ("decorator", "part"),
    [
        (cron("5 8 * *"), "Timed.tick: @cron: '5 8 * *' is not a cron expression"),
        (cron("61 8 * * *"), "'61 8 * * *' is not a cron expression"),
        (cron("0 0 31 2 *"), "'0 0 31 2 *'"),
        (cron("5 8 * * *", tz="Europe/Moskow"), "@cron(tz=): 'Europe/Moskow' is not a time zone (did you mean 'Europe/Moscow'?)"),
        (cron("5 8 * * *", tz="../etc"), "'../etc' is not a time zone"),
        (cron("5 8 * * *", tz=""), "'' is not a time zone"),
        (every("15"), "@every: '15' is not a duration: it needs a unit, as in 15s"),
        (every("0s"), "0 s is too short"),
        (every("200ms"), "0.2 s is too short"),
        (every("settings.perod"), "there is no setting 'perod' (did you mean 'period'?)"),
        (every("settings.clock"), "is not a duration: write one such as 15m"),
        (cron("settings.period"), "is not a cron expression"),
    ],
)  # fmt: skip
def test_a_timer_that_cannot_tick_is_an_error(plug: Callable[..., LoadedPlugin], decorator: Any, part: str) -> None:
    def tick(self: Any) -> None: ...

    with pytest.raises(PluginError) as error:
        plug(types.new_class("Timed", (Plugin[When],), exec_body=lambda body: body.update(tick=decorator(tick))))
    assert part in str(error.value)


def test_a_timer_takes_nothing_or_the_tick(plug: Callable[..., LoadedPlugin]) -> None:
    class Wrong(Plugin[When]):
        @every("1m")  # type: ignore[type-var]
        def sweep(self, one: int, two: int) -> None: ...

    with pytest.raises(
        PluginError, match=r"Wrong.sweep cannot be called: write def sweep\(self\), or def sweep\(self, tick\)"
    ):
        plug(Wrong)
