"""bash, zsh and fish complete commands, options, bots and files, by the lines that the operator guide names."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from bothost.cli.commands import bothost
from bothost.clock import SystemClock
from bothost.journal.entry import Entry
from bothost.journal.sqlite.journal import SqliteJournal

BOTHOST = [sys.executable, "-c", "import sys; from bothost.cli import main; sys.argv[0] = 'bothost'; main()"]


def ask(instruction: str, **variables: str) -> str:
    env = {**os.environ, "_BOTHOST_COMPLETE": instruction, **variables}
    return subprocess.run(BOTHOST, env=env, capture_output=True, text=True, check=False).stdout


def keep_event_of(bot: str, state: Path) -> None:
    """A journal that holds a failed event of a bot."""

    async def work() -> None:
        store = SqliteJournal(state, SystemClock(), claims_first=False)
        await store.open()
        assert await store.save(Entry(id=f"{bot}:5:comment:7", bot=bot, task=5, state="failed", failed=True), b"{}")
        await store.close()

    state.mkdir(0o700)
    asyncio.run(work())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_understands_its_script(shell: str) -> None:
    script = ask(f"{shell}_source")
    assert f"_BOTHOST_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_the_command_itself_answers_a_shell() -> None:
    answer = ask("bash_complete", COMP_WORDS="bothost deliveries retry --ag", COMP_CWORD="3")
    assert answer.splitlines() == ["plain,--again"]


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("del", ["deliveries"]),
        ("pause h", ["hello", "help"]),
        ("send hel", ["hello", "help"]),
        ("deliveries list --bot o", ["other"]),
        ("bots --config other.ini e", ["elsewhere"]),
        ("pause --config missing.ini h", []),
        ("send hello bo", ["a file: bo"]),
        ("check --config bo", ["a file: bo"]),
        ("deliveries move --to o", ["other"]),
        ("deliveries move --from r", ["renamed"]),
        ("deliveries move --config missing.ini --from r", []),
        ("demo --from re", ["a file: re"]),
        ("journal copy st", ["a dir: st"]),
        ("journal copy state ot", ["a dir: ot"]),
        ("call hello GET tasks/5 --as f", ["finance"]),
    ],
)
def test_commands_bots_and_files_are_completed(
    words: str, completed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bots.ini").write_text(
        "[bot:hello]\nplugin = no\n[bot:help]\nnonsense = 1\n[bot:other]\nplugin = no\n"
        "[account:finance]\nlogin = bot@finance\nkey = a-key-for-trials-only\n"
    )
    if "move" in words:
        keep_event_of("renamed", tmp_path / "state")
    (tmp_path / "other.ini").write_text("[bot:elsewhere]\nplugin = no\n")
    *before, begun = words.split()
    found = BashComplete(bothost, {}, "bothost", "_BOTHOST_COMPLETE").get_completions(before, begun)
    assert [one.value if one.type == "plain" else f"a {one.type}: {one.value}" for one in found] == completed
