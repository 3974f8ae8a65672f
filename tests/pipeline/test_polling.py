"""Polling and catching up, through the real pipeline and journal: what no webhook brought runs once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bothost import Event, Plugin, Reply
from bothost.config import read
from bothost.testing import Harness, task
from bothost.testing.fake_pyrus import faults
from bothost.testing.host import BareHost

FORM = 321
POLL = {"receive": "poll", "forms": str(FORM)}


class Approver(Plugin):
    async def handle(self, event: Event) -> Reply | None:
        SEEN.append((event.task_id, event.polled, event.kind))
        return Reply.approve("polled" if event.polled else "by webhook") if event.waiting else Reply("seen")


SEEN: list[tuple[int, bool, str]] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    SEEN.clear()


def approvals(bothost: Harness, bot: Any, count: int) -> list[int]:
    """Tasks at which the bot is asked to decide, each with a comment."""
    made = [bothost.pyrus.add_task(**waiting(bothost, bot)) for _ in range(count)]
    return [one["id"] for one in made]


def waiting(bothost: Harness, bot: Any) -> dict[str, Any]:
    now = bothost.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    body = task(form_id=FORM, step=1, comments=["please"])
    shown = dict(body)
    shown["last_modified_date"] = now
    return shown


def test_a_polled_event_runs_once_and_is_answered_through_the_api(bothost: Harness) -> None:
    bothost.pyrus.add_form(FORM)
    bot = bothost.bot(Approver, ini=POLL)
    ids = approvals(bothost, bot, 3)
    bothost.clock.advance("65s")
    assert sorted(one for one, _, _ in SEEN) == sorted(ids)
    assert {(polled, kind) for _, polled, kind in SEEN} == {(True, "comment")}
    assert sorted(one.task_id for one in bothost.pyrus.comments() if one.person_id == bot.person["id"]) == sorted(ids)
    bothost.clock.advance("5m")
    assert len(SEEN) == 3


def test_a_new_comment_is_a_new_event_and_the_bots_own_is_none(bothost: Harness) -> None:
    bothost.pyrus.add_form(FORM)
    bot = bothost.bot(Approver, ini=POLL)
    (task_id,) = approvals(bothost, bot, 1)
    bothost.clock.advance("65s")
    bothost.pyrus.say(task_id, "and now?")
    bothost.clock.advance("65s")
    assert [one for one, _, _ in SEEN] == [task_id, task_id]
    bothost.clock.advance("10m")
    assert len(SEEN) == 2


def test_a_webhook_and_a_poll_of_one_event_are_one_run(bothost: Harness) -> None:
    bothost.pyrus.add_form(FORM)
    bot = bothost.bot(Approver, ini={"receive": "both", "forms": str(FORM)})
    bothost.clock.advance("29s")
    shown = waiting(bothost, bot)
    added = bothost.pyrus.add_task(**shown)
    bot.deliver(added)
    bothost.clock.advance("5m")
    assert [(added["id"], False, "comment")] == SEEN


def test_two_hosts_on_one_journal_share_the_rounds(bothost: Harness, tmp_path: Path) -> None:
    bothost.pyrus.add_form(FORM)
    state = bothost._state
    state.turn(state.host.stop())
    state.host, other = (
        state.turn(BareHost.started(state.time, tmp_path, bothost.pyrus.transport(), claims_first=True)) for _ in "ab"
    )
    bot = bothost.bot(Approver, ini=POLL)
    state.turn(other.add(*bot.origin))
    ids = approvals(bothost, bot, 5)
    bothost.clock.advance("5m")
    assert sorted(one for one, _, _ in SEEN) == sorted(ids)
    assert len(bothost.pyrus.titles("inbox")) <= 13  # alone it would be 11
    state.turn(other.stop())


def test_under_429_polling_slows_down(bothost: Harness) -> None:
    bothost.pyrus.add_form(FORM)
    bothost.pyrus.fail("GET inbox", faults.limited(200), times=1)
    bothost.bot(Approver, ini=POLL)
    bothost.clock.advance("150s")
    assert len(bothost.pyrus.titles("inbox")) <= 2
    bothost.clock.advance("10m")
    assert len(bothost.pyrus.titles("inbox")) > 5


def test_where_pyrus_is_away_nothing_is_lost(bothost: Harness) -> None:
    bothost.pyrus.add_form(FORM)
    bothost.pyrus.fail("GET *", faults.gateway(503), times=12)
    bot = bothost.bot(Approver, ini=POLL)
    ids = approvals(bothost, bot, 2)
    bothost.clock.advance("30m")
    assert sorted(one for one, _, _ in SEEN) == sorted(ids)


@pytest.mark.parametrize("catch_up", ["inbox", "forms"])
def test_at_start_missed_events_are_answered_once_and_no_others(
    bothost: Harness, catch_up: str, caplog: pytest.LogCaptureFixture
) -> None:
    bothost.pyrus.add_form(FORM)
    bot = bothost.bot(Approver, ini={"catch_up": catch_up, "forms": str(FORM)})
    answered = bothost.pyrus.add_task(**waiting(bothost, bot))
    bot.deliver(answered)
    bothost.clock.advance("5m")
    lost = approvals(bothost, bot, 50)  # delivered three times each, and nobody was there
    bothost.restart()
    bothost.clock.advance("2m")
    assert sorted(one for one, polled, _ in SEEN if polled) == sorted(lost)
    assert [one for one, polled, _ in SEEN if not polled] == [answered["id"]]
    assert "missed 50 events" in caplog.text
    assert len(bothost.pyrus.comments()) == 51
    bothost.restart()
    bothost.clock.advance("10m")
    assert len(SEEN) == 51


@pytest.mark.parametrize("times", [1, 3])
def test_a_host_that_starts_again_at_once_catches_up_too(bothost: Harness, times: int) -> None:
    bothost.pyrus.add_form(FORM)
    bot = bothost.bot(Approver, ini={"catch_up": "forms", "forms": str(FORM)})
    bothost.clock.advance("5m")
    bothost.pyrus.fail("GET tasks/*", faults.gateway(503), times=9)
    lost = approvals(bothost, bot, 20)
    for _ in range(times):
        bothost.restart()
        bothost.clock.advance("1s")
    bothost.clock.advance("10m")
    assert sorted(one for one, _, _ in SEEN) == sorted(lost)


def test_a_host_that_dies_while_it_catches_up_leaves_the_rest_to_the_next(bothost: Harness) -> None:
    bothost.pyrus.add_form(FORM)
    bot = bothost.bot(Approver, ini={"catch_up": "forms", "forms": str(FORM)})
    bot.deliver(bothost.pyrus.add_task(**waiting(bothost, bot)))
    bothost.clock.advance("5m")
    lost = approvals(bothost, bot, 10)
    bothost.clock.advance("10m")
    bothost.pyrus.fail("GET tasks/*", faults.slow(3), times=10)
    bothost.restart()
    bothost.clock.advance("10s")
    assert 0 < len([one for one in SEEN if one[1]]) < 10
    bothost.restart()
    bothost.clock.advance("10m")
    assert sorted(one for one, polled, _ in SEEN if polled) == sorted(lost)


def test_a_delivery_before_the_first_look_hides_nothing_that_was_missed(bothost: Harness) -> None:
    bothost.pyrus.add_form(FORM)
    bot = bothost.bot(Approver, ini={"catch_up": "forms", "forms": str(FORM)})
    bot.deliver(bothost.pyrus.add_task(**waiting(bothost, bot)))
    bothost.clock.advance("5m")
    lost = approvals(bothost, bot, 10)
    bothost.clock.advance("10m")
    bothost.pyrus.fail("GET *", faults.gateway(503), times=3)
    bothost.restart()
    bot.deliver(bothost.pyrus.add_task(**waiting(bothost, bot)))
    bothost.clock.advance("10m")
    assert sorted(one for one, polled, _ in SEEN if polled) == sorted(lost)


class PyrusClock:
    """Pyrus's clock, which differs from the host's."""

    def __init__(self, clock: Any, by: timedelta) -> None:
        self._clock = clock
        self._by = by

    def now(self) -> datetime:
        return self._clock.now() + self._by

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


@pytest.mark.parametrize("by", [timedelta(hours=-1), timedelta(minutes=-5), timedelta(hours=1)])
@pytest.mark.parametrize("catch_up", ["no", "forms"])
def test_changes_are_found_however_far_the_hosts_clock_is_from_pyrus(
    bothost: Harness, by: timedelta, catch_up: str
) -> None:
    bothost.pyrus.clock = bothost.pyrus.world.clock = PyrusClock(bothost.pyrus.clock, by)
    bothost.pyrus.add_form(FORM)
    keys = {**POLL, "receive": "webhook", "catch_up": catch_up} if catch_up != "no" else POLL
    bot = bothost.bot(Approver, ini=keys)
    known = bothost.pyrus.add_task(form_id=FORM)["id"]
    bothost.pyrus.say(known, "an event before")
    if catch_up == "no":
        bothost.clock.advance("65s")
    else:
        bot.deliver(bothost.pyrus.task(known))
        bothost.clock.advance("5m")
    asked = [bothost.pyrus.add_task(form_id=FORM)["id"] for _ in range(2)]
    for one in asked:
        bothost.pyrus.say(one, "please")
    if catch_up != "no":
        bothost.restart()
    bothost.clock.advance("65s")
    assert sorted({one for one, _, _ in SEEN}) == sorted([known, *asked])
    bothost.clock.advance("5m")
    assert len(SEEN) == 3


def test_a_bot_that_only_polls_has_no_path(bothost: Harness) -> None:
    bothost.bot(Approver, name="quiet", ini=POLL)
    bothost.bot(Approver, name="loud")
    registry = bothost._state.host.service.present()
    assert {bot.name for bot in registry.by_path.values()} == {"loud"}
    assert set(registry.by_name) == {"quiet", "loud"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("receive = poll", "needs a login"),
        ("catch_up = inbox", "needs a login"),
        ("login = bot@x\ncatch_up = forms", "needs `forms`"),
        ("receive = pol", "poll"),
        ("poll_every = 1s", "from 5s"),
        ("login = bot@x\nreceive = both\ncatch_up = inbox\npoll_every = 30s\ncatch_up_for = 3d", ""),
    ],
)
def test_check_reads_the_keys(tmp_path: Path, keys: str, said: str) -> None:
    path = tmp_path / "bots.ini"
    path.write_text(f"[bot:one]\nplugin = autoreply\nsecret = a-secret-of-sixteen-or-more\n{keys}\n")
    problems = " ".join(str(problem) for problem in read(path, {}).all_problems())
    assert (said in problems) if said else not problems
