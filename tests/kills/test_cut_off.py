"""Hosts that are frozen beyond their lease, and journals that are gone for a while or for good, beneath real hosts."""

from __future__ import annotations

import signal
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest
from tests.e2e.playing import Playing
from tests.kills.scene import Scene, status_and_body

from bothost.journal.sqlite.connection import path_of
from bothost.testing.fake_pyrus.faults import ApiFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.full

ACKNOWLEDGED = (200, b"{}")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Makes scenes with one Pyrus; their hosts are not started."""
    playing = Playing()
    made: list[Scene] = []

    def scene(journal: str = "", **keys: object) -> Scene:
        made.append(Scene.made(tmp_path / f"host{len(made)}", journal, playing, **keys))
        return made[-1]

    yield scene
    for each in made:
        each.site.end()
    playing.end()


def test_a_frozen_host_that_wakes_records_nothing_and_posts_nothing(
    make: Callable[..., Scene], postgres: PostgresServer
) -> None:
    """One event runs at the moment of the freeze, of the other one the look before its POST is under way."""
    one, two = (make(url, concurrency=5) for url in [postgres.new_database()] * 2)
    one.site.start()
    running, posting = one.task(), one.task()
    pyrus = one.playing.pyrus
    for task in (running, posting):
        assert status_and_body(one.attempt(task).result()) == ACKNOWLEDGED
    looking: list[int] = []
    pyrus.fail("GET tasks/*", ApiFault(applied=True, delay_s=-1.0, first=lambda: looking.append(1)))
    one.let_go(posting)
    one.site.until(lambda: looking)
    one.site.tell(signal.SIGSTOP)
    two.site.start()
    two.until_runs(running, 1, 60.0)
    two.let_go(running)
    for task in (running, posting):
        two.site.until(lambda task=task: two.comments(task), 60.0)
        two.until_row(task, state="answered")
    rows = [two.row(task) for task in (running, posting)]
    one.let_go(running)
    one.site.tell(signal.SIGCONT)
    one.site.said("the outcome of a post was refused")
    one.site.said("was dropped")
    new = one.task()
    one.let_go(new)
    assert one.attempt(new).result().body == b'{"text":"reply to %d"}' % new, "it goes on with what is new"
    assert [two.row(task) for task in (running, posting)] == rows
    assert (one.comments(running), one.comments(posting)) == (["api"], ["api"])
    assert (one.runs(running), two.runs(running)) == (["first"], ["crash"])
    assert (one.runs(posting), two.runs(posting)) == (["first"], [])
    assert one.site.stop() == two.site.stop() == 0


def test_twenty_seconds_without_the_database_run_nothing_twice(
    make: Callable[..., Scene], postgres: PostgresServer
) -> None:
    url = postgres.new_database()
    one, two = (make(url, concurrency=5) for _ in range(2))
    for scene in (one, two):
        scene.site.start()
    task, new = one.task(), one.task()
    assert status_and_body(one.attempt(task).result()) == ACKNOWLEDGED
    began = time.monotonic()
    postgres.stop()
    one.let_go(task)
    one.let_go(new)
    assert one.attempt(new).result().status == 503, "what cannot be recorded is not acknowledged"
    assert status_and_body(one.attempt(task, 2).result()) == ACKNOWLEDGED
    time.sleep(max(0.0, began + 20.0 - time.monotonic()))
    assert one.comments(task) == []
    postgres.start()
    one.until_comment(task)
    one.until_row(task, state="answered")
    assert one.attempt(new, 2).result().body == b'{"text":"reply to %d"}' % new
    assert (one.comments(task), one.comments(new)) == (["api"], ["response"])
    assert (one.runs(task), two.runs(task), one.runs(new)) == (["first"], [], ["first"])
    assert one.site.stop() == two.site.stop() == 0


def test_a_database_that_is_gone_for_good_costs_no_last_attempt_and_no_stop(
    make: Callable[..., Scene], postgres: PostgresServer
) -> None:
    scene = make(postgres.new_database(), answer_within="20s")
    scene.site.start()
    task = scene.task()
    scene.let_go(task)
    postgres.stop()
    assert scene.attempt(task, 3).result().body == b'{"text":"reply to %d"}' % task
    assert (scene.runs(task), scene.comments(task)) == (["maybe"], ["response"])
    scene.site.tell()
    assert scene.site.wait(60.0) == 0


def test_ten_seconds_of_a_locked_journal(make: Callable[..., Scene]) -> None:
    scene = make(concurrency=5)
    scene.site.start()
    late, quick = scene.task(), scene.task()
    scene.let_go(quick)
    other = sqlite3.connect(path_of(scene.site.folder / "state"), isolation_level=None)
    other.execute("begin exclusive")
    began = time.monotonic()
    first = scene.attempt(late)
    assert scene.attempt(quick).result().body == b'{"text":"reply to %d"}' % quick, "what needs no record goes on"
    assert first.result().status == 503, "what cannot be recorded is not acknowledged"
    time.sleep(max(0.0, began + 10.0 - time.monotonic()))
    other.execute("commit")
    other.close()
    assert status_and_body(scene.attempt(late, 2).result()) == ACKNOWLEDGED
    scene.let_go(late)
    scene.until_comment(late)
    scene.until_row(quick, state="answered")
    assert (scene.runs(late), scene.comments(late), scene.comments(quick)) == (["first"], ["api"], ["response"])
    assert scene.site.stop() == 0
