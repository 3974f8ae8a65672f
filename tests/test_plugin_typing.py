"""What a type checker tells a plugin's author: right plugins are clean under mypy strict, and each slip is an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

RIGHT = """
from collections.abc import Awaitable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, assert_type

from bothost import Answer, Event, GiveUp, Plugin, Reply, Secret, Settings, Tick, cron, every, on, sign

class Rules(Settings):
    limit: Decimal = Decimal(100_000)
    chief: str
    api_key: Secret

rules = Rules(chief="x", api_key=Secret("s"))

def greet(event: Event) -> Reply:
    return Reply(text=f"Hello, {event.task.author.email}.", approval_choice="approved")

class Approvals(Plugin[Rules]):
    async def open(self) -> None:
        self.count = 0

    def close(self) -> None: ...

    @on(form="settings.form", step=[2, 3])
    async def check(self, event: Event) -> Reply | None:
        assert_type(self.settings, Rules)
        assert_type(self.settings.api_key.reveal(), str)
        amount = event.task.value("Сумма", Decimal)
        assert_type(amount, Decimal | None)
        if amount is None:
            return Reply("No amount", approvals_added={2: [self.settings.chief, 5]}, due=datetime.now(UTC))
        return Reply.approve("yes") if amount <= self.settings.limit else Reply.reject("no", field_updates={"a": 1, 5: None})

    @on(kind="close")
    def closed(self, event: Event) -> dict[str, Any]:
        return {"text": sign(event.body, self.settings.api_key.reveal())}

    @on(form=1)
    def wrapped(self, event: Event) -> Awaitable[Answer]:
        raise GiveUp("why")

    def handle(self, event: Event) -> str:
        return event.id

    async def number(self) -> int:
        return 5

    async def kept(self, event: Event) -> None:
        assert_type(await event.once("async", self.number), int)
        assert_type(await event.once("lambda", lambda: self.number()), int)
        assert_type(await event.once("plain", lambda: "text"), str)

    @cron("5 8 * * *", tz="Europe/Moscow")
    async def remind(self) -> None:
        self.log.info("now %s", self.now("Europe/Moscow"))

    @every("15m")
    def sweep(self, tick: Tick) -> None:
        assert_type(tick.due, datetime)
        (self.folder / "x").write_text(self.bot)

class Bare(Plugin):
    async def handle(self, event: Event) -> Reply | None:
        return None

class PlainOverAsync(Approvals):
    def handle(self, event: Event) -> str:
        return "x"
"""

WRONG = """
from bothost import Event, Plugin, Reply, Settings, cron, every, on

class Rules(Settings):
    limit: int
    name: str = ""

Rules("x")  # E: positional
Rules(limit="x")  # E: limit
Rules()  # E: limit
Reply("a", "b")  # E: positional
Reply(approval_choice="yes")  # E: approval_choice
Reply(txt="a")  # E: txt

class Bad(Plugin[Rules]):
    @on(form=1)  # E: on
    def one(self, event: Event) -> int: ...
    @on(form=1)  # E: on
    def two(self) -> None: ...
    @on(form=1)  # E: on
    async def three(self, event: Event) -> list[int]: ...
    @every("1m")  # E: every
    def four(self, event: Event) -> None: ...
    @cron("1")  # E: cron
    def five(self, one: int, two: int) -> None: ...
    @on(form=1.5)  # E: form
    def six(self, event: Event) -> None: ...
    def handle(self, event: Event) -> int:  # E: handle
        self.settings.limt  # E: limt
        self.settings.limit = 5  # E: limit
        return 5

class NoSettings(Plugin[int]): ...  # E: int
"""


def check(tmp_path: Path, source: str) -> str:
    from mypy import api

    file = tmp_path / "plugin_to_check.py"
    file.write_text(source, "utf-8")
    cache = tmp_path / "cache"
    out, err, _ = api.run(
        [
            "--strict",
            "--config-file=",
            f"--cache-dir={cache}",
            "--no-error-summary",
            "--disable-error-code=empty-body",
            str(file),
        ]
    )
    assert not err
    return out


def test_a_right_plugin_is_clean(tmp_path: Path) -> None:
    assert check(tmp_path, RIGHT) == ""


def test_each_slip_is_an_error_in_its_line(tmp_path: Path) -> None:
    out = check(tmp_path, WRONG)
    found = {int(line) for line in re.findall(r"plugin_to_check\.py:(\d+): error", out)}
    wanted = {number for number, line in enumerate(WRONG.splitlines(), 1) if "# E: " in line}
    assert wanted - found == set(), out
    assert found - wanted == set(), out
