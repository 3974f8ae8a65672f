"""Read `[account:NAME]`: accounts of Pyrus that bots may call as, beside their own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bothost.config.bot import read_api_url, read_login
from bothost.config.secrets import Unset
from bothost.config.section import ConfigKey, SectionReader, refusal, unknown
from bothost.config.values import AccountConfig

if TYPE_CHECKING:
    from bothost.config.ini import IniDocument
    from bothost.config.secrets import SecretSources
    from bothost.errors import Problem

PREFIX = "account:"
ACCOUNT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
ACCOUNT_KEYS: dict[str, ConfigKey] = {
    "login": ConfigKey("login", read_login),
    "api_url": ConfigKey("api_url", read_api_url, empty=True),
}
"""The grammar of an account's section without its keys."""


def read_accounts(
    document: IniDocument, sources: SecretSources, *, demo: bool
) -> tuple[dict[str, AccountConfig], list[Problem]]:
    """Return the accounts of a bots.ini by name, and the problems of their sections."""
    accounts: dict[str, AccountConfig] = {}
    problems: list[Problem] = []
    for section in document.sections.values():
        if section.name.startswith(PREFIX):
            values = SectionReader(document.file, section)
            account = _read(values, sources, demo=demo)
            problems += [*section.problems, *values.problems]
            if account is not None:
                accounts[account.name] = account
    return accounts, problems


def _read(values: SectionReader, sources: SecretSources, *, demo: bool) -> AccountConfig | None:
    name = values.section.name.removeprefix(PREFIX)
    if not ACCOUNT_NAME.fullmatch(name):
        values.wrong("is not an account's name: a-z, 0-9, _ and -, up to 64, the first a letter or digit")
    for item in values.section.items.values():
        if item.key in ACCOUNT_KEYS:
            values.take(item, ACCOUNT_KEYS[item.key])
        elif item.key not in ("key", "old_key"):
            known = {**ACCOUNT_KEYS, "key": ACCOUNT_KEYS["login"], "old_key": ACCOUNT_KEYS["login"]}
            values.wrong(unknown(item.key, known, {}), item.key)
    keys = tuple(key for name in ("key", "old_key") if (key := _key(name, values, sources, demo=demo)))
    for needed in ("login", "key"):
        if needed not in values.section.items:
            values.wrong(
                f"has no {needed}: an account is known by the login and the security key of its profile in Pyrus"
            )
    return None if values.problems else AccountConfig(name, keys=keys, **values.found)


def _key(name: str, values: SectionReader, sources: SecretSources, *, demo: bool) -> bytes | None:
    item = values.section.items.get(name)
    if item is None:
        return None
    try:
        key = values.secret(item, sources)
    except Unset as error:
        values.wrong(str(error), name)
        return None
    if key is not None and (why := refusal(key, demo=demo)):
        values.wrong(why, name)
        return None
    return key
