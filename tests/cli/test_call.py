"""`call` and `shell` ask a Pyrus on a real socket, as the bot."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from bothost.clock import SystemClock
from bothost.journal import open_journal
from bothost.journal.data import JournalData
from bothost.plugins.store import Store
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer

KEY = "a-key-for-trials-only"
LOGIN = "bot@7d985af9-b222-482f-928b-acf1ac50fddf"


@pytest.fixture
def pyrus(tmp_path: Path) -> Iterator[FakePyrus]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    fake = FakePyrus(SystemClock())
    fake.add_bot(LOGIN, KEY)
    fake.add_task({"id": 5, "text": "Привет"})

    async def serve() -> FakeServer:
        return FakeServer(fake)

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
    ini = tmp_path / "bots.ini"
    ini.write_text(
        f"[bot:refunds]\nplugin = autoreply\nsecret = {KEY}\nlogin = {LOGIN}\napi_url = {server.base_url}\n"
        f"[bot:nobody]\nplugin = autoreply\nsecret = {KEY}-2\n"
    )
    ini.chmod(0o600)
    yield fake
    asyncio.run_coroutine_threadsafe(server.refuse(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_call_prints_what_pyrus_answers_the_bot(pyrus: FakePyrus, run: Run) -> None:
    told = run("call", "refunds", "get", "tasks/5")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["task"]["text"] == "Привет"
    assert pyrus.titles() == ["POST auth", "GET tasks/5"]
    assert KEY not in told.stdout + told.stderr


def test_call_sends_a_body_and_a_query(pyrus: FakePyrus, run: Run, tmp_path: Path) -> None:
    (tmp_path / "comment.json").write_text('{"text": "from a file"}')
    assert run("call", "refunds", "POST", "tasks/5/comments", "--body", "@comment.json").returncode == 0
    assert [wrote.text for wrote in pyrus.comments()] == ["from a file"]
    pyrus.answer("GET forms/7/register", {"tasks": []})
    assert json.loads(run("call", "refunds", "GET", "forms/7/register", "item_count=1").stdout) == {"tasks": []}
    assert pyrus.requests[-1].query == {"item_count": "1"}


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["refunds", "GET", "tasks/6"], 1, "task 6 does not exist"),
        (["nobody", "GET", "tasks/5"], 2, "has no login"),
        (["refund", "GET", "tasks/5"], 2, "did you mean"),
        (["refunds", "GET", "tasks/5", "--body", "{}"], 2, "--body goes with POST and PUT"),
        (["refunds", "POST", "tasks", "--body", "[1]"], 2, "--body is a JSON object"),
        (["refunds", "POST", "tasks", "--body", "{"], 2, "--body is no JSON"),
        (["refunds", "POST", "tasks", "--body", "@nowhere.json"], 1, "nowhere.json: No such file or directory"),
        (["refunds", "GET", "https://api.pyrus.com/v4/tasks/5"], 2, "is not a path below Pyrus's base URL"),
        (["refunds", "DELETE", "../tasks/5"], 2, "is not a path below Pyrus's base URL"),
    ],
)
def test_what_cannot_be_asked_says_why(pyrus: FakePyrus, run: Run, words: list[str], code: int, why: str) -> None:
    told = run("call", *words)
    assert (told.returncode, why in told.stderr) == (code, True), told.stderr


def test_the_shell_asks_as_the_bot_and_holds_what_it_keeps(pyrus: FakePyrus, run: Run, tmp_path: Path) -> None:
    asyncio.run(keep(tmp_path / "state", "refunds", "balance", Decimal("7.50")))
    words = 'print(pyrus.task(5).wait().text)\nprint(store.get("balance").wait())\nstore.set("seen", [1]).wait()\n'
    told = run("shell", "refunds", stdin=words)
    assert told.returncode == 0, told.stderr
    assert "Привет" in told.stdout, told.stdout + told.stderr
    assert "7.50" in told.stdout, told.stdout + told.stderr
    assert run("store", "get", "refunds", "seen").stdout == "[1]\n"


def test_the_shell_of_a_bot_without_login_or_journal_says_what_is_not_there(pyrus: FakePyrus, run: Run) -> None:
    told = run("shell", "nobody", stdin='print("store" in dir())\npyrus.task(5).wait()\n')
    assert told.returncode == 0, told.stderr
    assert "[bot:nobody] has no login" in told.stderr
    assert "there is no store" in told.stderr
    assert "False" in told.stdout
    assert "NoLogin" in told.stderr


async def keep(state: Path, bot: str, key: str, value: object) -> None:
    """Write a value as a running host does, into a journal that is made here."""
    state.mkdir(mode=0o700)
    clock = SystemClock()
    journal = open_journal("", state, clock, claims_first=False)
    await journal.open()
    await Store(JournalData(journal, bot, clock), clock).set(key, value)
    await journal.close()
