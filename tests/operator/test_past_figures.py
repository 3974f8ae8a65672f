"""Figures from before a start are joined with those of the processes that live: a sibling may have counted the same event."""

from __future__ import annotations

from bothost.operator.past_figures import with_past
from bothost.telemetry.metrics import BotFigures, MinuteFigures


def figures(*minutes: tuple[int, int], last: float = 0.0, recent: tuple[float, ...] = ()) -> BotFigures:
    return BotFigures(
        last_delivery=last, recent=list(recent), minutes=[MinuteFigures(minute, count) for minute, count in minutes]
    )


def counted(joined: BotFigures) -> list[tuple[int, int]]:
    return [(one.minute, one.deliveries) for one in joined.minutes]


def test_what_a_sibling_counted_before_the_start_is_not_counted_twice() -> None:
    past = figures((8, 5), (9, 4), (10, 2), last=590.0, recent=(0.5,))
    here = figures((9, 3), (10, 1), (11, 7), last=700.0, recent=(0.1,))
    joined = with_past(here, past, started=10 * 60.0 + 30)
    assert counted(joined) == [(8, 5), (9, 4), (10, 3), (11, 7)]
    assert (joined.last_delivery, joined.recent) == (700.0, [0.1])
    assert counted(here) == [(9, 3), (10, 1), (11, 7)], "the living figures go on as they are"
    assert counted(past) == [(8, 5), (9, 4), (10, 2)]


def test_a_bot_that_did_nothing_since_the_start_shows_its_past() -> None:
    joined = with_past(BotFigures(), figures((8, 5), last=500.0, recent=(0.5,)), started=600.0)
    assert (counted(joined), joined.last_delivery, joined.recent) == ([(8, 5)], 500.0, [0.5])


def test_minutes_older_than_an_hour_leave() -> None:
    joined = with_past(figures((70, 1)), figures(*((minute, 1) for minute in range(1, 61))), started=61 * 60.0)
    assert (len(joined.minutes), joined.minutes[0].minute, joined.minutes[-1].minute) == (60, 2, 70)
