"""Read bots.ini into frozen values, and report every error at once with file, line, section, key and what would be right.

Nothing here opens a journal, imports a plugin or knows what runs; only `bothost.text` and `bothost.errors` are used.
Start with `read` below, then `section.py` (one table of keys becomes values) and `ini.py` (the grammar).
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bothost.config import host as _host
from bothost.config.accounts import PREFIX as ACCOUNT_PREFIX
from bothost.config.accounts import read_accounts
from bothost.config.across_bots import known_accounts, refuse_same_paths, warn_of_same_secrets
from bothost.config.bot import BOT_NAME, HOST_BOT_KEYS, read_bot, read_defaults
from bothost.config.host import SECRET_KEYS, is_loopback, page_by_tls, read_host
from bothost.config.ini import IniDocument, IniSection, parse
from bothost.config.secrets import SecretSources, content_digest
from bothost.config.section import SectionReader
from bothost.config.values import AccountConfig, BotConfig, Config, ConfigReading, HostConfig, LogLevel
from bothost.errors import ConfigError, Problem
from bothost.text import nearest, user_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "BOT_NAME",
    "HOST_BOT_KEYS",
    "HOST_KEYS",
    "BotConfig",
    "Config",
    "ConfigReading",
    "HostConfig",
    "LogLevel",
    "digest",
    "is_loopback",
    "load",
    "page_by_tls",
    "read",
    "with_log_level",
]

HOST_KEYS = frozenset([*_host.keys(Path()), *SECRET_KEYS])
"""Every key of [host]."""

_LARGEST_INI = 64 << 20
_ROUTED_ANSWER_WITHIN_S = 25.0  # routers of platforms that give PORT cut at 30 s


def load(path: str | os.PathLike[str], env: Mapping[str, str] = os.environ, *, demo: bool = False) -> Config:
    """Return a bots.ini that has no error. Raises ConfigError with every problem. `demo` accepts sample secrets."""
    reading = read(path, env, demo=demo)
    problems = reading.all_problems()
    if problems or reading.host is None:
        raise ConfigError(problems)
    return Config(reading.host, reading.bots, reading.warnings)


def read(path: str | os.PathLike[str], env: Mapping[str, str] = os.environ, *, demo: bool = False) -> ConfigReading:
    """Return the good sections of a bots.ini and every problem; a reload and a starting host use it. Never raises."""
    whole = Path(os.path.abspath(path))
    file = os.fspath(path)
    content, why, mode = _content(whole)
    if content is not None and not demo and mode & stat.S_IWOTH:
        content, why = (
            None,
            f"may be written by every user of this machine, who could run anything here: chmod o-w {file}",
        )
    document = parse(content or b"", file)
    if content is None:
        document.problems.append(Problem(why, file))
    sources = SecretSources(whole.parent, env)
    host = SectionReader(file, document.sections.get("host") or IniSection("host", 0))
    host_config = read_host(host, sources, whole, dict.fromkeys(HOST_BOT_KEYS, "[bot:NAME] or [bot]"), demo=demo)
    defaults = SectionReader(file, document.sections.get("bot") or IniSection("bot", 0))
    read_defaults(defaults, dict.fromkeys(HOST_KEYS, "[host]"))
    if host.found.get("port_from_env"):
        defaults.found.setdefault("answer_within_s", _ROUTED_ANSWER_WITHIN_S)
    accounts, wrong_accounts = read_accounts(document, sources, demo=demo)
    bots, stubs, broken, warnings = _bots(document, defaults, sources, demo=demo, accounts=accounts)
    if content is not None and not demo and _literals(document) and mode & stat.S_IROTH:
        warnings.append(Problem("holds secrets and other users of this machine may read it: chmod 600", file))
    if content is not None and not demo and _others_may_replace(whole):
        text = f"every user of this machine may put another file in its place: chmod o-w {whole.resolve().parent}"
        warnings.append(Problem(text, file))
    return ConfigReading(
        host=host_config,
        bots=MappingProxyType(bots),
        stubs=MappingProxyType(stubs),
        broken=MappingProxyType(broken),
        problems=(*document.problems, *_own(host), *_own(defaults), *wrong_accounts, *_strangers(document)),
        accounts=MappingProxyType(accounts),
        warnings=(*host.warnings, *defaults.warnings, *warnings),
        digest=content_digest(content, sources.files),
        files=frozenset(sources.files),
        sections=len(document.sections),
        found=content is not None,
        unread=why,
        ends=(content or b"\n").endswith((b"\n", b"\r")),
    )


def with_log_level(reading: ConfigReading, level: LogLevel | None) -> ConfigReading:
    """Return the reading with another level of the log, or as it is where there is none."""
    if level is None or reading.host is None:
        return reading
    return replace(reading, host=replace(reading.host, log_level=level))


def digest(path: str | os.PathLike[str], files: Iterable[Path]) -> str:
    """Return the present `ConfigReading.digest`, given `ConfigReading.files`. It is cheap enough to be asked each second."""
    return content_digest(_content(Path(path))[0], files)


def _content(path: Path) -> tuple[bytes | None, str, int]:
    """Return the file's content (None if unreadable), the reason why it is unreadable, and its mode."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_INI + 1)
            mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        if isinstance(error, PermissionError) and (owner := _owner(path)):
            why = f"it belongs to {owner}, and {user_name(os.geteuid())} may not read it"
        return None, f"cannot be read: {why}; name another file with --config", 0
    if len(content) > _LARGEST_INI:
        return None, "is larger than 64M, which no bots.ini is", mode
    return content, "", mode


def _owner(path: Path) -> str:
    try:
        return user_name(path.stat().st_uid)
    except OSError:  # its folder may not be looked into either
        return ""


def _others_may_replace(path: Path) -> bool:
    """Return whether the folder is open to everybody and not sticky, as /tmp is."""
    try:
        mode = path.resolve().parent.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _own(values: SectionReader) -> list[Problem]:
    return values.section.problems + values.problems


def _strangers(document: IniDocument) -> list[Problem]:
    problems = []
    for section in document.sections.values():
        if section.name in ("host", "bot") or section.name.startswith(("bot:", ACCOUNT_PREFIX)):
            continue
        rest = section.name.partition(":")[2] or section.name
        near = nearest(section.name, ("host", "bot", f"bot:{rest}", f"account:{rest}"))
        text = f"no such section{near}: there are [host], [bot], [bot:NAME] and [account:NAME]"
        problems.append(Problem(text, document.file, section.line, section.name))
        problems.extend(section.problems)
    return problems


_Bots = tuple[dict[str, BotConfig], dict[str, BotConfig], dict[str, tuple[Problem, ...]], list[Problem]]


def _bots(
    document: IniDocument,
    defaults: SectionReader,
    sources: SecretSources,
    *,
    demo: bool,
    accounts: Mapping[str, AccountConfig],
) -> _Bots:
    every: list[tuple[SectionReader, BotConfig]] = []
    for section in document.sections.values():
        if section.name.startswith("bot:"):
            values = SectionReader(document.file, section)
            bot = read_bot(values, defaults.found, sources, demo=demo)
            every.append((values, replace(bot, accounts=known_accounts(values, bot, accounts))))
    refuse_same_paths(every)
    warn_of_same_secrets(every)
    env_names = frozenset(sources.env_names)
    bots: dict[str, BotConfig] = {}
    stubs: dict[str, BotConfig] = {}
    broken: dict[str, tuple[Problem, ...]] = {}
    warnings: list[Problem] = []
    for values, bot in every:
        problems = _own(values)
        warnings.extend(values.warnings)
        if problems:
            broken[bot.name] = tuple(problems)
            stubs[bot.name] = bot
        else:
            bots[bot.name] = replace(bot, env_names=env_names) if env_names else bot
    return bots, stubs, broken, warnings


def _literals(document: IniDocument) -> bool:
    """Return whether any secret stands in the file itself instead of behind env: or file:."""
    for section in document.sections.values():
        for key in SECRET_KEYS if section.name == "host" else ("secret", "old_secret"):
            item = section.items.get(key)
            if item is not None and item.text and not item.text.startswith(("env:", "file:")):
                return True
    return False
