"""What the log and the counters say of requests that end at the web."""

from __future__ import annotations

import logging

from tests.webhook.edge import bot

from bothost.clock import SystemClock
from bothost.http_server import parser
from bothost.http_server.parser import ServerRefusal
from bothost.telemetry.metrics import Metrics
from bothost.webhook import head_checks
from bothost.webhook.refusals import RefusalCounter, Refusals


def test_413_is_an_error_that_names_the_setting_and_pyruss_switch(caplog):
    metrics = Metrics(SystemClock())
    RefusalCounter(Refusals(SystemClock()), metrics).refuse(
        bot(max_body_bytes=16777216), "203.0.113.9", "too-large", 413
    )
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "[bot:autoreply] a delivery is larger than max_body (16777216 bytes)" in record.getMessage()
    assert "only the last comment" in record.getMessage()
    assert (record.peer, record.status, record.outcome) == ("203.0.113.9", 413, "too-large")
    assert metrics.figures("autoreply").outcomes == {"too-large": 1}


def test_every_refusal_has_a_text_of_its_own_and_is_logged_once_a_minute(caplog):
    caplog.set_level(logging.WARNING)
    refusing = RefusalCounter(Refusals(SystemClock()), Metrics(SystemClock()))
    outcomes: list[head_checks.Outcome | ServerRefusal] = [
        one for one in vars(head_checks).values() if isinstance(one, head_checks.Outcome) and one.status >= 400
    ]
    outcomes += [one for one in vars(parser).values() if isinstance(one, ServerRefusal) and one is not parser.TOO_LARGE]
    assert len(outcomes) == 11
    for _ in range(3):
        for outcome in outcomes:
            refusing.refuse(bot(), "203.0.113.9", outcome.word, outcome.status)
    texts = [record.getMessage() for record in caplog.records]
    assert len(set(texts)) == len(texts) == 11
    assert all(text.startswith("[bot:autoreply] ") and len(text) > 30 for text in texts)
