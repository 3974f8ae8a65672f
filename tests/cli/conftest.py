"""The command line is tested as it is used: the installed command, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def bothost_command() -> str:
    """The console script of this environment."""
    return str(Path(sys.executable).parent / "bothost")


@pytest.fixture
def run(bothost_command: str, tmp_path: Path) -> Run:
    """Run `bothost …` in the test's folder, with nothing on its standard input; what it printed and its exit code."""

    def run(*args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        cleared = {key: value for key, value in os.environ.items() if key not in ("PORT", "BOTHOST_ADDRESS")}
        return subprocess.run(
            [bothost_command, *args],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**cleared, "COLUMNS": "200", **env},
        )

    return run
