"""Tornado's lines about strangers do not fill the log."""

from __future__ import annotations

import logging

from bothost.clock import SystemClock
from bothost.webhook.refusals import QUIET_S, OncePerMinuteFilter


class Minutes(SystemClock):
    """A clock that a test turns."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


def lines(clock: Minutes, caplog: object) -> logging.Logger:
    logger = logging.getLogger("test.sparing")
    logger.filters[:] = [OncePerMinuteFilter(clock)]
    return logger


def test_one_line_of_a_kind_a_minute_passes_and_the_next_tells_of_the_rest(caplog):
    caplog.set_level(logging.INFO)
    clock = Minutes()
    logger = lines(clock, caplog)
    for number in range(1000):
        logger.info("Malformed HTTP message from %s: %s", "203.0.113.9", number)
        logger.warning("SSL Error on %d %s: %s", number, "peer", "why")
    assert [record.getMessage() for record in caplog.records] == [
        "Malformed HTTP message from 203.0.113.9: 0",
        "SSL Error on 0 peer: why",
    ]
    clock.at += QUIET_S
    logger.info("Malformed HTTP message from %s: %s", "203.0.113.9", "x")
    assert caplog.records[-1].getMessage() == (
        "Malformed HTTP message from 203.0.113.9: x (and 999 times more in the minute before)"
    )


def test_errors_always_pass(caplog):
    logger = lines(Minutes(), caplog)
    for _ in range(3):
        logger.error("Uncaught exception")
    assert len(caplog.records) == 3


def test_kinds_without_end_take_no_memory_without_end(caplog):
    logger = lines(Minutes(), caplog)
    for number in range(10_000):
        logger.warning("kind %s" % number)  # noqa: UP031 - a template of its own each time
    assert len(logger.filters[0]._kinds) <= 101
