"""Two hosts on one PostgreSQL: whichever of them an attempt reaches, an event runs once, and a task's events run in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.playing import Playing
from tests.kills.scene import Scene, status_and_body

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.full


@pytest.fixture
def hosts(tmp_path: Path, postgres: PostgresServer) -> Iterator[tuple[Scene, Scene]]:
    playing = Playing()
    url = postgres.new_database()
    one, two = (
        Scene.made(tmp_path / name, url, playing, answer_within="20s", concurrency=5) for name in ("one", "two")
    )
    one.site.start()
    two.site.start()
    yield one, two
    for host in (one, two):
        host.site.end()
    playing.end()


def test_a_repeat_on_another_host_joins_the_run_and_gets_the_same_bytes(hosts: tuple[Scene, Scene]) -> None:
    one, two = hosts
    task = one.task()
    first = one.attempt(task, lost=True)
    one.until_runs(task, 1)
    second = two.attempt(task, 2)
    one.let_go(task)
    assert first.result().status == 0
    assert status_and_body(second.result()) == (200, b'{"text":"reply to %d"}' % task)
    assert (one.runs(task), two.runs(task), one.comments(task)) == (["first"], [], ["response"])


def test_a_repeat_of_an_answered_event_gets_the_same_bytes_from_another_host(hosts: tuple[Scene, Scene]) -> None:
    one, two = hosts
    task = one.task()
    one.let_go(task)
    assert one.attempt(task, lost=True).result().status == 0
    assert status_and_body(two.attempt(task, 2).result()) == (200, b'{"text":"reply to %d"}' % task)
    assert (one.runs(task), two.runs(task), one.comments(task)) == (["first"], [], ["response"])


def test_one_event_at_both_hosts_at_once_runs_once(hosts: tuple[Scene, Scene]) -> None:
    tasks = [hosts[0].task() for _ in range(10)]
    for task in tasks:
        for host in hosts:
            host.let_go(task)
    # of two deliveries at the same moment Pyrus reads one
    waiting = [host.attempt(task, lost=host is hosts[1]) for task in tasks for host in hosts]
    for attempt in waiting:
        attempt.result()
    for task in tasks:
        assert sorted(hosts[0].runs(task) + hosts[1].runs(task)) == ["first"]
        assert hosts[0].comments(task) == ["response"]


def test_two_comments_close_together_run_in_order_over_two_hosts(hosts: tuple[Scene, Scene]) -> None:
    one, two = hosts
    task = one.task()
    first = one.attempt(task)
    one.until_runs(task, 1)
    one.playing.say(task, "and please this too")
    two.let_go(task)
    second = two.attempt(task)
    for _ in range(3):
        assert two.site.post("nowhere", b"", {}).status == 404
    assert two.runs(task) == [], "the second event waits for the first one's turn"
    one.let_go(task)
    assert first.result().status == second.result().status == 200
    assert (one.runs(task), two.runs(task)) == (["first"], ["first"])
    assert one.comments(task) == ["response", "response"]
