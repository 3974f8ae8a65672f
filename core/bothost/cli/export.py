"""Export an event as a test of its plugin: masked request, expected reply, and a test that is run at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.bot_status import judge
from bothost.cli.output import say, show_data, show_json
from bothost.cli.selection import bot_named, read_existing
from bothost.errors import BothostError, UsageError
from bothost.operator.anonymize import Anonymizer
from bothost.plugins.settings import Secret

if TYPE_CHECKING:
    from bothost.journal.entry import Entry

TEST = '''\
"""A recorded delivery and the reply it got, exported with everything masked that names people."""

import json
from pathlib import Path

from bothost.testing import Harness

RECORDED = json.loads(Path(__file__).with_name("{name}.json").read_text("utf-8"))


def test_{name}(bothost: Harness) -> None:
    bot = bothost.bot(RECORDED["plugin"], **RECORDED["settings"])
    answer = bot.deliver(RECORDED["request"])
    assert answer.json == RECORDED["reply"]
'''
HIDDEN = "a-secret-that-was-masked"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of `deliveries export`."""

    test: bool
    texts: bool
    name: str | None

    def make(self, entry: Entry, body: bytes, config: str, *, as_json: bool) -> int:
        """Print the masked request, or write the test and run it. Return the exit code."""
        masks = Anonymizer(texts=self.texts)
        request = masks.body(body)
        if not self.test:
            show_json(request) if as_json else click.echo(_encoded(request))
            return OK
        reply = masks.reply(json.loads(entry.answer or b"{}"))
        name = self._name(entry)
        recorded = {**_bot_of(entry, config), "request": request, "reply": reply}
        files = {f"{name}.json": _encoded(recorded), f"test_{name}.py": TEST.format(name=name)}
        _write(files)
        passed, told = _run(Path(f"test_{name}.py"))
        if as_json:
            show_json({"files": sorted(files), "passes": passed, "texts": "replaced" if self.texts else "kept"})
        else:
            _tell(sorted(files), passed, told, texts=self.texts)
        return OK if passed else PROBLEM

    def _name(self, entry: Entry) -> str:
        name = self.name or re.sub(r"\W+", "_", f"{entry.bot}_{entry.task}_{entry.id.rpartition(':')[2]}"[:80])
        if not re.fullmatch(r"[a-z0-9_]+", name, re.ASCII):
            raise UsageError(f"--name {name!r} is not a name for a test: small letters, digits and _")
        return name


def _bot_of(entry: Entry, config: str) -> dict[str, Any]:
    """Return the plugin and its present settings, those of type Secret hidden."""
    reading = read_existing(config)
    bot = bot_named(entry.bot, reading)
    judged = next(one for one in judge(reading, Path(config).absolute().parent) if one.config is bot)
    if judged.plugged is None:
        raise BothostError(f"[bot:{bot.name}] {judged.reason}")
    typed = judged.plugged.settings
    settings = {
        key: HIDDEN if isinstance(getattr(typed, key, None), Secret) else text for key, text in bot.settings.items()
    }
    return {"plugin": bot.plugin, "settings": settings}


def _encoded(value: Any) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.Encoder(decimal_format="number").encode(value), indent=2).decode()


def _write(files: dict[str, str]) -> None:
    """Write into the present folder. Nothing is overwritten, and only the owner can read the data."""
    taken = [name for name in files if Path(name).exists()]
    if taken:
        raise BothostError(f"{', '.join(taken)} exists already: give another --name")
    for name, content in files.items():
        mode = 0o666 if name.endswith(".py") else 0o600
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(content if content.endswith("\n") else content + "\n")


def _run(test: Path) -> tuple[bool, str]:
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(test.parent.absolute()), str(test)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def _tell(files: list[str], passed: bool, told: str, *, texts: bool) -> None:
    say(f"wrote {', '.join(files)}")
    replaced = "free texts are replaced; the reply keeps the bot's own words: check that they quote no part of a text"
    say(replaced if texts else "free texts are kept as they were: --texts replaces them")
    say("the test passes" if passed else "the test fails: the bot answers otherwise now, or needs more settings")
    if not passed:
        show_data(told.strip(), err=True)
