"""Offer the faults on the way to Pyrus for `bothost.pyrus.fail("POST tasks/*/comments", trouble.gateway(503), times=2)`."""

from bothost.testing.fake_pyrus.faults import (
    after,
    answer,
    gateway,
    limited,
    lose_answer,
    lose_request,
    refuse_connection,
    slow,
    slow_answer,
    tls_failure,
)

__all__ = [
    "after",
    "answer",
    "gateway",
    "limited",
    "lose_answer",
    "lose_request",
    "refuse_connection",
    "slow",
    "slow_answer",
    "tls_failure",
]
