"""Bots that talk to each other are stopped in that task, and only there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bothost.journal.entry import Entry
from bothost.pipeline.event_table import TrackedEvent
from bothost.pipeline.loop_breaker import TO_ANY, TO_BOTS, WINDOW_S, LoopBreaker
from bothost.pyrus.envelope import decode
from bothost.testing.virtual_time.clock import VirtualClock


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    clock = VirtualClock()
    yield clock
    clock.loop.close()


def event(task: int, author: dict) -> TrackedEvent:
    tracked = TrackedEvent(f"bot:{task}", Entry(id=f"bot:{task}", bot="bot", task=task))
    body = {"task_id": task, "user_id": 9, "task": {"id": task, "comments": [{"id": 1, "author": author}]}}
    tracked.envelope = decode(json.dumps(body).encode())
    return tracked


def test_thirty_replies_to_bots_are_borne_and_the_next_pauses_the_task(clock: VirtualClock) -> None:
    told: list[tuple[str, str]] = []
    loop_breaker = LoopBreaker(clock)
    loop_breaker.pause_watchers.append(lambda fact, reason: told.append((fact, reason)))
    for _ in range(TO_BOTS):
        loop_breaker.count(event(7, {"id": 5, "type": "bot"}), 9)
    assert not loop_breaker.is_paused("bot", 7)
    loop_breaker.count(event(7, {"id": 9, "type": "user"}), 9)
    assert loop_breaker.is_paused("bot", 7)
    assert not loop_breaker.is_paused("bot", 8)
    assert [fact for fact, _ in told] == ["pause:bot:7"]


def test_replies_to_people_are_borne_longer(clock: VirtualClock) -> None:
    loop_breaker = LoopBreaker(clock)
    for _ in range(TO_ANY):
        loop_breaker.count(event(7, {"id": 5, "type": "user"}), 9)
    assert not loop_breaker.is_paused("bot", 7)
    loop_breaker.count(event(7, {"id": 5, "type": "user"}), 9)
    assert loop_breaker.is_paused("bot", 7)


def test_replies_longer_ago_than_the_window_do_not_count(clock: VirtualClock) -> None:
    loop_breaker = LoopBreaker(clock)
    for _ in range(TO_BOTS):
        loop_breaker.count(event(7, {"id": 5, "type": "bot"}), 9)
    clock.advance(WINDOW_S + 1)
    for _ in range(TO_BOTS):
        loop_breaker.count(event(7, {"id": 5, "type": "bot"}), 9)
    assert not loop_breaker.is_paused("bot", 7)


def test_an_operators_resume_begins_the_count_anew(clock: VirtualClock) -> None:
    loop_breaker = LoopBreaker(clock)
    loop_breaker.read({"pause:bot:7": "looped", "pause:bot": "whole bot", "login:bot": "x"})
    assert loop_breaker.is_paused("bot", 7)
    loop_breaker.read({})
    assert not loop_breaker.is_paused("bot", 7)
    loop_breaker.count(event(7, {"id": 5, "type": "bot"}), 9)
    assert not loop_breaker.is_paused("bot", 7)


def test_a_pause_holds_until_it_was_read_once_and_is_gone_when_it_is_not_there_any_more(clock: VirtualClock) -> None:
    loop_breaker = LoopBreaker(clock)
    for _ in range(TO_BOTS + 1):
        loop_breaker.count(event(7, {"id": 5, "type": "bot"}), 9)
    loop_breaker.read({"login:bot": "bot@x"})  # its own fact is still on its way to the journal
    assert loop_breaker.is_paused("bot", 7)
    loop_breaker.read({"pause:bot:7": "looped"})
    assert loop_breaker.is_paused("bot", 7)
    loop_breaker.read({})
    assert not loop_breaker.is_paused("bot", 7)


def crew(clock: VirtualClock, count: int, told: list[str]) -> list[LoopBreaker]:
    """The breakers of one host's workers, each hearing what the others tell."""
    breakers = [LoopBreaker(clock) for _ in range(count)]
    for loop_breaker in breakers:
        loop_breaker.pause_watchers.append(lambda fact, _reason: told.append(fact))
        others = [other for other in breakers if other is not loop_breaker]
        loop_breaker.reply_watchers.append(
            lambda bot, task, to_bots, others=others: [other.hear(bot, task, to_bots) for other in others]
        )
    return breakers


def test_replies_of_all_workers_count_together(clock: VirtualClock) -> None:
    told: list[str] = []
    breakers = crew(clock, 4, told)
    for turn in range(TO_BOTS):
        breakers[turn % 4].count(event(7, {"id": 5, "type": "bot"}), 9)
    assert not any(loop_breaker.is_paused("bot", 7) for loop_breaker in breakers)
    breakers[3].count(event(7, {"id": 5, "type": "bot"}), 9)
    assert breakers[3].is_paused("bot", 7)
    assert told == ["pause:bot:7"]
    # the others read it from the journal, and count anew when it is taken back
    for loop_breaker in breakers:
        loop_breaker.read({"pause:bot:7": "why"})
        loop_breaker.read({})
        loop_breaker.count(event(7, {"id": 5, "type": "bot"}), 9)
        assert not loop_breaker.is_paused("bot", 7)


def test_one_reply_in_a_task_is_told_to_nobody_before_there_is_another(clock: VirtualClock) -> None:
    heard: list[tuple[int, list[bool]]] = []
    loop_breaker = LoopBreaker(clock)
    loop_breaker.reply_watchers.append(lambda _bot, task, to_bots: heard.append((task, list(to_bots))))
    for task in range(100, 200):
        loop_breaker.count(event(task, {"id": 5, "type": "user"}), 9)
    assert heard == []
    loop_breaker.count(event(100, {"id": 5, "type": "bot"}), 9)
    loop_breaker.hear("bot", 101, [True])
    loop_breaker.hear("bot", 101, [True])
    assert heard == [(100, [False, True]), (101, [False])]
