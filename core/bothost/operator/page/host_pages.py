"""The pages of the whole host: plugins, configuration and its reload, about."""

from __future__ import annotations

import platform
import sys
from dataclasses import fields
from typing import TYPE_CHECKING

import tornado

from bothost.config.secrets import SecretText
from bothost.operator.page import formatting
from bothost.operator.page.base import PageHandler
from bothost.operator.presence import GONE_S

if TYPE_CHECKING:
    from bothost.config import HostConfig

_UNITS = {"_s": " s", "_bytes": " B"}
_NO_KEYS = ("path", "port_from_env")


class PluginsPage(PageHandler):
    """/plugins"""

    async def get(self) -> None:
        """Show what is installed and which bots use it."""
        users: dict[str, list[str]] = {}
        for bot in self.operations.every_bot():
            users.setdefault(bot.config.plugin, []).append(bot.config.name)
        plugins = await self.operations.plugins()
        missing = sorted(set(users) - {plugin.name for plugin in plugins} - {""})
        self.show("plugins.html", plugins=plugins, users=users, missing=missing)

    head = get


class ConfigurationPage(PageHandler):
    """/configuration"""

    def get(self) -> None:
        """Show bots.ini as it was last read: its problems and the values in force."""
        reading = self.operations.reading
        self.show(
            "configuration.html",
            reading=reading,
            problems=reading.all_problems(),
            kept=self.operations.kept,
            rows=_rows(reading.host) if reading.host is not None else [],
        )

    head = get


class ReloadConfiguration(PageHandler):
    """/reload"""

    async def change(self, *_args: str) -> None:
        """Have bots.ini read again. The configuration page shows the result."""

        async def step() -> str:
            await self.operations.reload()
            return "/configuration"

        await self.act(step, "reloading")


class AboutPage(PageHandler):
    """/about"""

    async def get(self) -> None:
        """Show versions, processes and the journal's state."""
        versions = [
            ("bothost", self.page_context.version),
            ("Python", platform.python_version()),
            ("Tornado", tornado.version),
            ("SQLite", _sqlite()),
            (platform.system(), platform.release()),
        ]
        self.show(
            "about.html",
            versions=versions,
            processes=await self.operations.processes(),
            everywhere=await self.operations.everywhere(),
            gone_s=GONE_S,
            ready=await self.operations.ready(),
        )

    head = get


def _sqlite() -> str:
    sqlite = sys.modules.get("sqlite3")
    return str(getattr(sqlite, "sqlite_version", "–"))


def _rows(host: HostConfig) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = [("bots.ini", formatting.text(host.path))]
    for one in fields(host):
        value = getattr(host, one.name)
        if one.name in _NO_KEYS:
            continue
        if one.name == "journal":
            rows.append(("journal", "postgresql://•••" if value else ""))
        elif isinstance(value, SecretText):
            rows.append((one.name, f"<{value.fingerprint}>"))
        elif value not in (None, "", ()):
            rows.append(_row(one.name, value))
    return [(name, text) for name, text in rows if text]


def _row(name: str, value: object) -> tuple[str, str]:
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), f"{value:g}{unit}"
    if isinstance(value, bool):
        return name, "yes" if value else "no"
    if isinstance(value, tuple):
        return name, ", ".join(map(str, value))
    return name, formatting.text(value)
