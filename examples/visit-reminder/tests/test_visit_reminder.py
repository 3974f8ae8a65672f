"""Reminders that move and go, on the harness's clock, which begins on Monday 2026-01-05 at 9:00 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bothost.testing import Harness, HarnessBot, field, task
from visit_reminder import VisitReminder

VISIT = datetime(2026, 1, 5, 11, 10, tzinfo=UTC)
SETTINGS: dict[str, Any] = {"before": "2h", "zone": "Europe/Moscow"}


def served(bothost: Harness) -> HarnessBot:
    return bothost.bot(VisitReminder, **SETTINGS)


def visit(at: datetime | None = VISIT, **keys: Any) -> dict[str, Any]:
    fields = {"Visit": field(at, type="due_date_time")}
    return task(form_id=321, id=55, fields=fields, **keys)


def test_the_reminder_is_written_in_time_and_once(bothost: Harness) -> None:
    bot = served(bothost)
    assert bot.deliver(visit()).json == {"text": "I shall remind of the visit on 05.01.2026 at 12:10."}
    assert bot.deliver(visit()).reply is None
    bothost.clock.advance("9m")
    assert len(bothost.pyrus.comments(55)) == 1
    bothost.clock.advance("2m")
    assert bothost.pyrus.comments(55)[-1].text == "The visit is on 05.01.2026 at 14:10."
    assert bot.jobs() == ()


def test_it_moves_with_the_visit(bothost: Harness) -> None:
    bot = served(bothost)
    bot.deliver(visit())
    bot.deliver(visit(VISIT + timedelta(hours=1)))
    (planned,) = bot.jobs()
    assert planned.due == VISIT - timedelta(hours=1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (visit(is_closed=True), None),
        (visit(None), "I shall not remind of the visit any more."),
        (visit(VISIT - timedelta(hours=2)), "I shall not remind of the visit any more."),
    ],
    ids=["closed", "emptied", "too soon"],
)
def test_it_goes_with_the_visit(bothost: Harness, changed: dict[str, Any], said: str | None) -> None:
    bot = served(bothost)
    bot.deliver(visit())
    reply = bot.deliver({**changed, "comments": [{**changed["comments"][0], "id": 9_900_000}]}).reply
    assert (reply.text if reply is not None else None) == said
    assert bot.jobs() == ()


def test_a_reminder_outlives_a_restart_and_is_made_up_for(bothost: Harness) -> None:
    served(bothost).deliver(visit())
    bothost.restart()
    bothost.clock.advance("11m")
    assert bothost.pyrus.comments(55)[-1].text == "The visit is on 05.01.2026 at 14:10."


def test_who_asks_for_a_visit_without_a_time_is_told(bothost: Harness) -> None:
    assert served(bothost).deliver(visit(None, step=1)).json == {"text": "Please fill in Visit."}
