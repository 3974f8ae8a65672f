"""kill -9 at each row of the state table: a real host, both journals, and what Pyrus and the task's readers see afterwards."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.kills.scene import Scene, status_and_body

from bothost.testing.fake_pyrus.faults import ApiFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.full


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Makes a scene with a host that is up."""
    made: list[Scene] = []

    def scene(**keys: object) -> Scene:
        journal = request.getfixturevalue("postgres").new_database() if request.param == "postgres" else ""
        made.append(Scene.made(tmp_path / "host", journal, **keys))
        made[-1].site.start()
        return made[-1]

    yield scene
    for each in made:
        each.end()


def reply(task: int) -> tuple[int, bytes]:
    return 200, b'{"text":"reply to %d"}' % task


ACKNOWLEDGED = (200, b"{}")


def test_waiting(make: Callable[..., Scene]) -> None:
    scene = make(answer_within="20s")
    busy, task = scene.task(), scene.task()
    scene.attempt(busy)
    scene.until_runs(busy, 1)
    waiting = scene.attempt(task)
    for _ in range(3):  # by then it stands in line: the host's loop has read later connections
        assert scene.site.post("nowhere", b"", {}).status == 404
    scene.kill_and_start()
    assert waiting.result().status == 0
    assert scene.runs(task) == []
    scene.let_go(task)
    assert status_and_body(scene.attempt(task, 2).result()) == reply(task)
    assert (scene.runs(task), scene.comments(task)) == (["maybe"], ["response"])


def test_running_by_the_response(make: Callable[..., Scene]) -> None:
    scene = make(answer_within="20s")
    task = scene.task()
    first = scene.attempt(task)
    scene.until_row(task, state="running", door="response")
    scene.kill_and_start()
    assert first.result().status == 0
    scene.until_row(task, state="ready", door="response", rerun="crash", deaths=1)
    scene.let_go(task)
    assert status_and_body(scene.attempt(task, 2).result()) == reply(task)
    assert (scene.runs(task), scene.comments(task)) == (["first", "crash"], ["response"])


def test_running_by_the_api(make: Callable[..., Scene]) -> None:
    scene = make()
    task = scene.task()
    assert status_and_body(scene.attempt(task).result()) == ACKNOWLEDGED
    scene.kill_and_start()
    scene.until_runs(task, 2)
    assert status_and_body(scene.attempt(task, 2).result()) == ACKNOWLEDGED
    scene.let_go(task)
    scene.until_comment(task)
    scene.until_row(task, state="answered")
    assert (scene.runs(task), scene.comments(task)) == (["first", "crash"], ["api"])


def test_parked(make: Callable[..., Scene]) -> None:
    scene = make()
    busy, task = scene.task(), scene.task()
    scene.attempt(busy)
    scene.until_runs(busy, 1)
    assert status_and_body(scene.attempt(task).result()) == ACKNOWLEDGED
    scene.until_row(task, state="ready", door="api")
    scene.kill_and_start()
    assert status_and_body(scene.attempt(task, 2).result()) == ACKNOWLEDGED
    for each in (busy, task):
        scene.let_go(each)
    scene.until_comment(task)
    assert (scene.runs(task), scene.comments(task)) == (["first"], ["api"])
    scene.until_comment(busy)
    assert (scene.runs(busy), scene.comments(busy)) == (["first", "crash"], ["api"])


def test_held_after_a_failure(make: Callable[..., Scene]) -> None:
    scene = make()
    task = scene.task()
    (scene.site.folder / "fails").touch()
    scene.let_go(task)
    assert scene.attempt(task).result().status == 500
    scene.until_row(task, state="ready", door="response")
    scene.kill_and_start()
    (scene.site.folder / "fails").unlink()
    assert status_and_body(scene.attempt(task, 2).result()) == reply(task)
    assert (scene.runs(task), scene.comments(task)) == (["first", "error"], ["response"])


def test_answered_by_the_response(make: Callable[..., Scene]) -> None:
    scene = make()
    task = scene.task()
    scene.let_go(task)
    assert scene.attempt(task, lost=True).result().status == 0
    scene.until_row(task, state="answered", delivered=True)
    scene.kill_and_start()
    assert status_and_body(scene.attempt(task, 2).result()) == reply(task)
    assert (scene.runs(task), scene.comments(task)) == (["first"], ["response"])


def test_answered_to_nobody(make: Callable[..., Scene]) -> None:
    scene = make(answer_within="20s")
    task = scene.task()
    scene.hang_up(task)
    scene.let_go(task)
    scene.until_row(task, state="answered", delivered=False)
    scene.kill_and_start()
    assert status_and_body(scene.attempt(task, 2).result()) == reply(task)
    scene.until_row(task, delivered=True)
    assert (scene.runs(task), scene.comments(task)) == (["first"], ["response"])


def test_posting_before_the_post(make: Callable[..., Scene]) -> None:
    """The look is under way: nothing was sent yet."""
    scene = make()
    task = scene.task()
    assert status_and_body(scene.attempt(task).result()) == ACKNOWLEDGED
    looking: list[int] = []
    scene.playing.look(
        lambda: scene.playing.pyrus.fail(
            "GET tasks/*", ApiFault(applied=True, delay_s=-30.0, first=lambda: looking.append(1))
        )
    )
    scene.let_go(task)
    scene.site.until(lambda: looking)
    scene.kill_and_start()
    scene.until_comment(task)
    scene.until_row(task, state="answered", door="api")
    assert status_and_body(scene.attempt(task, 2).result()) == ACKNOWLEDGED
    assert (scene.runs(task), scene.comments(task)) == (["first"], ["api"])


def test_posting_when_the_post_was_applied_and_its_answer_was_not_heard(make: Callable[..., Scene]) -> None:
    scene = make()
    task = scene.task()
    assert status_and_body(scene.attempt(task).result()) == ACKNOWLEDGED
    scene.playing.look(lambda: scene.playing.pyrus.fail("POST tasks/*/comments", ApiFault(applied=True, delay_s=-30.0)))
    scene.let_go(task)
    scene.until_comment(task)
    scene.kill_and_start()
    row = scene.until_row(task, state="answered", door="api")
    assert row.posted
    assert (scene.runs(task), scene.comments(task)) == (["first"], ["api"])


def test_posting_again_after_a_failed_try(make: Callable[..., Scene]) -> None:
    scene = make()
    task = scene.task()
    assert status_and_body(scene.attempt(task).result()) == ACKNOWLEDGED
    scene.playing.look(lambda: scene.playing.pyrus.fail("POST tasks/*/comments", ApiFault(status=502, body=b"<html>")))
    scene.let_go(task)
    scene.until_row(task, state="ready", door="api", tries=1)
    scene.kill_and_start()
    scene.until_comment(task)
    scene.until_row(task, state="answered", tries=2)
    assert (scene.runs(task), scene.comments(task)) == (["first"], ["api"])


def test_answered_by_the_api(make: Callable[..., Scene]) -> None:
    scene = make()
    task = scene.task()
    assert status_and_body(scene.attempt(task).result()) == ACKNOWLEDGED
    scene.let_go(task)
    scene.until_row(task, state="answered", door="api")
    scene.kill_and_start()
    assert status_and_body(scene.attempt(task, 2).result()) == ACKNOWLEDGED
    assert (scene.runs(task), scene.comments(task)) == (["first"], ["api"])


def test_failed(make: Callable[..., Scene]) -> None:
    scene = make(on_error="reply", error_text="Sorry.")
    task = scene.task()
    (scene.site.folder / "fails").touch()
    scene.let_go(task)
    sorry = (200, b'{"text":"Sorry."}')
    assert scene.attempt(task, lost=True).result().status == 0
    scene.until_row(task, state="failed")
    scene.kill_and_start()
    assert status_and_body(scene.attempt(task, 2).result()) == sorry
    assert scene.runs(task) == ["first"]


def test_cancelled(make: Callable[..., Scene]) -> None:
    scene = make()
    busy, task = scene.task(), scene.task()
    scene.attempt(busy)
    scene.until_runs(busy, 1)
    assert status_and_body(scene.attempt(task).result()) == ACKNOWLEDGED
    scene.site.command("deliveries", "cancel", scene.until_row(task, state="ready").id)
    scene.kill_and_start()
    for each in (busy, task):
        scene.let_go(each)
    scene.until_comment(busy)
    assert status_and_body(scene.attempt(task, 2).result()) == ACKNOWLEDGED
    assert (scene.runs(task), scene.comments(task)) == ([], [])


def test_in_the_drain(make: Callable[..., Scene]) -> None:
    """SIGTERM, and kill -9 before what runs has ended."""
    scene = make(answer_within="20s", concurrency=2)
    late, task = scene.task(), scene.task()
    first = scene.attempt(task)
    scene.until_row(task, state="running")
    scene.site.tell(signal.SIGTERM)
    scene.site.said("drain")
    parked = scene.attempt(late)
    assert status_and_body(parked.result()) == ACKNOWLEDGED
    scene.kill_and_start()
    assert first.result().status == 0
    for each in (late, task):
        scene.let_go(each)
    assert status_and_body(scene.attempt(task, 2).result()) == reply(task)
    scene.until_comment(late)
    assert (scene.runs(task), scene.comments(task)) == (["first", "crash"], ["response"])
    assert (scene.runs(late), scene.comments(late)) == (["first"], ["api"])
