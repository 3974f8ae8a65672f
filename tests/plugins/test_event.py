"""What a handler is given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from bothost.clock import SystemClock
from bothost.errors import NoLogin
from bothost.plugins.event import Event, RunContext
from bothost.pyrus.envelope import decode

DELIVERIES = Path(__file__).parents[1] / "data" / "deliveries"
BODY = (DELIVERIES / "04_comment_with_approval.json").read_bytes()


class Noon(SystemClock):
    """A clock that stands at noon."""

    def now(self) -> datetime:
        return datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


CONTEXT = RunContext(
    id="demo:310004:comment:8800301",
    bot="demo",
    attempt=2,
    rerun="error",
    deadline=Noon().now() + timedelta(seconds=90),
    clock=Noon(),
    user_id=900100,
    pyrus=None,
)


def test_an_event_shows_task_comment_and_circumstances() -> None:
    event = Event(decode(BODY), CONTEXT)
    assert (event.id, event.bot, event.kind) == ("demo:310004:comment:8800301", "demo", "comment")
    assert (event.attempt, event.rerun, event.user_id, event.rehearsal) == (2, "error", 900100, False)
    assert event.task_id == event.task.id == 310004
    assert event.comment
    assert event.comment is event.task.comments[-1]
    assert event.task.author.email
    assert (event.bot_settings, event.body) == ("", BODY)
    assert event.raw["task_id"] == 310004


def test_waiting_is_told_by_the_bots_own_entry() -> None:
    event = Event(decode(BODY), CONTEXT)
    assert (event.waiting, event.step) == (True, 2)
    other = Event(decode(BODY), replace(CONTEXT, user_id=1041))
    assert (other.waiting, other.step) == (False, 0)
    assert not Event(decode(BODY), replace(CONTEXT, user_id=None)).waiting


def test_time_left_ends_at_zero() -> None:
    assert Event(decode(BODY), replace(CONTEXT, ends_at=0.0)).time_left == pytest.approx(90.0, abs=10.0)
    past = replace(CONTEXT, deadline=Noon().now() - timedelta(hours=1), ends_at=0.0)
    assert Event(decode(BODY), past).time_left == 0.0
    assert Event(decode(BODY), past).deadline.tzinfo is UTC


def test_a_run_without_an_api_says_so() -> None:
    with pytest.raises(NoLogin, match=r"\[bot:demo\]"):
        _ = Event(decode(BODY), CONTEXT).pyrus


def test_no_repr_of_an_event_shows_its_token() -> None:
    event = Event(decode(BODY), CONTEXT)
    shown = "".join(map(repr, (event, event.task, event.comment, event.raw, CONTEXT)))
    assert "fixture-token" not in shown
    assert repr(event) == "<Event demo:310004:comment:8800301 attempt 2>"


def test_an_event_is_read_only() -> None:
    event = Event(decode(BODY), CONTEXT)
    with pytest.raises(AttributeError):
        event.attempt = 3  # type: ignore[misc]
