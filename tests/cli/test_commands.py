"""What holds for every command: help with an example, near names, exit codes, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.cli.conftest import Run

from bothost.cli.commands import TABLE, bothost


def test_without_a_command_the_help_lists_them_all(run: Run) -> None:
    done = run()
    assert done.returncode == 2
    for name in TABLE:
        assert f"\n  {name}" in done.stdout


@pytest.mark.parametrize("name", TABLE)
def test_every_command_has_a_help_with_an_example_and_json(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"Example: bothost {name}" in done.stdout
    if "Commands:" not in done.stdout or name == "deliveries":  # a group's commands have it each
        assert "--json" in done.stdout


def test_a_wrong_command_is_answered_with_the_near_one(run: Run) -> None:
    done = run("chekc")
    assert done.returncode == 2
    assert "did you mean 'check'?" in done.stderr
    assert done.stdout == ""


def test_a_wrong_option_is_answered_with_the_near_one(run: Run) -> None:
    done = run("check", "--confg", "x")
    assert done.returncode == 2
    assert "--config" in done.stderr


def test_under_json_an_error_is_json_too(run: Run) -> None:
    done = run("check", "--config", "nowhere.ini", "--json")
    assert done.returncode == 1
    assert "nowhere.ini" in json.loads(done.stdout)["problems"][0]["file"]


def _leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            found = command.get_command(context, word)
            assert found is not None
            yield from _leaves(found, f"{name} {word}".strip())
    else:
        yield name, command


def test_the_environment_names_the_configuration_of_every_command(run: Run, tmp_path: Path) -> None:
    """Only `new` has no configuration."""
    lacking = [
        name
        for name, command in _leaves(bothost, "")
        if not any(one.envvar == "BOTHOST_CONFIG" for one in command.params)
    ]
    assert lacking == ["new"]
    for words in (("bots",), ("deliveries", "list"), ("dev",)):
        for wrong in (tmp_path / "folder" / "none.ini", tmp_path):
            done = run(*words, BOTHOST_CONFIG=str(wrong))
            assert (done.returncode, str(wrong) in done.stderr) in ((1, True), (2, True)), done


def test_a_file_that_cannot_be_used_is_named_first(run: Run, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file, not a folder")
    done = run("deliveries", "list", "--config", str(tmp_path / "there" / "bots.ini"))
    assert "Errno" not in done.stderr
    assert f"{tmp_path}/there/bots.ini" in done.stderr


def test_help_imports_neither_the_journal_nor_the_server(run: Run) -> None:
    done = run("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    for module in ("sqlite3", "tornado", "prometheus_client", "rich.console", "asyncpg"):
        assert f" {module}\n" not in done.stderr


def test_the_version_is_the_packages(run: Run) -> None:
    import bothost

    assert run("--version").stdout == f"bothost {bothost.__version__}\n"
