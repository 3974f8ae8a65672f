"""A host of 100 bots with 22 kinds of trouble, asked what an operator asks."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.programs.troubled_host import MANY, SLOW, bring_about, make, send

from bothost.clock import SystemClock
from bothost.journal import open_journal
from bothost.journal.entry import Entry

pytestmark = pytest.mark.full

NOT_SERVING = {"config error", "plugin error", "quarantined", "stuck", "paused"}


@pytest.fixture
def troubled(tmp_path: Any) -> Any:
    host = make(tmp_path)
    yield host
    host.end()


def test_the_worst_are_on_top_and_each_says_what_to_do(troubled: Any) -> None:
    host = troubled.start()
    said = host.said("serves ")["message"]
    assert "of 99 bots (not serving: " in said
    assert "t01-no-plugin" in said
    bring_about(host)
    host.until(lambda: {row["bot"]: row["state"] for row in rows(host)}["t10-hangs"] == "stuck")
    host.until(lambda: by_name(host)["t12-no-login"]["unposted_replies"])
    found = rows(host)
    ranks = [rank(row) for row in found]
    assert ranks == sorted(ranks), [(row["bot"], rank(row)) for row in found[:30]]
    worst = [row["bot"] for row in found]
    # those that turn most deliveries away come first
    assert worst[:5] == ["t01-no-plugin", "t09-dies", "t10-hangs", "t02-bad-key", "t03-no-secret"]
    order = ["t01-no-plugin", "t11-paused", "t13-no-api", "t14-raises", "t19-blocks", "t20-wrong-key", "h02"]
    assert [name for name in worst if name in order] == order
    table = " ".join(host.text("bots").split())  # lines are broken at the width of the terminal
    for part in (
        "asks for the plugin 'nowhere', which is not installed",
        "is held by a run past timeout = 0.2s",
        "handlers.py:",
        "3 replies NOT posted within the hour, and tried again: bothost deliveries list --bot t13-no-api --state posting",
        "wrong signature of 4 of 4 in the last hour, from 127.0.0.1: is its secret the one in Pyrus?",
        "wrong signature of 1 of 13 in the last hour, from 127.0.0.1: probably a stranger",
        "bothost resume t11-paused",
    ):
        assert part in table, table
    listed = host.command("deliveries", "list", "--bot", "t13-no-api", "--state", "posting")
    assert len(listed) == 3, "the list that the table names shows them"
    assert all("at 127.0.0.1:1: Connection refused" in row["error"] for row in listed)


def test_a_restart_under_load_loses_no_reply_of_slow_bots_without_logins(troubled: Any) -> None:
    host = troubled.start()
    told: dict[int, list[tuple[int, str]]] = {}
    stopping = threading.Event()

    def deliver(number: int) -> None:
        bot = SLOW[number % len(SLOW)]
        for attempt in (1, 2, 3):
            try:
                answer = send(host, bot, 5000 + number, f"{attempt}/3")
            except OSError:
                answer = (0, "")  # between two processes nothing listens: Pyrus comes again
            told.setdefault(number, []).append(answer)
            if answer[0] == 200:
                return
            stopping.wait(30)
            time.sleep(2.0)

    with ThreadPoolExecutor(64) as senders:
        coming = []
        for number in range(120):
            coming.append(senders.submit(deliver, number))
            time.sleep(0.05)
            if number == 60:
                host.tell()
        assert host.wait(30) == 0
        host.start()
        stopping.set()
        for one in coming:
            one.result(120)
    ends = {number: answers[-1] for number, answers in told.items()}
    lost = {number: told[number] for number, end in ends.items() if end != (200, f"slow answer to {5000 + number}")}
    again = sum(len(answers) > 1 for answers in told.values())
    print(f"a restart under 20/s: {len(ends)} deliveries, {again} came again, {len(lost)} lost")
    assert not lost
    assert again


def test_a_thousand_failed_events_are_retried_in_bulk_once_each(troubled: Any) -> None:
    asyncio.run(fill(troubled.folder / "state", 1000))
    host = troubled.start()
    done = host.command("deliveries", "retry", "--bot", MANY, "--since", "2h", "--rate", "200/s", "--wait", "55s")
    assert done["outcomes"] == [{"outcome": "answered", "events": 1000, "why": ""}]
    runs = (host.folder / "silent-runs").read_text().splitlines()
    assert (len(runs), len(set(runs))) == (1000, 1000)


async def fill(folder: Any, count: int) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    journal = open_journal("", folder, SystemClock(), claims_first=False)
    await journal.open()
    now = time.time()
    for number in range(count):
        journal.note(
            Entry(
                id=f"{MANY}:{number}:comment:{number}", bot=MANY, task=number, turn=str(number), comment=number,
                state="failed", door="api", failed=True, error="handle raised OSError: down", fence=1, runs=1, status=200,
                created=now - 600 + number / 1000, updated=now,
            ),
            b'{"event":"comment","task_id":%d,"task":{"id":%d}}' % (number, number),
        )  # fmt: skip
    await journal.close()


def rows(host: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = host.command("bots", code=1)
    return found


def by_name(host: Any) -> dict[str, dict[str, Any]]:
    return {row["bot"]: row for row in rows(host)}


def rank(row: dict[str, Any]) -> int:
    """The order that the guide promises."""
    if row["state"] in NOT_SERVING:
        return 1 if row["state"] == "paused" else 0
    if row["unposted_replies"]:
        return 2
    if row["failed_runs_last_hour"]:
        return 3
    if row["blocked_s"]:
        return 4
    wrong = row["wrong_signatures_last_hour"]
    return 5 if wrong and wrong >= 0.2 * row["deliveries_last_hour"] else 6
