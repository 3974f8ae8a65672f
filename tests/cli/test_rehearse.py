"""`bothost rehearse`: stored events through the installed plugin, without network, nothing posted, replies compared."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run

from bothost.clock import SystemClock
from bothost.journal import open_journal
from bothost.journal.entry import Entry

INI = "[bot:one]\nplugin = rehearsed\nsecret = a-secret-of-sixteen-or-more\nword = {word}\n"

PLUGIN = """
import socket
import subprocess
import urllib.request

from bothost import Event, Plugin, Reply, Settings


class Words(Settings):
    word: str


class Rehearsed(Plugin[Words]):
    async def handle(self, event: Event) -> Reply | None:
        text = event.task.text
        print("what a plugin prints disturbs nobody")
        if text == "raise":
            raise ValueError("no")
        if text == "connect":
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        if text == "hidden":
            try:
                urllib.request.urlopen("http://example.org")
            except Exception:
                return Reply("said nothing")
        if text == "program":
            subprocess.run(["true"])
        if text == "api":
            await event.pyrus.profile()
        if text == "own":
            await event.pyrus.comment(event.task_id, "by hand")
            return Reply((await event.pyrus.task(event.task_id)).text)
        if text == "when":
            return Reply(self.now().isoformat()[:16] + f" {event.rehearsal} {event.user_id}")
        if text == "silent":
            return None
        (self.folder / "scratch").write_text("x")
        return Reply(f"{self.settings.word}, {text}.")
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder from which the plugin is installed, as pip would have left it."""
    site = tmp_path / "site"
    info = site / "rehearsed-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rehearsed\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[bothost.plugins]\nrehearsed = rehearsed:Rehearsed\n")
    (site / "rehearsed.py").write_text(PLUGIN)
    return site


Play = Any


@pytest.fixture
def play(tmp_path: Path, site: Path, run: Run) -> Play:
    """Keep events (task text → the reply it got, or how it failed), then rehearse them; exit code and the command's JSON."""

    def play(events: dict[str, Any], word: str = "Hello", *more: str, bodies: bool = True) -> tuple[int, Any]:
        ini = tmp_path / "bots.ini"
        ini.write_text(INI.format(word=word))
        ini.chmod(0o600)
        asyncio.run(keep(tmp_path / "state", events, bodies=bodies))
        done = run("rehearse", "one", *more, PYTHONPATH=str(site))
        if "--json" in more:
            return done.returncode, json.loads(done.stdout)
        return done.returncode, done.stdout + done.stderr

    return play


NEVER_RAN = "expired: its bot did not come back"


async def keep(state: Path, events: dict[str, Any], *, bodies: bool) -> None:
    store = open_journal("", state, SystemClock(), claims_first=False)
    await store.open()
    now = SystemClock().now().timestamp()
    for number, (text, reply) in enumerate(events.items(), start=1):
        body = json.dumps({"task_id": number, "user_id": 900100, "task": {"id": number, "text": text}}).encode()
        entry = Entry(
            id=f"one:{number}:comment:{number}", bot="one", task=number, state="answered", delivered=True,
            seen_at=now, answer=json.dumps(reply).encode(), created=now - 3600 + number, updated=now,
        )  # fmt: skip
        if isinstance(reply, str):
            entry.state, entry.failed, entry.answer, entry.error = "failed", True, None, reply
            entry.runs = int(reply != NEVER_RAN)
        await store.save(entry, body if bodies else None)
    await store.close()


def verdicts(told: Any) -> dict[str, str]:
    return {event["id"].split(":")[1]: event["verdict"] for event in told["events"]}


def test_the_same_replies_are_good_news(play: Play) -> None:
    code, told = play({"Anna": {"text": "Hello, Anna."}, "silent": {}})
    assert code == 0, told
    assert "2 rehearsed: 2 same (no network" in told


def test_another_reply_is_shown_and_fails(play: Play) -> None:
    code, told = play({"Anna": {"text": "Hello, Anna.", "approval_choice": "approved"}}, word="Good day")
    assert code == 1
    assert "one:1:comment:1: differs" in told
    assert 'text: "Hello, Anna." → "Good day, Anna."' in told
    assert 'approval_choice: "approved" → –' in told


def test_a_handler_that_fails_now_is_named(play: Play) -> None:
    code, told = play({"raise": {"text": "x"}}, "Hello", "--json")
    assert code == 1
    assert told["events"][0]["verdict"] == "fails"
    assert "ValueError: no" in told["events"][0]["why"]


def test_a_handler_that_tries_to_leave_is_not_rehearsed(play: Play) -> None:
    silent = {"text": "said nothing"}
    code, told = play({"connect": silent, "hidden": silent, "program": silent, "api": silent}, "Hello", "--json")
    assert code == 0, told
    assert set(verdicts(told).values()) == {"not rehearsed"}
    reasons = [event["why"] for event in told["events"]]
    assert "socket." in reasons[0]
    assert "subprocess.Popen" in reasons[2]
    assert "GET profile" in reasons[3]


def test_the_event_is_played_at_its_own_time_with_its_own_task(play: Play) -> None:
    code, told = play({"own": {"text": "own"}, "when": {}}, "Hello", "--json")
    assert code == 1
    assert verdicts(told) == {"1": "same", "2": "differs"}
    then = SystemClock().now().timestamp() - 3600
    when, rehearsal, user_id = told["events"][1]["now"]["text"].split()
    assert abs(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp() - then) < 180
    assert (rehearsal, user_id) == ("True", "900100")


def test_bodies_that_are_gone_are_counted(play: Play) -> None:
    code, told = play({"Anna": {"text": "x"}}, bodies=False)
    assert code == 0
    assert "1 more skipped: 1 whose body is no longer kept" in told


def test_failed_events_are_rehearsed_too_and_what_never_ran_is_counted(play: Play) -> None:
    failure = "[bot:one] handle raised ValueError: no (rehearsed.py:7)"
    code, told = play({"raise": failure, "Anna": failure, "late": NEVER_RAN}, "Hello", "--json")
    assert code == 1
    assert {event["id"]: event["verdict"] for event in told["events"]} == {
        "one:1:comment:1": "same", "one:2:comment:2": "differs",
    }, [event["why"] for event in told["events"]]  # fmt: skip
    assert told["events"][1]["why"] == "it failed then, and replies now"
    assert told["skipped"] == {"never run": 1}


def test_a_plugin_that_cannot_be_loaded_is_said(play: Play, site: Path) -> None:
    (site / "rehearsed.py").write_text("import nothing_like_that\n")
    code, told = play({"Anna": {"text": "x"}})
    assert code == 1
    assert "nothing_like_that" in told


def test_an_unknown_bot_is_a_wrong_command_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bots.ini").write_text(INI.format(word="x"))
    assert run("rehearse", "onne").returncode == 2
