"""bash, zsh and fish complete commands and options, by the lines that the operator guide names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

BOTHOST = [sys.executable, "-c", "import sys; from bothost.cli import main; sys.argv[0] = 'bothost'; main()"]


def ask(instruction: str, **variables: str) -> str:
    env = {**os.environ, "_BOTHOST_COMPLETE": instruction, **variables}
    return subprocess.run(BOTHOST, env=env, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_understands_its_script(shell: str) -> None:
    script = ask(f"{shell}_source")
    assert f"_BOTHOST_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "at", "completed"),
    [("bothost del", 1, "plain,deliveries"), ("bothost deliveries retry --ag", 3, "plain,--again")],
)
def test_commands_and_options_are_completed(words: str, at: int, completed: str) -> None:
    assert completed in ask("bash_complete", COMP_WORDS=words, COMP_CWORD=str(at)).splitlines()
