"""What an entry becomes when its run has ended, row by row of the state table: the whole entry and the whole outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from bothost.config import BotConfig
from bothost.journal.entry import Entry
from bothost.journal.history import HistoryStep, merged, steps_of, with_step
from bothost.pipeline.completion import Completion, RunEnd, complete, with_unsent
from bothost.pipeline.delivery import Outcome
from bothost.pipeline.event_table import TrackedEvent, Waiter
from bothost.runners import RunFailure, RunResult

NOW = RunEnd(now=2000.0, quiet_s=240.0)
SAID = b'{"text":"done"}'
RAISED = RunFailure("raised", "[bot:one] it raised", "Traceback …\nValueError: no\n")
DIED = RunFailure("died", "[bot:one] its process ended")
TOLD = "[bot:one] it raised\nTraceback …\nValueError: no"


@dataclass
class Sender:
    """As much of a delivery as is asked: whether somebody still listens."""

    gone: bool


def live_of(
    *, listens: bool = False, last: bool = False, stored: bool = False, cut: Any = "", **entry: Any
) -> TrackedEvent:
    """An event whose run has just ended: its last delivery came at 1900, it had one run before."""
    row: dict[str, Any] = {
        "state": "running",
        "seen": 1,
        "seen_at": 1900.0,
        "runs": 1,
        "error": "of the run before",
        **entry,
    }
    tracked = TrackedEvent(
        "one:5:comment:7", Entry(id="one:5:comment:7", bot="one", task=5, comment=7, fence=2, owner="us", **row)
    )
    tracked.last, tracked.stored, tracked.cut = last, stored, cut
    tracked.waiters = [Waiter(Sender(gone=True))]  # type: ignore[arg-type]
    if listens:
        tracked.waiters.append(Waiter(Sender(gone=False)))  # type: ignore[arg-type]
    return tracked


def completion(tracked: TrackedEvent, ran: RunResult | None, **config: Any) -> tuple[dict[str, Any], Outcome, str]:
    """What changed in the entry but for its history, the outcome, what the log is told."""
    before = msgspec.structs.asdict(tracked.entry)
    said: Completion = complete(tracked.entry, tracked, BotConfig(name="one", **config), ran, NOW)
    assert msgspec.structs.asdict(tracked.entry) == before, (
        "the live entry is not touched before the new one is recorded"
    )
    after = msgspec.structs.asdict(said.entry)
    changed = {key: value for key, value in after.items() if value != before[key] and key != "history"}
    return changed, said.outcome, said.failure


RAN = {"updated": 2000.0, "runs": 2}
WELL = {**RAN, "error": ""}


@pytest.mark.parametrize("listens", [True, False])
def test_a_reply_is_the_answer_and_delivered_where_somebody_listens(listens: bool) -> None:
    row = {**WELL, "state": "answered", "answer": SAID, "status": 200, "due": 2140.0}
    if listens:
        row["delivered"] = True
    assert completion(live_of(listens=listens), RunResult(SAID)) == (row, Outcome(200, SAID, "replied"), "")


def test_nothing_to_say_is_an_answer_too() -> None:
    row = {**WELL, "state": "answered", "answer": b"{}", "status": 200, "due": 2140.0, "delivered": True}
    assert completion(live_of(listens=True), RunResult()) == (row, Outcome(200, b"{}", "silent"), "")


def test_a_late_reply_is_posted_and_the_deliveries_are_only_acknowledged() -> None:
    row = {**WELL, "answer": SAID, "due": 2000.0}
    assert completion(live_of(listens=True, door="api"), RunResult(SAID)) == (row, Outcome(200, b"{}", "late"), "")


@pytest.mark.parametrize("entry", [{"door": "api"}, {"kind": "timer"}, {"kind": "timer", "door": "api"}])
def test_a_late_run_that_says_nothing_and_a_tick_have_ended(entry: dict[str, Any]) -> None:
    row = {**WELL, "state": "answered", "answer": b"{}"}
    assert completion(live_of(**entry), RunResult()) == (row, Outcome(200, b"{}", "silent"), "")


def test_what_a_tick_returns_is_not_sent() -> None:
    assert completion(live_of(kind="timer"), RunResult(SAID))[0]["answer"] == b"{}"


def test_a_failed_tick_has_failed_and_is_told() -> None:
    row = {**RAN, "state": "failed", "error": TOLD}
    assert completion(live_of(kind="timer"), RunResult(failure=RAISED)) == (row, Outcome(200, b"{}", "failed"), TOLD)


@pytest.mark.parametrize(("failure", "told", "rerun"), [(RAISED, TOLD, "error"), (DIED, DIED.text, "crash")])
def test_a_failure_is_held_until_its_deliveries_are_quiet(failure: RunFailure, told: str, rerun: str) -> None:
    row = {**RAN, "state": "ready", "due": 2140.0, "status": 500, "error": told, "rerun": rerun}
    assert completion(live_of(listens=True), RunResult(failure=failure)) == (row, Outcome(500, b"{}", "held"), told)


@pytest.mark.parametrize(("failure", "told", "rerun"), [(RAISED, TOLD, "error"), (DIED, DIED.text, "crash")])
def test_an_acknowledged_failure_is_parked_for_a_minute(failure: RunFailure, told: str, rerun: str) -> None:
    row = {**RAN, "state": "ready", "due": 2060.0, "status": 200, "error": told, "rerun": rerun}
    tracked = live_of(door="api", last=True)
    assert completion(tracked, RunResult(failure=failure)) == (row, Outcome(200, b"{}", "parked"), told)


@pytest.mark.parametrize(
    ("rerun", "deaths", "stored", "in_s"),
    [
        ("", 0, True, 60),
        ("drain", 0, True, 60),
        ("error", 0, False, 60),  # the run before was an attempt's
        ("error", 0, True, 120),
        ("crash", 0, False, 60),
        ("crash", 0, True, 120),
        ("crash", 1, True, 60),
        ("error", 1, True, 120),
    ],
)
def test_the_second_wait_is_longer_only_after_a_failed_run_of_its_own(
    rerun: str, deaths: int, stored: bool, in_s: int
) -> None:
    """A crash without a death of the host was that of the bot's own process, and a failed run; with one it was none."""
    tracked = live_of(door="api", rerun=rerun, deaths=deaths, stored=stored)
    assert completion(tracked, RunResult(failure=RAISED))[0]["due"] == 2000 + in_s


FAILED = {**RAN, "state": "failed", "failed": True, "error": TOLD}


@pytest.mark.parametrize(
    ("entry", "config", "status", "said"),
    [
        ({}, {}, 500, None),
        ({"door": "api", "runs": 2}, {}, 200, None),
        ({}, {"on_error": "ignore", "error_text": "Sorry."}, 200, None),
        ({}, {"on_error": "reply", "error_text": "Sorry."}, 200, b'{"text":"Sorry."}'),
        ({}, {"error_choice": "rejected"}, 200, b'{"approval_choice":"rejected"}'),
        ({}, {"error_text": "No.", "error_choice": "rejected"}, 200, b'{"text":"No.","approval_choice":"rejected"}'),
    ],
)
def test_the_last_failure_is_answered_by_the_error_text_where_there_is_one(
    entry: dict[str, Any], config: dict[str, Any], status: int, said: bytes | None
) -> None:
    row = {**FAILED, "runs": entry.get("runs", 1) + 1, "status": status}
    if said:
        row["answer"] = said
    outcome = Outcome(status, said or b"{}", "failed")
    assert completion(live_of(last=True, **entry), RunResult(failure=RAISED), **config) == (row, outcome, TOLD)


def test_the_error_text_of_an_acknowledged_failure_is_posted() -> None:
    row = {
        **RAN,
        "runs": 3,
        "failed": True,
        "due": 2000.0,
        "status": 200,
        "error": TOLD,
        "answer": b'{"text":"Sorry."}',
    }
    outcome = Outcome(200, b'{"text":"Sorry."}', "posting")
    assert completion(live_of(door="api", runs=2), RunResult(failure=RAISED), error_text="Sorry.") == (
        row,
        outcome,
        TOLD,
    )


@pytest.mark.parametrize("door", ["response", "api"])
def test_what_an_operator_cut_is_cancelled_and_says_nothing(door: str) -> None:
    row = {"updated": 2000.0, "state": "cancelled", "status": 200, "error": "cancelled by the operator"}
    assert completion(live_of(cut="cancel", door=door), None) == (row, Outcome(200, b"{}", "cancelled"), "")


@pytest.mark.parametrize(("door", "late"), [("response", "post"), ("api", "post"), ("api", "retry")])
def test_what_the_end_of_a_drain_cut_is_parked(door: str, late: str) -> None:
    """With `late = retry` too, where its last attempt was acknowledged: Pyrus does not come again."""
    row = {"updated": 2000.0, "state": "ready", "rerun": "drain", "due": 2000.0, "status": 200}
    if door == "response":
        row["door"] = "api"
    assert completion(live_of(cut="drain", door=door), None, late=late) == (row, Outcome(200, b"{}", "parked"), "")


def test_what_the_end_of_a_drain_cut_is_held_where_pyrus_shall_come_again() -> None:
    row = {"updated": 2000.0, "state": "ready", "rerun": "drain", "due": 2140.0, "status": 503}
    assert completion(live_of(cut="drain"), None, late="retry") == (row, Outcome(503, b"{}", "held"), "")


def test_what_a_call_past_its_time_returned_stands_beside_its_failure() -> None:
    entry = live_of(state="failed", failed=True, error="too slow").entry
    told = with_unsent(entry, b'{"text":"late \xff"}', 2000.0)
    error = 'too slow\nit returned after its time, and this was never sent: {"text":"late \ufffd"}'
    assert told == msgspec.structs.replace(entry, error=error, updated=2000.0)
    long = with_unsent(entry, b"x" * 30_000, 2000.0)
    assert long is not None
    assert long.error.count("x") == 20_000
    assert with_unsent(live_of().entry, SAID, 2000.0) is None, "it did not fail, or runs again"


def test_only_an_event_that_leaves_the_usual_course_has_a_history() -> None:
    def steps(tracked: TrackedEvent, ran: RunResult | None) -> list[tuple[str, int, str]]:
        said = complete(tracked.entry, tracked, BotConfig(name="one"), ran, NOW)
        return [(step.what, step.number, step.outcome) for step in steps_of(said.entry)]

    assert steps(live_of(listens=True, runs=0), RunResult(SAID)) == []
    assert steps(live_of(runs=0), RunResult(failure=RAISED)) == [("run", 1, "[bot:one] it raised")]
    assert steps(live_of(listens=True), RunResult(SAID)) == [("run", 2, "")]
    assert steps(live_of(runs=0, door="api"), RunResult(SAID)) == [("run", 1, "")]


def test_a_history_of_a_newer_version_is_kept_and_goes_on() -> None:
    newer = msgspec.msgpack.encode([["moved", 1.0, 1, 0, 0.0, "", "", "more"], ["run", 2.0]])
    of = msgspec.structs.replace(live_of().entry, history=newer)
    more = msgspec.structs.replace(of, history=with_step(of, HistoryStep("post", 3.0)))
    assert [step.what for step in steps_of(more)] == ["moved", "run", "post"]
    for unreadable, whats in ((newer, ["moved", "run", "post"]), (b"\xc1", ["post"])):
        both = merged(unreadable, msgspec.msgpack.encode([["post", 2.5]]))
        assert [step.what for step in steps_of(msgspec.structs.replace(of, history=both))] == whats
