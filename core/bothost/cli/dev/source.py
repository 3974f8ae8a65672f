"""bots.ini as the dev loop serves it: every bot calls the fake Pyrus, and a saved file of a plugin makes its bot a changed one."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bothost import config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bothost.config import BotConfig, ConfigReading, LogLevel

DAY_S = 86_400.0
SOURCES = ("*.py", "*.toml", "*.json", "*.txt", "*.html", "*.sql", "*.yaml", "*.yml")
"""Files that a plugin may have read when it was loaded."""


@dataclass(frozen=True, slots=True)
class DevSource:
    """Reads bots.ini for the dev loop; see `reload.ConfigSource`. `debug` lets handlers stop at breakpoints."""

    path: Path
    api_url: str
    debug: bool = False
    log_level: LogLevel | None = None

    def read(self) -> ConfigReading:
        """Read bots.ini, and send every bot's calls to the fake Pyrus."""
        reading = config.with_log_level(config.read(self.path, os.environ, demo=True), self.log_level)
        return prepared(on_loopback(reading), self)

    def digest(self, reading: ConfigReading) -> str:
        """Return a digest that changes with bots.ini and with every file of the plugins."""
        return config.digest(self.path, reading.files) + code_digest(reading.bots.values())


def on_loopback(reading: ConfigReading) -> ConfigReading:
    """Return the reading with its listeners on this machine only, in one process, with lines for people."""
    if reading.host is None:
        return reading
    host = replace(
        reading.host,
        address="127.0.0.1",
        operator_address="127.0.0.1",
        processes=1,
        certfile=None,
        keyfile=None,
        log="pretty",
    )
    return replace(reading, host=host)


def prepared(reading: ConfigReading, source: DevSource) -> ConfigReading:
    """Return the reading with its bots changed for the dev loop.

    Each bot runs in a process of its own, so that saved code starts without the old state; a debugger needs this terminal,
    so with `debug` they run in the host, without a limit of time.
    """
    digests = {name: code_digest([bot]) for name, bot in reading.bots.items()}
    bots = {name: _prepared_bot(bot, source, digests[name]) for name, bot in reading.bots.items()}
    return replace(reading, bots=bots, digest=reading.digest + code_digest(reading.bots.values()))


def _prepared_bot(bot: BotConfig, source: DevSource, digest: str) -> BotConfig:
    login = bot.login or login_of(bot.name)
    changed = replace(bot, api_url=source.api_url, login=login, settings_digest=bot.settings_digest + digest)
    if source.debug:
        return replace(changed, run="auto", timeout_s=DAY_S, answer_within_s=DAY_S)
    return replace(changed, run="process")


def login_of(name: str) -> str:
    """Return the login that the fake Pyrus knows a bot by, if bots.ini gives none."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"bot@{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-9{digest[17:20]}-{digest[20:32]}"


def code_digest(bots: Iterable[BotConfig]) -> str:
    """Return a digest of the names, sizes and times of the bots' source files; no file is read."""
    folders = plugin_folders({bot.plugin for bot in bots})
    digest = hashlib.sha256()
    for folder in sorted(folders):
        for path in files_below(folder):
            try:
                stat = path.stat()
            except OSError:  # it was just removed or renamed, as editors do when they save
                continue
            digest.update(f"{path}:{stat.st_size}:{stat.st_mtime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Return the source files of a package, or the module itself."""
    if folder.is_file():
        return [folder]
    return sorted(path for pattern in SOURCES for path in folder.rglob(pattern))


def plugin_folders(plugins: Iterable[str]) -> set[Path]:
    """Return the package folder (or the module file) behind each plugin's entry point. Nothing is imported."""
    wanted = set(plugins)
    found = set()
    for point in importlib.metadata.entry_points(group="bothost.plugins"):
        if point.name in wanted:
            found |= place_of(point.module.partition(".")[0])
    return found


def place_of(package: str) -> set[Path]:
    """Return the folder of a top-level package, or the file of a top-level module; none if there is no such."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return set()
    if spec is None:
        return set()
    if spec.submodule_search_locations:
        return {Path(place) for place in spec.submodule_search_locations}
    return {Path(spec.origin)} if spec.origin else set()
