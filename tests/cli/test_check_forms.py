"""`check --forms`: names that plugins declare, beside the real forms."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bothost import Event, FieldName, Plugin, Settings, on
from bothost.cli.bot_status import BotDiagnosis
from bothost.cli.check_forms import _all
from bothost.clock import SystemClock
from bothost.config import read
from bothost.config.secrets import SecretSources
from bothost.plugins.discovery import DiscoveredPlugin
from bothost.plugins.loading import PluginResources, load
from bothost.plugins.settings.field_names import field_names
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer

KEY = "key-of-the-bot-0001"


class Rules(Settings):
    form: int = 321
    amount: FieldName = "Amount"
    fields: tuple[FieldName, ...] = ("Status", "state")
    words: dict[str, FieldName] = {}  # noqa: RUF012 - msgspec copies it
    other: FieldName | None = None
    greeting: str = "not a field"


class Careful(Plugin[Rules]):
    @on(form="settings.form")
    async def check(self, event: Event) -> None: ...


def test_field_names_are_found_in_every_kind_of_setting() -> None:
    rules = Rules(words={"a": "Paid"}, other="City")
    assert field_names(rules) == {
        "amount": ("Amount",), "fields": ("Status", "state"), "words": ("Paid",), "other": ("City",),
    }  # fmt: skip
    assert field_names(Rules()).keys() == {"amount", "fields"}


async def problems(folder: Path, keys: str = "") -> list[str]:
    pyrus = FakePyrus(SystemClock())
    pyrus.add_bot("bot@one", KEY)
    inner = {"id": 3, "type": "multiple_choice", "name": "Status", "code": "state", "info": {}}
    section = {"id": 2, "type": "title", "name": "More", "info": {"fields": [inner]}}
    pyrus.add_form(321, [{"id": 1, "type": "money", "name": "Amount"}, section])
    server = FakeServer(pyrus)
    path = folder / "bots.ini"
    path.write_text(f"[bot:one]\nplugin = x\nsecret = {KEY}\nlogin = bot@one\napi_url = {server.base_url}\n{keys}\n")
    config = read(path, {}).bots["one"]
    found = {"x": DiscoveredPlugin("x", lambda: Careful)}
    resources = PluginResources(SystemClock(), folder, None, SecretSources(folder, os.environ))
    try:
        plugged = load(config, found, resources)
        return [str(one) for one in await _all([BotDiagnosis(config, "ok", plugged=plugged)], None)]
    finally:
        await server.refuse()


@pytest.mark.gen_test(timeout=60)
async def test_names_that_the_forms_have_are_fine(io_loop: Any, tmp_path: Path) -> None:
    assert await problems(tmp_path) == []


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("amount = Amuont", ["[bot:one] amount", "no field 'Amuont'", "near: 'Amount'"]),
        ("fields = Status, Sttus", ["[bot:one] fields", "'Sttus'", "'Status'"]),
        ("form = 999", ["the form 999 cannot be read", "access_denied_form"]),
    ],
)
async def test_a_wrong_name_or_form_is_an_error(io_loop: Any, tmp_path: Path, keys: str, said: list[str]) -> None:
    (problem,) = await problems(tmp_path, keys)
    assert all(words in problem for words in said), problem
