"""`bothost deliveries`, `pause`, `resume`, `token` beside a journal that is in use."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from bothost.cli.selection import moment
from bothost.clock import SystemClock
from bothost.journal import Journal, open_journal
from bothost.journal.entry import Entry
from bothost.pyrus.samples import sample

SECRET = "a-secret-of-sixteen-or-more"


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    file = tmp_path / "bots.ini"
    file.write_text(
        f"[bot:one]\nplugin = autoreply\nsecret = {SECRET}\n[bot:two]\nplugin = autoreply\nsecret = {SECRET}2\n"
    )
    file.chmod(0o600)
    return file


@pytest.fixture
def beside(ini: Path) -> Callable[[Callable[[Journal], Awaitable[None]]], None]:
    """Do something while this process holds the journal as a host does."""

    def beside(work: Callable[[Journal], Awaitable[None]]) -> None:
        async def inside() -> None:
            store = open_journal("", ini.parent / "state", SystemClock(), claims_first=False)
            await store.open()
            try:
                await work(store)
            finally:
                await store.close()

        asyncio.run(inside())

    return beside


def entry(number: int, **keys: object) -> Entry:
    now = SystemClock().now().timestamp()
    made = {
        "id": f"one:{number}:comment:{number + 1}",
        "bot": "one",
        "task": number,
        "state": "answered",
        "delivered": True,
        "seen": 3,
        "seen_at": now,
        "answer": b'{"text": "done"}',
        "created": now + number / 1000,
        "updated": now,
        "ms": 12.34,
        **keys,
    }
    return Entry(**made)  # type: ignore[arg-type]


def body(number: int) -> bytes:
    return json.dumps(sample(SystemClock().now(), number)).encode()


FAILED = {
    "state": "failed",
    "answer": None,
    "error": "ValueError: \x1b[31mno\nTraceback",
    "door": "api",
    "delivered": False,
}

Beside = Callable[[Callable[[Journal], Awaitable[None]]], None]


def test_the_list_shows_newest_first_and_narrows(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        await store.save(entry(5), body(5))
        await store.save(entry(6, **FAILED), body(6))
        await store.save(entry(7, id="two:7:comment:8", bot="two"), body(7))
        rows = json.loads(run("deliveries", "--json").stdout)
        assert [row["task"] for row in rows] == [7, 6, 5]
        assert [row["state"] for row in rows] == ["answered", "failed", "answered"]
        failed = json.loads(run("deliveries", "list", "--state", "failed", "--json").stdout)
        assert [row["task"] for row in failed] == [6]
        assert json.loads(run("deliveries", "list", "--bot", "two", "--since", "1h", "--json").stdout)[0]["task"] == 7
        assert json.loads(run("deliveries", "list", "--until", "2020-01-31", "--json").stdout) == []
        assert "2026-01-31" in run("deliveries", "list", "--since", "2026-31-01").stderr
        table = run("deliveries").stdout
        assert "ValueError" in table
        assert "\x1b" not in table
        assert "Traceback" not in table

    beside(scene)


def test_one_delivery_is_shown_with_request_reply_and_error(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        await store.save(entry(5), body(5))
        told = json.loads(run("deliveries", "show", "one:5:comment:6", "--json").stdout)
        assert told["reply"] == {"text": "done"}
        assert told["request"]["task_id"] == 5
        assert told["attempts"] == 3
        text = run("deliveries", "show", "one:5:comment:6").stdout
        assert "test@pyrus.com" in text

    beside(scene)


def test_the_facts_of_a_delivery_are_told_in_russian_and_the_bots_name_is_not(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        await store.save(entry(5, id="own:5:comment:6", bot="own", door="api", version="new"), body(5))
        text = run("deliveries", "show", "own:5:comment:6", LC_ALL="ru_RU.UTF-8").stdout
        facts = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in text.splitlines()[:13] if "  " in line)
        assert (facts["бот"], facts["версия плагина"]) == ("own", "new")
        assert (facts["состояние"], facts["путь ответа"]) == ("отвечено", "API Pyrus")

    beside(scene)


def test_a_delivery_that_is_not_there_is_exit_code_1(run: Run, beside: Beside) -> None:
    async def scene(_: Journal) -> None:
        done = run("deliveries", "show", "one:1:comment:1")
        assert done.returncode == 1
        assert "there is no delivery" in done.stderr

    beside(scene)


def test_a_mistyped_id_bot_or_state_is_answered_with_the_near_one(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        await store.save(entry(5), body(5))
        for verb in ("show", "retry", "cancel", "export"):
            done = run("deliveries", verb, "one:5:coment:6")
            assert done.returncode == 1
            assert "there is no delivery one:5:coment:6 (did you mean 'one:5:comment:6'?)" in done.stderr
        assert "bothost deliveries list --task 5 shows a task's" in run("deliveries", "show", "#5").stderr
        wrong = run("deliveries", "list", "--bot", "onee")
        assert (wrong.returncode, "did you mean 'one'?" in wrong.stderr) == (2, True)
        assert run("deliveries", "list", "--bot", "two").returncode == 0, "a bot without deliveries is no mistake"
        wrong = run("deliveries", "list", "--state", "fail")
        assert (wrong.returncode, "did you mean 'failed'?" in wrong.stderr) == (2, True)

    beside(scene)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["show", "one:\udcff"], r"'one:\udcff' is no text: it holds bytes that are not UTF-8"),
        (["list", "--bot", "\udcff"], "is no text"),
        (["retry", "--error", "x", "--task", "9" * 20], "is not in the range"),
    ],
)
def test_words_that_no_journal_can_hold_are_a_wrong_command_line(
    run: Run, beside: Beside, words: list[str], part: str
) -> None:
    async def scene(_store: Journal) -> None:
        done = run("deliveries", *words)
        assert (done.returncode, part in done.stderr) == (2, True), done.stderr

    beside(scene)


def test_a_moment_has_its_own_zone_or_utc() -> None:
    for text in ("2026-01-31T10:00+03:00", "2026-01-31T07:00"):
        assert moment("--since", text)(0.0) == datetime(2026, 1, 31, 7, tzinfo=UTC).timestamp()


def test_an_id_can_be_copied_from_a_narrow_terminal_and_the_error_stands_below(run: Run, beside: Beside) -> None:
    key = "one:123456789012345:comment:123456789012346"
    error = "[bot:one] answer raised KeyError: 'the rates of a currency that nobody has heard of' (rates.py:5)"

    async def scene(store: Journal) -> None:
        await store.save(entry(6, **{**FAILED, "id": key, "task": 123456789012345, "error": error}), body(6))
        narrow = run("deliveries", COLUMNS="60").stdout
        assert key in narrow
        told = [line.strip() for line in narrow.splitlines() if line.startswith("    ")]
        assert " ".join(told) == error.removeprefix("[bot:one] ")
        assert max(map(len, told)) < 60
        (wide,) = [line for line in run("deliveries", COLUMNS="250").stdout.splitlines() if key in line]
        assert wide.endswith("(rates.py:5)")

    beside(scene)


def test_a_posted_reply_shows_its_comment_and_the_last_status(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        await store.save(entry(5, door="api", posted=77, tries=2, status=200), body(5))
        told = json.loads(run("deliveries", "show", "one:5:comment:6", "--json").stdout)
        assert (told["comment"], told["tries"], told["status"], told["due"], told["deaths"]) == (77, 2, 200, None, 0)
        text = run("deliveries", "show", "one:5:comment:6").stdout
        assert "comment         77\n" in text
        assert "deaths" not in text

    beside(scene)


def test_a_failed_run_is_retried_and_an_answered_one_needs_again(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        await store.save(entry(5), body(5))
        await store.save(entry(6, **FAILED), body(6))
        refused = run("deliveries", "retry", "one:5:comment:6")
        assert refused.returncode == 1
        assert "--again" in refused.stderr
        assert json.loads(run("deliveries", "retry", "one:6:comment:7", "--json").stdout)["state"] == "parked"
        again = json.loads(run("deliveries", "retry", "one:5:comment:6", "--again", "--json").stdout)
        assert again["id"] == "one:5:comment:6~2"
        found = await store.find("one:6:comment:7")
        assert found is not None
        assert (found.state, found.rerun) == ("ready", "manual")
        cancelled = run("deliveries", "cancel", "one:6:comment:7")
        assert cancelled.returncode == 0
        assert "cancelled" in cancelled.stdout

    beside(scene)


def test_a_pause_is_a_fact_in_the_journal_and_resume_takes_it_back(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        assert run("pause", "one", "--reason", "why not").returncode == 0
        assert (await store.controls())["pause:one"] == "why not"
        run("pause", "one", "--task", "7")
        assert "pause:one:7" in await store.controls()
        await store.control("quarantine:one", "3 deaths")
        assert run("resume", "one").returncode == 0
        assert list(await store.controls()) == ["pause:one:7"]
        run("resume", "one", "--task", "7")
        assert not await store.controls()
        assert "was not paused" in run("resume", "one").stdout
        wrong = run("pause", "onne")
        assert wrong.returncode == 2
        assert "did you mean 'one'?" in wrong.stderr

    beside(scene)


def test_an_export_masks_people_and_tokens(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        await store.save(entry(5), body(5))
        done = run("deliveries", "export", "one:5:comment:6")
        assert json.loads(done.stdout)["task"]["id"] == 5
        for private in ("sample-token", "tester", "test@"):
            assert private not in done.stdout

    beside(scene)


def test_an_export_as_a_test_is_run_at_once(run: Run, beside: Beside, tmp_path: Path) -> None:
    async def scene(store: Journal) -> None:
        reply = b'{"text": "Hello, test@pyrus.com. This task approved by bot.", "approval_choice": "approved"}'
        await store.save(entry(5, answer=reply), body(5))
        done = run("deliveries", "export", "one:5:comment:6", "--test", "--name", "leave")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the test passes" in done.stdout
        assert "free texts are kept" in done.stdout
        assert stat.S_IMODE((tmp_path / "leave.json").stat().st_mode) == 0o600
        assert (tmp_path / "test_leave.py").exists()
        again = run("deliveries", "export", "one:5:comment:6", "--test", "--name", "leave")
        assert again.returncode == 1
        assert "exists already" in again.stderr
        replaced = run("deliveries", "export", "one:5:comment:6", "--test", "--texts", "--name", "other")
        assert replaced.returncode == 0, replaced.stdout + replaced.stderr
        assert "free texts are replaced" in replaced.stdout

    beside(scene)


def test_without_a_journal_nothing_is_made(run: Run, ini: Path) -> None:
    for command in (["deliveries"], ["pause", "one"], ["token"], ["token", "--new"]):
        done = run(*command)
        assert done.returncode == 1
        assert "state" in done.stderr
    assert [path.name for path in ini.parent.iterdir()] == ["bots.ini"]


def test_the_token_is_shown_and_replaced_where_the_host_made_one(run: Run, ini: Path) -> None:
    state = ini.parent / "state"
    state.mkdir(mode=0o700)
    file = state / "operator-token"
    file.write_text("the-first-one\n")
    file.chmod(0o600)
    assert run("token").stdout == "the-first-one\n"
    made = run("token", "--new").stdout.strip()
    assert file.read_text() == made + "\n"
    assert len(made) == 43
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_as_root_the_command_line_becomes_the_folders_owner(bothost_command: str) -> None:
    async def scene(state: Path) -> None:
        store = open_journal("", state, SystemClock(), claims_first=False)
        await store.open()
        await store.save(entry(5), body(5))
        await store.close()

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "bots.ini").write_text("[bot:one]\nplugin = x\nsecret = env:NONE\n")
        asyncio.run(scene(folder / "state"))
        for path in [folder / "state", *(folder / "state").rglob("*")]:
            os.chown(path, 65534, 65534)
        for command in (["deliveries"], ["pause", "one"]):
            done = subprocess.run([bothost_command, *command], cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        assert {path.stat().st_uid for path in (folder / "state").rglob("*")} == {65534}


def test_the_list_is_quick_with_many_entries(run: Run, beside: Beside) -> None:
    async def scene(store: Journal) -> None:
        for number in range(2_000):
            store.note(entry(number), b"{}")
        await store.save(entry(1, id="last", **FAILED), b"{}")
        began = os.times()
        rows = json.loads(run("deliveries", "list", "--state", "failed", "--json").stdout)
        assert [row["id"] for row in rows] == ["last"]
        ended = os.times()
        # the command's own CPU: how long it waits for a processor is the machine's affair
        assert ended.children_user + ended.children_system - began.children_user - began.children_system < 2.5

    beside(scene)
