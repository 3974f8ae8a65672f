"""Attempts and failed runs, row by row of the state table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothost.pipeline.attempts import read_attempt
from bothost.pipeline.completion import ErrorPolicy, after_failure
from bothost.runners import RunFailure

RAISED = RunFailure("raised", "it raised")
UNUSABLE = RunFailure("unusable", "not a reply", may_rerun=False)


@pytest.mark.parametrize(
    ("header", "marked", "of"),
    [
        ("", 0, 3), ("1/3", 1, 3), ("2/3", 2, 3), (" 3 / 3 ", 3, 3), ("1", 1, 3), ("0/3", 0, 3), ("2/9", 2, 9), ("2/10", 2, 3),
        ("2/0", 2, 3), ("x", 0, 3), ("-1/3", 0, 3), ("1/3/5", 0, 3), ("١/٣", 0, 3), ("99999999999999999999/3", 0, 3),
    ],
)  # fmt: skip
def test_the_attempt_is_read_leniently(header: str, marked: int, of: int) -> None:
    attempt = read_attempt(header)
    assert (attempt.marked, attempt.of) == (marked, of)


@given(st.text())
def test_no_header_makes_it_raise(header: str) -> None:
    attempt = read_attempt(header)
    assert attempt.number(0) >= 1
    assert 1 <= attempt.of <= 9


def test_an_attempt_is_at_least_one_more_than_those_seen() -> None:
    assert read_attempt("1/3").number(0) == 1
    assert read_attempt("1/3").number(2) == 3
    assert read_attempt("3/3").number(0) == 3
    assert read_attempt("").number(1) == 2


def test_the_last_attempt_is_told_by_the_header_or_by_the_count() -> None:
    assert not read_attempt("2/3").is_last(1)
    assert read_attempt("3/3").is_last(0)
    assert read_attempt("").is_last(2)
    assert read_attempt("1/1").is_last(0)
    assert not read_attempt("3/5").is_last(1)
    assert read_attempt("2/9").is_last(2)


@pytest.mark.parametrize(
    ("on_error", "speaks", "failure", "door", "last", "runs", "state", "status", "says"),
    [
        ("retry", False, RAISED, "response", False, 1, "held", 500, False),
        ("retry", True, RAISED, "response", False, 2, "held", 500, False),
        ("retry", False, RAISED, "response", True, 2, "failed", 500, False),
        ("retry", True, RAISED, "response", True, 2, "failed", 200, True),
        ("retry", True, RAISED, "response", False, 3, "failed", 200, True),
        ("retry", False, UNUSABLE, "response", False, 1, "failed", 500, False),
        ("ignore", True, RAISED, "response", False, 1, "failed", 200, False),
        ("ignore", False, UNUSABLE, "response", False, 1, "failed", 200, False),
        ("reply", True, RAISED, "response", False, 1, "failed", 200, True),
        ("reply", False, RAISED, "response", False, 1, "failed", 500, False),
        ("retry", True, RAISED, "api", False, 1, "parked", 200, False),
        ("retry", True, RAISED, "api", True, 2, "parked", 200, False),
        ("retry", True, RAISED, "api", True, 3, "posting", 200, True),
        ("retry", False, RAISED, "api", True, 3, "failed", 200, False),
        ("retry", True, UNUSABLE, "api", True, 1, "posting", 200, True),
        ("reply", True, RAISED, "api", False, 1, "posting", 200, True),
        ("ignore", True, RAISED, "api", False, 1, "failed", 200, False),
    ],
)
def test_what_a_failed_run_leads_to(on_error, speaks, failure, door, last, runs, state, status, says) -> None:
    verdict = after_failure(ErrorPolicy(on_error, speaks), failure, door=door, last=last, runs=runs)
    assert (verdict.state, verdict.status, verdict.speaks) == (state, status, says)


def test_an_acknowledged_event_runs_again_after_one_and_two_minutes() -> None:
    policy = ErrorPolicy("retry", speaks=False)
    assert after_failure(policy, RAISED, door="api", last=True, runs=1).due_in_s == 60
    again = after_failure(policy, RAISED, door="api", last=True, runs=2, again_already=True)
    assert again.due_in_s == 120
    after_one_before = after_failure(policy, RAISED, door="api", last=True, runs=2)
    assert after_one_before.due_in_s == 60, "the first of its own, though a run before the acknowledgement had failed"
