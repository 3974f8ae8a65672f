"""Every order in which things can happen to one event: the product's rules hold, and each of them is needed."""

from __future__ import annotations

import os

import pytest
from tests.pipeline.exploration import Exploration, Rules, explore

GIVES_UP = int(os.environ.get("BOTHOST_EXPLORE", "1"))
"""Writes whose end is unknown. Two make 1.2 million states and take minutes: BOTHOST_EXPLORE=2 pytest -m full."""


def test_an_event_runs_once_and_is_answered_once_in_every_order_of_steps() -> None:
    count, faults, stuck = explore(Exploration(Rules(), attempts=2))
    assert faults == set()
    assert stuck == []
    assert count > 40_000


@pytest.mark.full
@pytest.mark.parametrize(("attempts", "crashes"), [(3, 0), (2, 1)])
def test_so_it_does_with_three_attempts_or_where_a_process_dies_at_any_point(attempts: int, crashes: int) -> None:
    count, faults, stuck = explore(Exploration(Rules(), GIVES_UP, crashes, attempts))
    assert faults == set()
    assert stuck == []
    assert count > 100_000


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("revisions", "runs twice"),
        ("anew", "503 without an outage"),
        ("memory", "runs twice"),
        ("first", "two comments"),
    ],
)
def test_without_this_rule_the_fault_is_there(rule: str, fault: str) -> None:
    """Issue 14 A: 2 and 3 are `runs twice`, 4 is `two comments`, 7 is `503 without an outage`."""
    _, faults, _ = explore(Exploration(Rules(**{rule: False})), until_fault=True)
    assert fault in faults
