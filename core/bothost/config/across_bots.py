"""Check what bots must not share, or must find elsewhere in bots.ini: paths, secrets, accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.config.section import SectionReader
    from bothost.config.values import AccountConfig, BotConfig

_SHARING_SHOWN = 3
"""The number of bots sharing one secret that get a warning each. A hundred lines would hide the other problems."""


def known_accounts(
    values: SectionReader, bot: BotConfig, accounts: Mapping[str, AccountConfig]
) -> tuple[AccountConfig, ...]:
    """Return the accounts that a bot names. A name without an account becomes an error of the bot's section."""
    for name in bot.account_names:
        if name not in accounts:
            values.wrong(f"there is no [account:{name}]{nearest(name, accounts)} (or it is wrong)", "accounts")
    return tuple(accounts[name] for name in bot.account_names if name in accounts)


def refuse_same_paths(every: list[tuple[SectionReader, BotConfig]]) -> None:
    """Add an error to each bot whose path a bot further up has already."""
    first: dict[str, BotConfig] = {}
    for values, bot in every:
        known = first.setdefault(bot.path, bot)
        if known is not bot:
            place = f"[bot:{known.name}], line {known.lines.get('path', known.line)}"
            values.wrong(f"{bot.path} is the path of {place} already", "path")


def warn_of_same_secrets(every: list[tuple[SectionReader, BotConfig]]) -> None:
    """Add a warning to bots that share a secret, because a delivery to one can be replayed to the other."""
    sharing: dict[bytes, list[tuple[SectionReader, BotConfig]]] = {}
    for values, bot in every:
        for secret in bot.secrets:
            sharing.setdefault(secret, []).append((values, bot))
    for (_, first), *others in sharing.values():
        rest = len(others) - _SHARING_SHOWN
        for values, _ in others[:_SHARING_SHOWN]:
            more = f", as it is of {rest} more" if rest > 0 else ""
            text = f"is the secret of [bot:{first.name}] too{more}: a delivery to one can be replayed to the other"
            values.warn(text, "secret")
