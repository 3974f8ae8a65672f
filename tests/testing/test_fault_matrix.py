"""The fault matrix finds the mistakes that plugins make, and passes those that make none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bothost import Event
from bothost.testing import Harness, faults, task


def sound(event: Event) -> str | None:
    author = event.task.author.name or "stranger"
    return f"Hello, {author}." if event.kind == "comment" else None


@pytest.mark.parametrize("fault", faults)
def test_a_sound_plugin_passes(fault: Any) -> None:
    fault(sound)


def test_all_faults_are_played_at_once(bothost: Harness) -> None:
    bothost.faults(sound)


def by_hand(event: Event) -> None:
    event.pyrus.comment(event.task_id, "done").wait()


def test_a_plugin_that_writes_its_own_comment_again_is_found() -> None:
    with pytest.raises(AssertionError, match="fault crash_and_rerun: 2 comments instead of 1"):
        faults(by_hand)


def test_a_plugin_that_looks_whether_it_ran_before_passes() -> None:
    def careful(event: Event) -> None:
        if event.rerun:
            now = event.pyrus.task(event.task_id).wait()
            if any(comment.text == "done" for comment in now.comments):
                return
        event.pyrus.comment(event.task_id, "done").wait()

    faults(careful)


def test_a_plugin_that_trusts_what_pyrus_sends_is_found() -> None:
    def trusting(event: Event) -> str:
        return event.raw["task"]["author"]["first_name"].upper()

    with pytest.raises(AssertionError) as caught:
        faults(trusting, task())
    assert "fault unknown_future" in str(caught.value)
    assert "fault empty_body" in str(caught.value)
    assert "trusting raised KeyError: 'author'" in str(caught.value)
    assert "fault late" not in str(caught.value)


def test_a_slow_handler_is_no_mistake() -> None:
    async def slow(event: Event) -> str:
        await asyncio.sleep(20)
        return "done"

    faults(slow)
