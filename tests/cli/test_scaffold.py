"""`bothost new`: names that work everywhere, files that are complete, nothing overwritten."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import stat
import tomllib
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from bothost.cli.new import new, taken
from bothost.cli.scaffold import ProjectNames, RecordedDelivery, files, is_taken, names
from bothost.errors import UsageError
from bothost.language import ENGLISH, RUSSIAN

if TYPE_CHECKING:
    from pathlib import Path


def free(_name: str) -> bool:
    return False


def test_a_good_name_gives_all_others() -> None:
    assert names("fresh-bot", free) == ProjectNames("fresh-bot", "fresh_bot", "FreshBot")
    assert names("invoices", free) == ProjectNames("invoices", "invoices", "Invoices")


@pytest.mark.parametrize(
    ("name", "why", "better"),
    [
        ("FreshBot", "not a name", "fresh-bot"),
        ("fresh bot", "not a name", "fresh-bot"),
        ("2fast", "not a name", "bot-2fast"),
        ("класс", "not a name", "my-bot"),
        ("class", "word of Python's own", "class-bot"),
        ("match", "word of Python's own", "match-bot"),
        ("json", "module that Python", "json-bot"),
        ("bothost", "module that Python", "bothost-bot"),
        ("../evil", "not a name", "evil"),
        ("a--b", "not a name", "a-b"),
        ("x" * 70, "not a name", "x" * 56),
    ],
)
def test_a_bad_name_is_refused_with_a_better_one(name: str, why: str, better: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        names(name, free)
    assert str(caught.value).endswith(f"`bothost new {better}`")
    assert names(better, free)


def test_the_name_of_an_installed_package_is_refused_in_any_spelling() -> None:
    installed = is_taken({"Autoreply", "some_thing"})
    with pytest.raises(UsageError, match=r"installed package or plugin.*autoreply-bot"):
        names("autoreply", installed)
    with pytest.raises(UsageError, match="some-thing-bot"):
        names("some-thing", installed)


def test_what_this_environment_has_is_taken() -> None:
    assert taken()("tornado")
    assert taken()("pytest-tornado")
    assert not taken()("surely-not-there")


def test_the_made_files_are_valid_and_complete() -> None:
    made = files(ProjectNames("fresh-bot", "fresh_bot", "FreshBot"), secret="s" * 32, version="0.1.0")
    assert set(made) == {
        "pyproject.toml", "README.md", "bots.ini", ".gitignore",
        "fresh_bot/__init__.py", "fresh_bot/py.typed", "tests/test_fresh_bot.py",
    }  # fmt: skip
    project = tomllib.loads(made["pyproject.toml"].decode())
    assert project["project"]["entry-points"]["bothost.plugins"] == {"fresh-bot": "fresh_bot:FreshBot"}
    assert project["tool"]["setuptools"]["packages"] == {"find": {"include": ["fresh_bot", "fresh_bot.*"]}}
    assert project["tool"]["pytest"]["ini_options"]["pythonpath"] == ["."]
    assert project["tool"]["mypy"]["enable_error_code"] == ["unused-awaitable"]
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(made["bots.ini"].decode())
    assert dict(ini["bot:fresh-bot"])["secret"] == "s" * 32
    for path in ("fresh_bot/__init__.py", "tests/test_fresh_bot.py"):
        ast.parse(made[path])
        assert b"$" not in made[path]


@pytest.mark.parametrize("recorded", [None, RecordedDelivery(b"{}", 5), RecordedDelivery(b"{}", None)])
def test_readme_and_remarks_are_in_the_language_of_the_terminal_and_nothing_else(
    recorded: RecordedDelivery | None,
) -> None:
    of = ProjectNames("fresh-bot", "fresh_bot", "FreshBot")
    english, russian = (
        files(of, secret="s" * 32, version="0.1.0", recorded=recorded, language=language)
        for language in (ENGLISH, RUSSIAN)
    )
    assert {path for path in english if english[path] != russian[path]} == {"README.md", "bots.ini"}
    told, said = english["README.md"].decode(), russian["README.md"].decode()
    for code in (r"(?s)```.*?```", r"`[^`\n]+`", r"(?m)^#+ "):
        assert sorted(set(re.findall(code, said))) == sorted(set(re.findall(code, told)))
    assert "`form`" in told or recorded is None or recorded.form_id is None
    remarks = "(?m)^; .*\n"
    ini = russian["bots.ini"].decode()
    assert re.sub(remarks, "", ini) == re.sub(remarks, "", english["bots.ini"].decode())
    assert len([remark for remark in re.findall(remarks, ini) if re.search("[а-я]", remark)]) == 2


def test_a_recorded_delivery_brings_its_form_and_a_test_with_it() -> None:
    recorded = RecordedDelivery(b'{"task_id": 1}', 2430001)
    made = files(
        ProjectNames("fresh-bot", "fresh_bot", "FreshBot"), secret="s" * 32, version="0.1.0", recorded=recorded
    )
    assert made["tests/delivery.json"] == recorded.body
    assert b'load("delivery.json")' in made["tests/test_fresh_bot.py"]
    assert b"bothost.bot(FreshBot, form=2430001)" in made["tests/test_fresh_bot.py"]
    assert b"form = 2430001" in made["bots.ini"]
    assert b'@on(form="settings.form")' in made["fresh_bot/__init__.py"]


def test_new_writes_a_folder_whose_secrets_only_the_owner_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(new, ["fresh-bot"])
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(os.stat(tmp_path / "fresh-bot/bots.ini").st_mode) == 0o600
    assert (tmp_path / "fresh-bot/fresh_bot/py.typed").exists()
    secret = (tmp_path / "fresh-bot/bots.ini").read_text().partition("secret = ")[2].splitlines()[0]
    assert len(secret) >= 32


def test_new_never_writes_into_an_existing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fresh-bot").mkdir()
    result = CliRunner().invoke(new, ["fresh-bot"])
    assert isinstance(result.exception, UsageError)
    assert list((tmp_path / "fresh-bot").iterdir()) == []


def test_a_delivery_that_no_plugin_would_get_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bot = {"id": 5, "type": "bot"}
    own = {"task_id": 1, "user_id": 5, "task": {"id": 1, "comments": [{"id": 2, "author": bot}]}}
    (tmp_path / "own.json").write_text(json.dumps(own))
    result = CliRunner().invoke(new, ["fresh-bot", "--from", "own.json"])
    assert isinstance(result.exception, UsageError)
    assert "newest comment is the bot's own" in str(result.exception)
    assert not (tmp_path / "fresh-bot").exists()
    asked = {**own, "task": {**own["task"], "approvals": [[{"person": bot, "approval_choice": "waiting"}]]}}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    assert CliRunner().invoke(new, ["fresh-bot", "--from", "asked.json"]).exit_code == 0


def test_a_file_that_is_no_delivery_is_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[1]")
    result = CliRunner().invoke(new, ["fresh-bot", "--from", "list.json"])
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "fresh-bot").exists()
