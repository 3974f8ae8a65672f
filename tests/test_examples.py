"""Each example under examples/ is whole: its bots.ini passes `check`, its bot answers the demo, and its README tells its settings."""

from __future__ import annotations

import configparser
import json
import re
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from tests.cli.conftest import Run, bothost_command, run

from bothost.config import HOST_BOT_KEYS

__all__ = ["bothost_command", "run"]

EXAMPLES = sorted(path.parent for path in (Path(__file__).parent.parent / "examples").glob("*/bots.ini"))
FILES = {"README.md", "bots.ini", "pyproject.toml", "tests"}


def test_every_folder_is_a_whole_distribution() -> None:
    folders = {path for path in EXAMPLES[0].parent.iterdir() if path.is_dir()}
    assert folders == set(EXAMPLES)
    for folder in EXAMPLES:
        package = folder.name.replace("-", "_")
        assert {path.name for path in folder.iterdir()} >= FILES | {package}
        assert (folder / package / "py.typed").exists()
        assert entry_points(group="bothost.plugins", name=folder.name), "make .venv/.dev installs the examples"


def test_the_configuration_of_each_example_passes_check(run: Run, tmp_path: Path) -> None:
    text = "\n".join((folder / "bots.ini").read_text("utf-8") for folder in EXAMPLES)
    ini = tmp_path / "bots.ini"
    ini.write_text(text.replace("sample-secret-", "the-key-of-this-test-"))
    ini.chmod(0o600)
    told = json.loads(run("check", "--json").stdout)
    assert told == {"ok": True, "bots": len(EXAMPLES), "problems": [], "warnings": []}


@pytest.mark.full
def test_each_example_answers_the_demo(run: Run, tmp_path: Path) -> None:
    text = "\n".join((folder / "bots.ini").read_text("utf-8") for folder in EXAMPLES)
    (tmp_path / "bots.ini").write_text("[host]\nport = 0\noperator_port = 0\n" + text)
    rows = json.loads(run("demo", "--once", "--json").stdout)["deliveries"]
    assert {row["bot"]: row["status"] for row in rows} == {folder.name: 200 for folder in EXAMPLES}
    assert not [row for row in rows if row["reply"] == {}], "the demo shows what the bot does"


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_the_readme_lists_the_settings_of_the_example(folder: Path) -> None:
    (plugin,) = entry_points(group="bothost.plugins", name=folder.name)
    cells = re.findall(r"^\| `(\w+)` \|", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    assert cells == list(import_module(plugin.module).Rules.__annotations__)
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(folder / "bots.ini", "utf-8")
    assert set(ini[f"bot:{folder.name}"]) - HOST_BOT_KEYS <= set(cells)
