"""The plugin guide's first chapter, followed to the letter: its commands are typed and its files are saved, in their order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "plugin-guide.md"
FILE_NAME = re.compile(r"^[#;] (\S+)\n")


def steps() -> list[tuple[str, str]]:
    """The chapter's blocks: a language and its text."""
    chapter = GUIDE.read_text("utf-8").partition("\n## From an empty folder")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a newcomer's shell: an empty venv, and this tree's wheel where pip looks for packages."""
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", ROOT]
    subprocess.run(build, check=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # what lies there would come back into a later wheel
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BOTHOST", "PYTEST", "PYTHONPATH"))}
    path = f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "PIP_FIND_LINKS": str(tmp_path / "dist"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.mark.full
def test_the_guides_first_bot_is_made_as_the_guide_says(tmp_path: Path, shell: dict[str, str]) -> None:
    folder, said = tmp_path, ""
    for language, text in steps():
        if language == "sh":
            done = subprocess.run(
                ["bash", "-ec", f"{text}\npwd >{tmp_path}/folder"],
                cwd=folder, env=shell, capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
            said = done.stdout + done.stderr
            assert done.returncode == 0, said
            folder = Path((tmp_path / "folder").read_text().strip())
        else:
            name = FILE_NAME.match(text)
            assert name is not None, f"no file is named in {text!r}"
            path = folder / name[1]
            assert path.exists(), f"{name[1]} is no file that `bothost new` makes"
            path.write_text(text)
    assert "3 passed" in said
    assert re.search(r"leave +200", said), said


def test_the_guide_shows_every_step(tmp_path: Path) -> None:
    languages = [language for language, _ in steps()]
    assert languages == ["sh", "python", "python", "ini", "sh"]
