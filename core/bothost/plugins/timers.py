"""Read the timers of a loaded plugin, `@every` and `@cron`, with the settings that they name, and compute when they tick.

Each timer is checked here by computing one tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from bothost.config.units import seconds, time_zone
from bothost.errors import PluginError
from bothost.plugins.handlers import Handler, check_call, handler, setting, standing_at, takes
from bothost.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bothost.plugins.api import Plugin, TimerMark

SHORTEST_S = 1.0
"""The shortest interval, because a tick's key is its second."""
MAKE_UP_S = 3600.0
"""A tick missed while no host was up is made up for only if it is younger than this, and than one interval."""
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimerSpec:
    """One timer. `name` is the method's; a second decorator on one method makes `name~2`. `when` is as people read it."""

    name: str
    kind: Literal["cron", "every"]
    when: str
    handler: Handler
    tz: str = "UTC"
    period_s: float = 0.0
    takes_tick: bool = False

    def next_tick(self, after: datetime) -> datetime:
        """Return the first tick after a moment (aware): a multiple of the interval since 1970 UTC, or what cronsim computes.

        In the hour that a clock change repeats cronsim gives a fixed time of day as its first occurrence, which may be over.
        """
        if self.kind == "every":
            return datetime.fromtimestamp((after.timestamp() // self.period_s + 1) * self.period_s, UTC)
        ticks = (tick.astimezone(UTC) for tick in CronSim(self.when, after.astimezone(ZoneInfo(self.tz))))
        return next(tick for tick in ticks if tick > after)

    def missed_tick(self, now: datetime) -> datetime | None:
        """Return the newest tick not after `now` that is young enough to be made up for, or None."""
        if self.kind == "every":
            tick = datetime.fromtimestamp(now.timestamp() // self.period_s * self.period_s, UTC)
            return tick if (now - tick).total_seconds() < min(self.period_s, MAKE_UP_S) else None
        tick = self.next_tick(now - timedelta(seconds=MAKE_UP_S))
        last: datetime | None = None
        while tick <= now:
            last, tick = tick, self.next_tick(tick)
        return last


def timers(
    plugin: Plugin[Any], marks: Mapping[str, tuple[TimerMark, ...]], settings: object, where: str
) -> Iterator[TimerSpec]:
    """Yield the timers of an instance, in order of definition. Raises PluginError."""
    for method, those in marks.items():
        call = getattr(plugin, method)
        with standing_at(call):
            yield from _timers_of(call, method, those, settings, f"{where}.{method}")


def _timers_of(
    call: Callable[..., Any], method: str, marks: tuple[TimerMark, ...], settings: object, place: str
) -> Iterator[TimerSpec]:
    takes_tick = takes(call, 1)
    if not takes_tick:
        check_call(call, 0, place, f"def {method}(self), or def {method}(self, tick)")
    for number, mark in enumerate(marks, 1):
        name = method if number == 1 else f"{method}~{number}"
        kept = handler(name, call)
        if mark.kind == "every":
            period = setting(mark.when, settings, f"{place}: @every")
            period_s = _period(period, f"{place}: @every")
            yield TimerSpec(name, "every", _duration(period_s), kept, period_s=period_s, takes_tick=takes_tick)
        else:
            when = _cron_text(setting(mark.when, settings, f"{place}: @cron"))
            tz = setting(mark.tz, settings, f"{place}: @cron(tz=)")
            _check_cron(when, _zone(tz, f"{place}: @cron(tz=)"), f"{place}: @cron")
            yield TimerSpec(name, "cron", when, kept, tz=tz, takes_tick=takes_tick)


def tick_id(bot: str, timer: str, due: datetime) -> str:
    """Return the id of the entry of one tick."""
    return f"timer:{bot}:{timer}:{int(due.timestamp())}"


def timer_of(id: str) -> tuple[str, str, datetime]:
    """Return the bot, the timer and the time of the tick with this id."""
    _, bot, timer, epoch = id.partition("~")[0].split(":")
    return bot, timer, datetime.fromtimestamp(int(epoch), UTC)


def _period(given: Any, where: str) -> float:
    if not isinstance(given, str | timedelta):
        raise PluginError(f"{where}: {given!r} is not a duration: write one such as 15m")
    try:
        period_s = given.total_seconds() if isinstance(given, timedelta) else seconds(given)
    except ValueError as error:
        raise PluginError(f"{where}: {error}") from None
    if period_s < SHORTEST_S:
        raise PluginError(f"{where}: {period_s:g} s is too short: a timer ticks at most once a second")
    return float(period_s)


def _duration(period_s: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if period_s % size == 0:
            return f"{period_s / size:g}{unit}"
    return f"{period_s:g}s"


def _cron_text(given: Any) -> Any:
    """Return the cron text of a setting. A time of day means every day at that time."""
    return f"{given.minute} {given.hour} * * *" if isinstance(given, time) else given


def _zone(tz: Any, where: str) -> ZoneInfo:
    try:
        return time_zone(tz)
    except ValueError as error:
        raise PluginError(f"{where}: {error}") from None


def _check_cron(when: Any, zone: ZoneInfo, where: str) -> None:
    if not isinstance(when, str):
        raise PluginError(f"{where}: {when!r} is not a cron expression: write one such as 5 8 * * *")
    try:
        next(CronSim(when, _SOME_DAY.astimezone(zone)))
    except CronSimError as error:
        raise PluginError(
            f"{where}: {shown(when)} is not a cron expression ({error}): write one such as 5 8 * * *"
        ) from None
    except StopIteration:
        raise PluginError(f"{where}: {shown(when)} never comes") from None
