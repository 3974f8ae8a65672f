"""Move an entry when its owner is gone, when it is quiet, or when an operator asks. Entries go in and come out as values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from bothost.errors import JournalError
from bothost.journal.history import HistoryStep, with_step

if TYPE_CHECKING:
    from bothost.journal.entry import Entry, JournalTiming

DEATHS = 3
"""The number of deaths of its process after which an entry is not run again by itself."""
ATTEMPTS = 3
"""The number of Pyrus's attempts (protocol §1.4)."""
ATTEMPT_EACH_S = 61.0
"""The seconds from one attempt to the next."""
SHUT_S = 900.0
"""The longest time for which a gate is shut, whatever was written into it."""
NOTHING = b"{}"

STOPPED = "the host stopped before the outcome was recorded; Pyrus may have it"
KILLED = "killed its process 3 times"
EXPIRED = "expired: its bot did not come back"
CANCELLED = "cancelled by the operator"
REPLACED = "replaced or cancelled by the plugin"


def reaped(entry: Entry, *, dead: bool, now: float, timing: JournalTiming) -> Entry:
    """Return a running entry as it goes on after its owner died or, with `dead` false, lost its lease."""
    freed = msgspec.structs.replace(entry, state="ready", owner="", updated=now)
    if entry.cancel:
        return msgspec.structs.replace(freed, state="cancelled", error=CANCELLED)
    if entry.answer is not None and entry.door == "api":
        pause_s = timing.dead_pause_s if dead else timing.lost_pause_s
        return msgspec.structs.replace(freed, due=now + pause_s if entry.post_begun else now)
    died = HistoryStep("host died", now, entry.deaths + 1)
    freed = msgspec.structs.replace(
        freed, rerun="crash", deaths=entry.deaths + 1, answer=None, history=with_step(entry, died)
    )
    if entry.door == "response" and entry.kind == "hook":
        freed.due = entry.seen_at + timing.quiet_s
        freed.error = ""  # the error of an earlier run; nobody knows how this run ended
    elif freed.deaths >= DEATHS:
        freed.state, freed.failed, freed.error = "failed", True, KILLED
    else:
        freed.due = now
    return freed


def given_back(entry: Entry, *, now: float, timing: JournalTiming) -> Entry:
    """Return a running entry, which this owner claimed without hearing of it, as one for which nothing was run."""
    freed = msgspec.structs.replace(entry, state="ready", owner="", updated=now, due=now)
    if entry.answer is None and entry.door == "response" and entry.kind == "hook":
        freed.due = entry.seen_at + timing.quiet_s
    return freed


def quieted(entry: Entry, now: float) -> Entry:
    """Return an entry to which Pyrus did not come back: held as failed, undelivered as to be posted or, if empty, as delivered."""
    calm = msgspec.structs.replace(entry, owner="", updated=now)
    if entry.state == "ready":
        # with `crash` and an error only the bot's own process died, and the host lived on
        stopped = entry.rerun == "drain" or not entry.error
        return msgspec.structs.replace(calm, state="failed", failed=True, error=STOPPED if stopped else entry.error)
    if entry.answer is None or entry.answer == NOTHING:
        return msgspec.structs.replace(calm, delivered=True)
    return msgspec.structs.replace(calm, state="ready", door="api", due=now)


def expired(entry: Entry, now: float) -> Entry:
    """Return a parked entry as failed, because its bot did not come back."""
    return msgspec.structs.replace(entry, state="failed", failed=True, owner="", error=EXPIRED, updated=now)


def retried(entry: Entry, *, has_body: bool, now: float, timing: JournalTiming, who: str = "") -> Entry:
    """Return an entry, which is not answered, as an operator's retry leaves it. Raises JournalError with the reason if refused."""
    if entry.state == "running":
        raise JournalError(f"{entry.id} runs at this moment; retry it when it has ended")
    _refuse_before_pyrus(entry, now, timing)
    history = with_step(entry, HistoryStep("retried", now, who=who))
    again = msgspec.structs.replace(
        entry, state="ready", door="api", due=now, owner="", cancel=False, updated=now, history=history
    )
    if entry.state == "ready" and entry.door == "api":
        return again
    if entry.answer is not None and not entry.failed and entry.door == "api":
        again.post_begun = 0.0
        return again
    if not has_body and entry.kind != "timer":
        raise JournalError(f"{entry.id} cannot run again: its body is no longer stored")
    return msgspec.structs.replace(again, answer=None, failed=False, posted=0, post_begun=0.0, rerun="manual", deaths=0)


def _refuse_before_pyrus(entry: Entry, now: float, timing: JournalTiming) -> None:
    """Raise JournalError if Pyrus has attempts left for an event that nobody acknowledged, because it comes again by itself."""
    if comes_again(entry, now, timing):
        comes = now + ATTEMPT_EACH_S - (now - entry.seen_at) % ATTEMPT_EACH_S
        at = datetime.fromtimestamp(comes, UTC).astimezone().strftime("%H:%M %Z")
        raise JournalError(f"{entry.id} was not acknowledged: Pyrus comes again at {at}")


def comes_again(entry: Entry, now: float, timing: JournalTiming) -> bool:
    """Return whether Pyrus has attempts left for an event that nobody acknowledged."""
    answered = 200 <= entry.status < 300
    if entry.kind != "hook" or entry.door == "api" or answered or entry.state == "cancelled":
        return False
    return entry.seen < ATTEMPTS and now < entry.seen_at + timing.quiet_s


def refuse_changed(entry: Entry, revision: int) -> None:
    """Raise JournalError unless the entry stands at the revision at which it was chosen; 0 takes any."""
    if revision and entry.revision != revision:
        raise JournalError(f"{entry.id} has changed meanwhile: somebody else has it in hand")


def refuse_answered(entry: Entry) -> None:
    """Raise JournalError, because an answered event is run again only as a new one."""
    raise JournalError(f"{entry.id} was answered; --again runs it once more, as a new entry")


def run_again(entry: Entry, key: str, now: float, who: str = "") -> Entry:
    """Return the new entry that `retry --again` makes of an answered event."""
    fresh = msgspec.structs.replace(entry, history=None)
    return msgspec.structs.replace(
        entry, id=key, kind="manual" if entry.kind in ("hook", "missed") else entry.kind, state="ready", door="api", due=now, fence=0, owner="", tries=0, seen=0,
        seen_at=0.0, runs=0, deaths=0, rerun="manual", cancel=False, delivered=False, status=0, answer=None,
        failed=False, error="", post_begun=0.0, posted=0, ms=0.0, created=now, updated=now,
        history=with_step(fresh, HistoryStep("sent again", now, outcome=entry.id, who=who)),
    )  # fmt: skip


def cancelled(entry: Entry, now: float, who: str = "") -> Entry:
    """Return an entry as cancelled, or with a wish to cancel that its owner reads. Raises JournalError if nothing is left."""
    history = with_step(entry, HistoryStep("cancelled", now, who=who))
    if entry.state == "running":
        return msgspec.structs.replace(entry, cancel=True, updated=now, history=history)
    if entry.state == "ready":
        return msgspec.structs.replace(
            entry, state="cancelled", owner="", error=CANCELLED, updated=now, history=history
        )
    raise JournalError(f"{entry.id} is {entry.state}: there is nothing to cancel")


def taken(bucket: tuple[float, float] | None, want: int, pace: tuple[float, float], at: float) -> tuple[float, float]:
    """Take from a bucket (tokens, filled at) that fills by `pace` (per second, cap). Return tokens left and seconds to wait.

    Nothing is taken if there are not enough. After a reboot, when the clock began anew, the bucket counts as full. Below zero
    a bucket holds seconds for which it is shut, so that every reader waits as long, whatever its pace.
    """
    rate_per_s, cap = pace
    tokens, filled_at = bucket if bucket is not None and bucket[1] <= at else (cap, at)
    if tokens < 0:
        opens_at = filled_at + min(-tokens, SHUT_S)
        if at < opens_at:
            return at - opens_at, opens_at - at + min(float(want), cap) / rate_per_s
        tokens, filled_at = 0.0, opens_at
    have = min(cap, tokens + (at - filled_at) * rate_per_s)
    missing = min(float(want), cap) - have
    if missing <= 0:
        return have - min(float(want), cap), 0.0
    return have, missing / rate_per_s
