"""The guides and the code say the same: keys, commands, options, metrics, names; and what the guides show runs."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import bothost
from bothost.cli.commands import TABLE
from bothost.cli.commands import bothost as command_line
from bothost.config import HOST_BOT_KEYS, HOST_KEYS, read
from bothost.plugins import run_hooks
from bothost.telemetry.metrics.families import NAMES

ROOT = Path(__file__).parent.parent
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
OPERATOR = ROOT / "docs" / "operator-guide.md"
PLUGIN = ROOT / "docs" / "plugin-guide.md"
READMES = sorted([*(ROOT / "plugins").glob("*/README.md"), *(ROOT / "examples").rglob("README.md")])
EVERYWHERE = {"--help", "--json", "--config"}


class Block(NamedTuple):
    """A fenced block of a guide."""

    guide: Path
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.guide.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    return list(_blocks(languages))


def _blocks(languages: tuple[str, ...]) -> Iterator[Block]:
    for guide in GUIDES:
        text = guide.read_text("utf-8")
        for match in re.finditer(r"^( *)```(\w+)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
            if match[2] in languages:
                yield Block(guide, text.count("\n", 0, match.start()) + 1, match[2], match[3])


def chapter(guide: Path, title: str) -> str:
    """The text below a heading, up to the next one of its rank."""
    text = guide.read_text("utf-8")
    rank = title.split(" ", maxsplit=1)[0]
    begin = text.index(f"\n{title}\n") + len(title) + 2
    end = re.compile(rf"^#{{1,{len(rank)}}} ", re.MULTILINE).search(text, begin)
    return text[begin : end.start() if end else len(text)]


def first_cells(text: str) -> set[str]:
    """What stands in backticks in the first column of a chapter's tables."""
    cells = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_the_guide_lists_the_keys_of_host_and_no_others() -> None:
    assert first_cells(chapter(OPERATOR, "### `[host]`")) == set(HOST_KEYS)


def test_the_guide_lists_the_keys_of_a_bot_and_no_others() -> None:
    assert first_cells(chapter(OPERATOR, "### `[bot]` and `[bot:NAME]`")) == set(HOST_BOT_KEYS)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, groups within too."""
    waiting = [(name, command_line.get_command(click.Context(command_line), name)) for name in TABLE]
    while waiting:
        name, command = waiting.pop(0)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            waiting += [(f"{name} {inner}", command.commands[inner]) for inner in command.commands]


def test_the_guide_lists_the_commands_and_no_others() -> None:
    shown = {
        " ".join(re.findall(r"^[a-z]+|(?<= )[a-z]+", cell.removeprefix("bothost ")))
        for cell in first_cells(chapter(OPERATOR, "## The command line"))
    }
    assert shown == {name for name, command in commands() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_the_guide_names_every_option_of_a_command(name: str) -> None:
    command = dict(commands())[name]
    rows = [
        line for line in chapter(OPERATOR, "## The command line").splitlines() if line.startswith(f"| `bothost {name}")
    ]
    options = {
        option
        for param in command.params
        if isinstance(param, click.Option)
        for option in param.opts
        if option.startswith("--")
    }
    missing = {option for option in options - EVERYWHERE if not any(option in row for row in rows)}
    assert not missing


def test_the_guides_show_no_command_and_no_option_that_does_not_exist() -> None:
    known = dict(commands())
    wrong = []
    for guide in GUIDES:
        shown_here = re.findall(r"`(bothost [^`]+)`", guide.read_text("utf-8"))
        for block in blocks("sh"):
            shown_here += re.findall(r"^(bothost .*)$", block.text, re.MULTILINE) if block.guide == guide else []
        for shown in shown_here:
            words = shlex.split(shown.split("#")[0].split("|")[0].replace("…", ""), posix=False)[1:]
            if not words or not re.fullmatch(r"[a-z]+", words[0]):
                continue
            name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
            if name is None:
                wrong.append(f"{guide.name}: bothost {words[0]}")
                continue
            options = {option for param in known[name].params for option in param.opts} | {"--help"}
            wrong += [
                f"{guide.name}: bothost {name} {word}"
                for word in words
                if word.startswith("--") and word.split("=")[0] not in options
            ]
    assert not wrong


def test_the_guide_lists_the_metrics_and_no_others() -> None:
    assert first_cells(chapter(OPERATOR, "## Metrics")) == set(NAMES)


def test_the_plugin_guide_names_all_that_authors_import() -> None:
    text = PLUGIN.read_text("utf-8")
    code = " ".join([*re.findall(r"`([^`\n]+)`", text), *re.findall(r"```python\n(.*?)```", text, re.DOTALL)])
    assert not set(bothost.__all__) - set(re.findall(r"\w+", code))


def test_the_plugin_guide_names_every_attribute_of_an_event() -> None:
    from bothost import Event

    attributes = {name for name in dir(Event) if not name.startswith("_")}
    named = set(re.findall(r"`(?:event\.)?([a-z_]+)`", PLUGIN.read_text("utf-8")))
    named |= set(re.findall(r"event\.([a-z_]+)", PLUGIN.read_text("utf-8")))
    assert not attributes - named


def test_the_sites_reference_has_a_place_for_every_public_name() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "site" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    listed = [name for names in reference.NAMES.values() for name in names]
    assert sorted(listed) == bothost.__all__, "docs/site/reference.py lists them under its headings"


def test_links_between_the_documents_lead_somewhere() -> None:
    wrong = []
    for guide in [*GUIDES, *sorted((ROOT / "docs").rglob("*.md")), *READMES]:
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", guide.read_text("utf-8"))
        wrong += [
            f"{guide.name}: {name}" for name in targets if "://" not in name and not (guide.parent / name).exists()
        ]
    assert not wrong


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    named = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index)}
    pages = {*(ROOT / "docs").rglob("*.md"), *READMES, *ROOT.glob("*.md")}
    assert pages - named == {ROOT / "docs" / "README.md"}


def test_a_package_index_gets_a_readme_without_links_that_lead_nowhere_there() -> None:
    page = distribution("bothost").read_text("METADATA") or ""
    assert "make demo" in page
    assert not [name for name in re.findall(r"\]\(([^)\s]+)", page) if "://" not in name]


@pytest.mark.parametrize("block", blocks("ini"), ids=lambda block: block.id)
def test_the_configurations_of_the_guides_are_right(block: Block, tmp_path: Path) -> None:
    text = block.text
    if not re.search(r"^\[", text, re.MULTILINE):
        text = f"[bot:example]\n{text}"
    for name in re.findall(r"env:(\w+)", text):
        text = text.replace(f"env:{name}", f"secret-of-{name}-for-this-test")
    text = re.sub(r"file:\S+", "secret-in-a-file-for-this-test", text)
    (tmp_path / "bots.ini").write_text(text)
    reading = read(tmp_path / "bots.ini", {})
    problems = [str(problem) for problem in reading.all_problems()]
    assert not [text for text in problems if "names no plugin" not in text and "has no secret" not in text]


def file_of(block: Block) -> str | None:
    """A block whose first line is a comment with a path is that file."""
    match = re.match(r"# ([\w/]+\.py)\n", block.text)
    return match[1] if match else None


@pytest.mark.parametrize(
    "block", [block for block in blocks("python") if file_of(block) is None], ids=lambda block: block.id
)
def test_the_code_of_the_guides_runs(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_hooks, "_hooks", {})  # those of a guide must not stand around the runs of other tests
    source = "from bothost import *\n" + block.text
    exec(compile(source, block.id, "exec"), {"__name__": "guide"})


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.id)
def test_no_setting_in_a_guide_has_the_name_of_a_key_of_the_hosts(block: Block) -> None:
    for body in re.findall(r"^class \w+\(Settings\):\n((?: {4}.*\n|\n)*)", block.text, re.MULTILINE):
        assert not HOST_BOT_KEYS.intersection(re.findall(r"^ {4}(\w+):", body, re.MULTILINE))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_the_packages_of_a_guide_pass_their_tests(guide: Path, tmp_path: Path) -> None:
    files = [(file_of(block), block.text) for block in blocks("python") if block.guide == guide]
    written = False
    for name, text in files:
        if name is None:
            continue
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() + "\n\n" if path.exists() else "") + text)
        written |= "test_" in name
    if not written:
        return
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:tornado", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--import-mode=importlib", "-o", "pythonpath=.", "."],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def tree_as_cloned(folder: Path) -> Path:
    """What a clone would hold of this tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        tree = folder / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".venv", "*.egg-info", "__pycache__", "state"))
        return tree
    for name in listed.rstrip("\0").split("\0"):
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "tree" / name)
    return folder / "tree"


def shell(folder: Path, script: str) -> str:
    others = ("VIRTUAL_ENV", "PYTHON", "MAKE", "COLUMNS")
    cleared = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, check=False, env=cleared
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.full
def test_the_readme_works_to_the_letter_in_a_fresh_clone(tmp_path: Path) -> None:
    tree = tree_as_cloned(tmp_path)
    assert "This task approved by bot." in shell(tree, "make demo ARGS=--once")
    [first_bot] = [
        block.text for block in blocks("sh") if block.guide.name == "README.md" and "bothost new" in block.text
    ]
    told = shell(tree, first_bot)
    assert "3 passed" in told
    assert "Hello, tester papirus." in told


def test_each_decision_has_its_own_number_and_a_line_in_the_index() -> None:
    records = sorted(path.name for path in (ROOT / "docs/decisions").glob("*.md"))
    numbers = [name.split("-")[0] for name in records]
    assert sorted(set(numbers)) == numbers
    index = (ROOT / "docs/README.md").read_text()
    assert [name for name in records if f"- [{name.split('-')[0]}](decisions/{name})" not in index] == []
