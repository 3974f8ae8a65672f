"""`--help` and the shells' completions are said in the terminal's language, whole, and within 80 columns."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import get_args

import click
import pytest
from click.shell_completion import ZshComplete
from tests.language.leaks import english_left

from bothost.cli.commands import TABLE, bothost
from bothost.journal.entry import Phase
from bothost.language.russian_help import HELP

AROUND = {
    "Usage", "Options", "Commands", "Example", "OPTIONS", "COMMAND", "ARGS", "INTEGER", "INTEGER RANGE", "TEXT", "env var",
    "default", "required",
}  # fmt: skip
"""Click's own words around the texts."""


@pytest.fixture(params=("ru_RU.UTF-8", "C.UTF-8"))
def locale(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LC_ALL", request.param)
    monkeypatch.setenv("COLUMNS", "80")
    return str(request.param)


def commands(command: click.Command = bothost, name: str = "bothost") -> Iterator[tuple[str, click.Command]]:
    """Every command and group, by the words that call it."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner is not None
            yield from commands(inner, f"{name} {word}")


def texts() -> set[str]:
    """Every paragraph and every option's help, in one line."""
    found = [source.help for source in TABLE.values()]
    for _, command in commands():
        found += inspect.cleandoc(command.help or "").split("\n\n")
        context = click.Context(command, help_option_names=["-h", "--help"])
        found += [getattr(param, "help", None) or "" for param in command.get_params(context)]
    return {" ".join(text.split()) for text in found} - {""}


def test_every_text_of_a_help_has_its_russian_and_no_other_is_kept() -> None:
    wanted = texts() | AROUND
    assert wanted - HELP.keys() == set(), "add the Russian in core/bothost/language/russian_help.py"
    assert HELP.keys() - wanted == set(), "no help says this any more"


def test_the_russian_keeps_options_values_and_code_as_they_are() -> None:
    for english in HELP.keys() - AROUND:
        for part in re.findall(r"`[^`]+`|--[a-z-]+|\b[A-Z]{3,}\b|\b\d[\w:+-]*", english):
            assert part in HELP[english], english


def test_every_help_is_whole_and_within_80_columns(locale: str) -> None:
    for name, command in commands():
        said = command.get_help(command.context_class(command, info_name=name, help_option_names=["-h", "--help"]))
        assert max(map(len, said.splitlines())) <= 80, said
        assert not re.search(r"\w\.\.\.", said), said
        if locale == "C.UTF-8":
            assert not re.search("[а-яё]", said), said
            continue
        texts_only = re.sub(r"bothost [\w ]+|(?m:^  -.*?  )|(?m:^  \w+  )|\[[a-z_|]+\]|Пример: (?s:.*)", " ", said)
        assert set(english_left(" ".join(texts_only.split()))) <= {"traceback", *get_args(Phase)}, said


def test_the_reference_of_the_site_stays_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "ru_RU.UTF-8")
    for name, command in commands():
        assert not re.search("[а-яё]", command.get_help(click.Context(command, info_name=name)))


def test_a_shell_shows_what_it_completes_in_the_terminals_language(locale: str) -> None:
    shell = ZshComplete(bothost, {}, "bothost", "_BOTHOST_COMPLETE")
    for before, begun in (([], "de"), (["journal"], "b"), (["send"], "--fre")):
        (found, *_) = shell.get_completions(list(before), begun)
        assert bool(re.search("[а-яё]", found.help or "")) == (locale != "C.UTF-8"), found
        assert "..." not in (found.help or "")
