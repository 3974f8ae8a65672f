"""An author's first minutes, in a clean environment with the wheel of the host: new, install, test, serve."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The host's wheel, built outside the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "core", source / "core", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (source / "docs").mkdir()
    for name in ("operator-guide.md", "security.md"):
        shutil.copy(ROOT / "docs" / name, source / "docs")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", "."], cwd=source, check=True)
    [wheel] = (source / "dist").glob("*.whl")
    return wheel


@pytest.mark.full
@pytest.mark.alone
def test_a_new_bot_is_tested_and_served_at_once(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "env"], cwd=tmp_path, check=True)
    tools = tmp_path / "env" / "bin"

    def run(folder: Path, *command: str) -> str:
        done = subprocess.run(
            [tools / command[0], *command[1:]], cwd=folder, capture_output=True, text=True, check=False, timeout=300,
            env={"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(tmp_path, "pip", "install", "-q", str(wheel))
    run(tmp_path, "bothost", "new", "fresh-bot")
    folder = tmp_path / "fresh-bot"
    run(folder, "pip", "install", "-q", "-e", ".[test]")
    assert "3 passed" in run(folder, "pytest", "-q")
    run(folder, "bothost", "check")
    told = run(folder, "bothost", "demo", "--once")
    assert "fresh-bot" in told
