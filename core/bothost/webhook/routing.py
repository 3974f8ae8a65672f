"""Find the bot that serves a request's target."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.bots.registry import Bot


def find(by_path: Mapping[str, Bot], target: str) -> Bot | None:
    """Return the bot whose path equals the target after one decoding and without its query; None if there is none."""
    bot = by_path[target] if target in by_path else None  # noqa: SIM401 - a call less for each delivery
    if bot is None or "%" in target:
        bot = by_path.get(decoded(target))
    return bot if bot is not None and bot.config.enabled else None


def decoded(target: str) -> str:
    """Return a target's path, decoded once from %XX as UTF-8; "" if it is no path (absolute form, `*`) or no UTF-8."""
    if not target.startswith("/"):
        return ""
    try:
        return unquote_to_bytes(target.partition("?")[0].encode("latin-1")).decode("utf-8")
    except UnicodeError:
        return ""
