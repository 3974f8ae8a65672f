"""Decide by the state table what an entry becomes when its run has ended. Values go in, and a value comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from bothost.journal.history import HistoryStep, with_step
from bothost.pipeline.attempts import RERUN_AFTER_S, RUNS
from bothost.pipeline.delivery import NOTHING, OWN_WORK, Outcome
from bothost.pyrus.reply.reply import encode

if TYPE_CHECKING:
    from bothost.config import BotConfig
    from bothost.journal.entry import Door, Entry
    from bothost.pipeline.event_table import TrackedEvent
    from bothost.runners import RunFailure, RunResult

FailedState = Literal["held", "parked", "posting", "failed"]


@dataclass(frozen=True, slots=True)
class FailureDecision:
    """The consequence of a failed run: the next state, the waiting deliveries' answer, and when it is due again."""

    state: FailedState
    status: int
    speaks: bool = False
    """True if the error text is the answer."""
    due_in_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """A bot's `on_error`, and whether it has an error text."""

    on_error: Literal["retry", "ignore", "reply"]
    speaks: bool


OWN_POLICY = ErrorPolicy("retry", speaks=False)
"""The policy for jobs and requests from elsewhere, because nobody in a task waits for them."""


def after_failure(
    policy: ErrorPolicy, failure: RunFailure, *, door: Door, last: bool, runs: int, again_already: bool = False
) -> FailureDecision:
    """Decide by the state table. `runs` counts this run, `last` means that Pyrus will not come again, `again_already` that
    the host had run it again by itself."""
    again = policy.on_error == "retry" and failure.may_rerun and runs < RUNS
    if door == "api":
        if again:
            return FailureDecision("parked", 200, due_in_s=RERUN_AFTER_S[again_already])
        if policy.on_error != "ignore" and policy.speaks:
            return FailureDecision("posting", 200, speaks=True)
        return FailureDecision("failed", 200)
    if again and not last:
        return FailureDecision("held", 500)
    if policy.on_error == "ignore":
        return FailureDecision("failed", 200)
    if policy.speaks:
        return FailureDecision("failed", 200, speaks=True)
    return FailureDecision("failed", 500)


_KEPT = 20_000
"""The most characters that are kept of a reply that came too late."""


class Completion(msgspec.Struct, frozen=True):
    """The entry after the run, the waiting deliveries' answer, and the log's text of a failure."""

    entry: Entry
    outcome: Outcome
    failure: str = ""


class RunEnd(msgspec.Struct, frozen=True):
    """The time when the run ended (epoch seconds), and the seconds after its last delivery until an event is quiet."""

    now: float
    quiet_s: float
    can_log_in: bool = True
    """True if the bot has a login. Then a later process can post the reply of a run that was cut."""


def complete(row: Entry, tracked: TrackedEvent, config: BotConfig, ran: RunResult | None, moment: RunEnd) -> Completion:
    """Decide what the row becomes. If `ran` is None, the run was cut, and `tracked.cut` says why."""
    if ran is None:
        return _cut(row, tracked, config, moment)
    entry = msgspec.structs.replace(row, updated=moment.now, runs=row.runs + 1, ms=tracked.entry.ms)
    if ran.failure is not None:
        entry.history = with_step(entry, HistoryStep("run", moment.now, entry.runs, 0, entry.ms, ran.failure.text))
        return _failed(entry, tracked, config, ran.failure, moment)
    if entry.runs > 1 or entry.door == "api":
        entry.history = with_step(entry, HistoryStep("run", moment.now, entry.runs, 0, entry.ms))
    if entry.rerun != "manual":  # after an operator's retry the page goes on to show the old error
        entry.error = ""
    if entry.kind == "timer" or (entry.door == "api" and ran.reply == NOTHING):
        entry.state, entry.answer = "answered", NOTHING
        return Completion(entry, Outcome(200, NOTHING, "silent"))
    entry.answer = ran.reply
    if entry.door == "api":
        entry.due = moment.now
        return Completion(entry, Outcome(200, NOTHING, "late"))
    entry.state, entry.status = "answered", 200
    entry.delivered = tracked.heard
    entry.due = entry.seen_at + moment.quiet_s
    return Completion(entry, Outcome(200, ran.reply, "silent" if ran.reply == NOTHING else "replied"))


def error_reply(config: BotConfig) -> bytes:
    """Return the comment that a bot's error text and choice make. The bot has at least one of them."""
    reply = {"text": config.error_text, "approval_choice": config.error_choice}
    return encode({key: value for key, value in reply.items() if value})


def policy_of(config: BotConfig) -> ErrorPolicy:
    """Return a bot's rules for failed runs as a value."""
    return ErrorPolicy(config.on_error, bool(config.error_text or config.error_choice))


def _failed(entry: Entry, tracked: TrackedEvent, config: BotConfig, failure: RunFailure, moment: RunEnd) -> Completion:
    entry.error = f"{failure.text}\n{failure.trace}".rstrip()
    if entry.kind == "timer":
        entry.state = "failed"
        return Completion(entry, Outcome(200, NOTHING, "failed"), entry.error)
    verdict = after_failure(
        OWN_POLICY if entry.kind in OWN_WORK else policy_of(config), failure, door=entry.door, last=tracked.last, runs=entry.runs,
        again_already=tracked.stored and _ran_again(entry),
    )  # fmt: skip
    if verdict.state in ("held", "parked"):
        entry.rerun = "crash" if failure.why == "died" else "error"
    return Completion(*_by_verdict(entry, verdict, config, moment), failure=entry.error)


def _ran_again(entry: Entry) -> bool:
    """Return whether this run came after a failed one. A crash without a death of the host was that of the bot's process."""
    return entry.rerun == "error" or (entry.rerun == "crash" and not entry.deaths)


def with_unsent(entry: Entry, returned: bytes, now: float) -> Entry | None:
    """Return the failed entry with the reply of a call past its time, which is never sent; None if the run has not failed."""
    if not entry.failed:
        return None
    told = f"it returned after its time, and this was never sent: {returned.decode('utf-8', 'replace')[:_KEPT]}"
    return msgspec.structs.replace(entry, error=f"{entry.error}\n{told}", updated=now)


def _by_verdict(entry: Entry, verdict: FailureDecision, config: BotConfig, moment: RunEnd) -> tuple[Entry, Outcome]:
    body = error_reply(config) if verdict.speaks else NOTHING
    entry.status = verdict.status
    if verdict.state == "held":
        entry.state, entry.due = "ready", entry.seen_at + moment.quiet_s
    elif verdict.state == "parked":
        entry.state, entry.due = "ready", moment.now + verdict.due_in_s
    elif verdict.state == "posting":
        entry.answer, entry.failed, entry.due = body, True, moment.now
    else:
        entry.state, entry.failed = "failed", True
        entry.answer = body if verdict.speaks else None
    return entry, Outcome(verdict.status, body, verdict.state)


def _cut(row: Entry, tracked: TrackedEvent, config: BotConfig, moment: RunEnd) -> Completion:
    entry = msgspec.structs.replace(row, updated=moment.now)
    if tracked.cut == "cancel":
        entry.state, entry.error, entry.status = "cancelled", "cancelled by the operator", 200
        return Completion(entry, Outcome(200, NOTHING, "cancelled"))
    entry.state, entry.rerun = "ready", "drain"
    if entry.door == "response" and config.late == "post" and tracked.last and not moment.can_log_in:
        entry.state, entry.failed, entry.status = "failed", True, 500
        entry.error = f"cut off by the end of the drain; no later run could reply, because {entry.bot} has no login"
        return Completion(entry, Outcome(500, NOTHING, "failed"), entry.error)
    if entry.door == "api" or (config.late == "post" and moment.can_log_in):
        entry.door, entry.due, entry.status = "api", moment.now, 200
        return Completion(entry, Outcome(200, NOTHING, "parked"))
    entry.due, entry.status = entry.seen_at + moment.quiet_s, 503
    return Completion(entry, Outcome(503, NOTHING, "held"))
