"""Many events by one command: a plan, each event once, a table of outcomes."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from tests.cli.conftest import Run

from bothost.clock import SystemClock
from bothost.journal import open_journal
from bothost.journal.entry import Entry, EntryFilter

SECRET = "key-of-the-bot-one-0123456789"
BODY = b'{"event":"comment","task_id":5,"task":{"id":5}}'


def write(folder: Path) -> None:
    (folder / "bots.ini").write_text(
        f"[bot:one]\nplugin = autoreply\nsecret = {SECRET}\nlogin = bot@example.com\n"
        f"[bot:bare]\nplugin = autoreply\nsecret = {SECRET}-bare\n"
    )
    (folder / "state").mkdir(mode=0o700)


def fill(folder: Path, entries: list[Entry]) -> None:
    async def work() -> None:
        journal = open_journal("", folder / "state", SystemClock(), claims_first=False)
        await journal.open()
        for entry in entries:
            journal.note(entry, BODY)
        await journal.close()

    asyncio.run(work())


def rows(folder: Path) -> list[Entry]:
    async def work() -> list[Entry]:
        journal = open_journal("", folder / "state", SystemClock(), claims_first=False, readonly=True)
        await journal.open()
        found = await journal.list(EntryFilter(limit=5000))
        await journal.close()
        return list(found)

    return asyncio.run(work())


def failed(number: int, bot: str = "one", error: str = "handle raised ValueError: boom") -> Entry:
    now = time.time()
    return Entry(
        id=f"{bot}:{number}:comment:{number}", bot=bot, task=number, turn=str(number), comment=number, state="failed",
        door="api", failed=True, error=error, fence=1, runs=1, status=200, created=now - 60 + number / 1000, updated=now,
    )  # fmt: skip


def test_a_thousand_failed_events_are_retried_once_each(run: Run, tmp_path: Path) -> None:
    write(tmp_path)
    fill(tmp_path, [failed(number) for number in range(1000)])
    done = run("deliveries", "retry", "--bot", "one", "--since", "2h", "--rate", "1000/s", "--wait", "0s")
    assert done.returncode == 0, done.stderr
    assert "1000 events to retry" in done.stdout
    assert "900 of 1000" in done.stderr
    assert {(row.state, row.rerun) for row in rows(tmp_path)} == {("ready", "manual")}
    again = json.loads(run("deliveries", "retry", "--bot", "one", "--since", "2h", "--wait", "0s", "--json").stdout)
    assert again == {"verb": "retry", "events": [], "left_out": {}}


def test_the_plan_comes_first_and_leaves_out_what_cannot_be_posted(run: Run, tmp_path: Path) -> None:
    write(tmp_path)
    moved = failed(7, error="the step has moved on")
    moved.failed, moved.answer = False, b'{"text":"fine"}'
    comes_again = failed(8, error="other")
    comes_again.door, comes_again.status, comes_again.seen, comes_again.seen_at = "response", 500, 1, time.time()
    fill(tmp_path, [failed(1), failed(2, error="other"), failed(3, "bare"), failed(4, "gone"), moved, comes_again])
    shown = run("deliveries", "retry", "--state", "failed", "--dry-run").stdout
    assert "2 events to retry" in shown
    assert "left out: 1 bare has no login, so no reply could be posted; set one first" in shown
    assert "left out: 1 the step has moved on or the task is closed" in shown
    assert "left out: 1 gone is not in bots.ini, so nothing would run; put its section back first" in shown
    assert "left out: 1 not acknowledged, so Pyrus comes again by itself" in shown
    assert {row.state for row in rows(tmp_path)} == {"failed"}
    told = json.loads(run("deliveries", "retry", "--error", "BOOM", "--bot", "one", "--wait", "0s", "--json").stdout)
    assert told["events"] == ["one:1:comment:1"]
    assert told["outcomes"] == [{"outcome": "parked", "events": 1, "why": ""}]
    assert "bare has no login" in run("deliveries", "retry", "bare:3:comment:3").stderr


def test_many_are_cancelled_and_what_has_ended_is_left_alone(run: Run, tmp_path: Path) -> None:
    write(tmp_path)
    parked = [failed(number) for number in (1, 2)]
    for entry in parked:
        entry.state, entry.failed, entry.error = "ready", False, ""
    fill(tmp_path, [*parked, failed(3)])
    done = run("deliveries", "cancel", "--bot", "one", "--wait", "0s")
    assert "2 events to cancel" in done.stdout
    assert sorted(row.state for row in rows(tmp_path)) == ["cancelled", "cancelled", "failed"]


def test_a_choice_is_wanted_and_a_rate_must_be_one(run: Run, tmp_path: Path) -> None:
    write(tmp_path)
    assert "name an ID, or choose many" in run("deliveries", "retry").stderr
    assert "write 5/s or 300/min" in run("deliveries", "retry", "--bot", "one", "--rate", "fast").stderr
