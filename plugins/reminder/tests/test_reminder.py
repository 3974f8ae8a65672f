"""Reminders in working time, on the harness's clock and its Pyrus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from bothost import BothostError
from bothost.testing import task, trouble
from reminder import Days, Hours, Reminder, Zone
from reminder.worktime import worked

if TYPE_CHECKING:
    from bothost.testing import Harness

WEEK, DAY = Days.parse("Mon-Fri"), Hours.parse("09:00-18:00")


def waiting(bothost: Harness, since: str, **keys: Any) -> int:
    """A task of form 321 at step 2 in which somebody did something last at `since`."""
    author = {"id": 50, "first_name": "Anna", "last_name": "Petrova", "type": "user"}
    row = {"person": author, "approval_choice": "waiting"}
    given = task(
        form_id=321,
        current_step=2,
        approvals=[[], [row]],
        create_date=since,
        last_modified_date=since,
        comments=[{"id": 7, "text": "please", "create_date": since, "author": author}],
        **keys,
    )
    return int(bothost.pyrus.add_task(given)["id"])


def made(bothost: Harness, **settings: Any) -> Any:
    return bothost.bot(Reminder, form=321, steps="2", **settings)


def round_of(bothost: Harness, bot: Any) -> None:
    """A round, and the jobs that it plans."""
    bot.tick("remind")
    bothost.clock.advance("5s")


def test_a_task_that_has_waited_long_enough_is_reminded_of_once_a_day(bothost: Harness) -> None:
    bot = made(bothost)
    bothost.clock.set("2026-01-07T09:29+00:00")
    late = waiting(bothost, "2026-01-05T09:00:00Z")
    fresh = waiting(bothost, "2026-01-06T12:00:00Z")
    bothost.clock.advance("2m")
    (wrote,) = bothost.pyrus.comments(late)
    assert wrote.text == "This task has waited here for 18 working hours: Anna Petrova."
    assert bothost.pyrus.comments(fresh) == []
    round_of(bothost, bot)
    assert len(bothost.pyrus.comments(late)) == 1
    bothost.clock.advance("24h")
    assert len(bothost.pyrus.comments(late)) == 2


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (1, "Задача ждёт здесь уже 18 ч рабочего времени: P0 X."),
        (0, "Задача ждёт здесь уже 18 ч рабочего времени: никто не указан."),
        (12, "P9 X и ещё 2."),
    ],
)
def test_a_reminder_is_in_the_language_that_the_settings_name(bothost: Harness, people: int, said: str) -> None:
    bot = made(bothost, language="ru")
    bothost.clock.set("2026-01-07T09:00+00:00")
    late = waiting(bothost, "2026-01-05T09:00:00Z")
    row = [{"person": {"id": 100 + n, "first_name": f"P{n}", "last_name": "X", "type": "user"}} for n in range(people)]
    bothost.pyrus.task(late)["approvals"] = [[], row]
    round_of(bothost, bot)
    (wrote,) = bothost.pyrus.comments(late)
    assert str(wrote.text).endswith(said)


def test_ones_own_text_wins_over_the_language(bothost: Harness) -> None:
    bot = made(bothost, language="ru", text="Ждём {waited}.")
    bothost.clock.set("2026-01-07T09:00+00:00")
    late = waiting(bothost, "2026-01-05T09:00:00Z")
    round_of(bothost, bot)
    assert [wrote.text for wrote in bothost.pyrus.comments(late)] == ["Ждём 18 ч рабочего времени."]


def test_nothing_is_said_on_a_free_day(bothost: Harness) -> None:
    made(bothost)
    bothost.clock.set("2026-01-10T09:29+00:00")
    late = waiting(bothost, "2026-01-05T09:00:00Z")
    bothost.clock.advance("2m")
    assert bothost.pyrus.comments(late) == []


def test_other_steps_and_closed_tasks_are_left_alone(bothost: Harness) -> None:
    bot = made(bothost)
    bothost.clock.set("2026-01-09T08:00+00:00")
    other = waiting(bothost, "2026-01-05T09:00:00Z")
    bothost.pyrus.task(other)["current_step"] = 1
    closed = waiting(bothost, "2026-01-05T09:00:00Z")
    bothost.pyrus.close_task(closed)
    round_of(bothost, bot)
    assert bothost.pyrus.comments() == []


def test_a_task_that_cannot_be_written_does_not_stop_the_round(bothost: Harness) -> None:
    bot = made(bothost)
    bothost.clock.set("2026-01-09T08:00+00:00")
    first = waiting(bothost, "2026-01-05T09:00:00Z")
    second = waiting(bothost, "2026-01-05T09:00:00Z")
    bothost.pyrus.fail("POST tasks/*/comments", trouble.answer(403, "access_denied_task"))
    round_of(bothost, bot)
    assert len(bothost.pyrus.comments(first)) + len(bothost.pyrus.comments(second)) == 1


def test_a_reminder_that_pyrus_could_not_take_is_written_once_when_it_can(bothost: Harness) -> None:
    bot = made(bothost)
    bothost.clock.set("2026-01-09T09:28+00:00")
    late = waiting(bothost, "2026-01-05T09:00:00Z")
    bothost.pyrus.fail("GET tasks/*", trouble.gateway(503), times=4)
    bothost.pyrus.fail("POST tasks/*/comments", trouble.lose_answer(), times=1)
    bothost.clock.advance("3m")
    bothost.restart()
    bothost.clock.advance("10m")
    assert len(bothost.pyrus.comments(late)) == 1
    assert bot.jobs() == ()


def test_a_task_that_moves_before_its_job_runs_is_left_alone(bothost: Harness) -> None:
    bot = made(bothost)
    bothost.clock.set("2026-01-09T08:00+00:00")
    late = waiting(bothost, "2026-01-05T09:00:00Z")
    bothost.pyrus.before("GET tasks/*", lambda: None)  # by the round
    bothost.pyrus.before("GET tasks/*", lambda: bothost.pyrus.close_task(late))  # by the job
    round_of(bothost, bot)
    assert bothost.pyrus.comments(late) == []
    assert bothost.pyrus.task(late)["close_date"]


def test_most_bounds_a_round(bothost: Harness) -> None:
    bot = made(bothost, most=2)
    bothost.clock.set("2026-01-09T08:00+00:00")
    for _ in range(4):
        waiting(bothost, "2026-01-05T09:00:00Z")
    round_of(bothost, bot)
    assert len(bothost.pyrus.comments()) == 2


def test_working_time_counts_days_and_hours_only() -> None:
    utc = ZoneInfo("UTC")
    friday, monday = datetime(2026, 1, 9, 17, tzinfo=UTC), datetime(2026, 1, 12, 10, tzinfo=UTC)
    assert worked(friday, monday, WEEK, DAY, utc) == timedelta(hours=2)
    assert worked(monday, friday, WEEK, DAY, utc) == timedelta()
    moscow = worked(friday, monday, WEEK, DAY, ZoneInfo("Europe/Moscow"))
    assert moscow == timedelta(hours=4)


@pytest.mark.parametrize("date", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_task_with_a_date_at_the_calendars_end_stops_no_round(bothost: Harness, date: str, zone: str) -> None:
    bot = made(bothost, zone=zone, hours="00:00-23:59", days="Mon-Sun")
    bothost.clock.set("2026-01-09T08:00+00:00")
    odd, late = waiting(bothost, "2026-01-05T09:00:00Z"), waiting(bothost, "2026-01-05T09:00:00Z")
    bothost.pyrus.task(odd)["comments"][0]["create_date"] = date
    bothost.pyrus.task(odd)["comments"].append({"id": 8, "text": "mine", "create_date": date, "author": {"id": 1}})
    round_of(bothost, bot)
    assert len(bothost.pyrus.comments(late)) == 1


def test_a_step_that_no_task_has_is_refused(bothost: Harness) -> None:
    with pytest.raises(BothostError, match="numbers from 1"):
        bothost.bot(Reminder, form=321, steps="2, 0")


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (Days.parse, "Mon-Fry", "is not a day"),
        (Hours.parse, "9 to 5", "is not a span"),
        (Hours.parse, "18:00-09:00", "must begin before"),
        (Zone.parse, "Moscow", "is not a time zone"),
    ],
)
def test_wrong_settings_say_what_would_be_right(parse: Any, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_days_wrap_around_the_week() -> None:
    assert Days.parse("Sat-Mon").days == {5, 6, 0}
    assert Days.parse("mon, Wednesday").days == {0, 2}


@pytest.mark.parametrize("zone", ["Europe", "../etc/passwd", "", "Mars/Phobos"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        Zone.parse(zone)


def test_of_hundreds_of_approvers_ten_are_named(bothost: Harness) -> None:
    bot = made(bothost)
    bothost.clock.set("2026-01-09T08:00+00:00")
    late = waiting(bothost, "2026-01-05T09:00:00Z")
    people = [{"id": n, "first_name": f"P{n}", "last_name": "X", "type": "user"} for n in range(100, 400)]
    bothost.pyrus.task(late)["approvals"] = [[], [{"person": one} for one in people]]
    round_of(bothost, bot)
    (wrote,) = bothost.pyrus.comments(late)
    assert str(wrote.text).endswith("P109 X and 290 more.")
