"""Strangers cannot flood the log."""

import logging

import pytest

from bothost.clock import SystemClock
from bothost.webhook.refusals import ELSEWHERE, Refusal, Refusals


class Hand(SystemClock):
    """A clock turned by hand."""

    time = 100.0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Hand:
    return Hand()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_one_line_a_minute_and_then_a_count(clock: Hand, caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(clock)
    for _ in range(500):
        refusals.tell(Refusal("refunds", "signature", "10.0.0.1", 403), "the signature is not this bot's")
    assert told(caplog) == ["the signature is not this bot's"]
    refusals.sweep()
    assert len(caplog.records) == 1
    clock.time += 61
    refusals.sweep()
    assert told(caplog)[1:] == ["[bot:refunds]: refused 499 times more within a minute: signature, from 10.0.0.1"]
    assert vars(caplog.records[1])["count"] == 499


def test_bots_words_and_addresses_are_told_apart(clock: Hand, caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(clock)
    for bot, word, peer in [("a", "x", "1"), ("b", "x", "1"), ("a", "y", "1"), ("a", "x", "2"), ("a", "x", "2")]:
        refusals.tell(Refusal(bot, word, peer, 403), "refused")
    assert len(caplog.records) == 4


def test_after_a_minute_the_count_comes_before_the_next_line(clock: Hand, caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(clock)
    for step in (0, 1, 60):
        clock.time += step
        refusals.tell(Refusal("", "path", "1", 404), "no such path")
    assert told(caplog) == [
        "no such path",
        "a path of no bot: refused once more within a minute: path, from 1",
        "no such path",
    ]


def test_many_addresses_share_one_line_and_no_memory(clock: Hand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    refusals = Refusals(clock)
    for number in range(5_000):
        refusals.tell(Refusal("", "path", f"10.0.{number}", 404), "no such path")
    assert len(caplog.records) == 1_001
    refusals.sweep(everything=True)
    assert vars(caplog.records[-1])["peer"] == ELSEWHERE
    assert vars(caplog.records[-1])["count"] == 3_999
