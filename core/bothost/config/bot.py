"""Read `[bot]` and `[bot:NAME]`: their keys, names, paths and secrets."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from bothost.config.host import is_loopback, positive
from bothost.config.secrets import Unresolved, Unset
from bothost.config.section import ConfigKey, SectionReader, refusal, unknown
from bothost.config.units import choice, number, seconds, size, truth, words
from bothost.config.values import BotConfig
from bothost.text import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.config.ini import IniItem, IniSection
    from bothost.config.secrets import SecretSources

BOT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LARGEST_BODY = 256 << 20
_PYRUS_WAITS_S = 60.0


def read_path(text: str) -> str:
    """Read a path and return it without the slash at its end. It is written as requests have it after one decoding of %XX."""
    if not text.startswith("/"):
        raise ValueError(f"{shown(text)} must begin with a slash")
    if "?" in text or "#" in text:
        raise ValueError(f"{shown(text)} holds a ? or #, where a path ends: write %3F or %23")
    if _ESCAPE.search(text):
        raise ValueError(f"{shown(text)} has a % without two hex digits behind it: write %25")
    try:
        path = unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise ValueError(f"{shown(text)} is not UTF-8 once its %XX are decoded") from None
    if _CONTROL.search(path):
        raise ValueError(f"{shown(text)} holds a control character")
    if "//" in path or any(part in (".", "..") for part in path.split("/")):
        raise ValueError(f"{shown(text)} holds //, . or .., which routers and browsers rewrite")
    path = path.removesuffix("/")
    if path in ("", "/healthz"):
        raise ValueError(f"{shown(text)} is the host's own: choose another, such as /NAME")
    return path


def read_api_url(text: str) -> str:
    """Read https://HOST[:PORT]/…/ and return it with a slash at its end. http is taken only to this machine."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{shown(text)} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"{shown(text)} is not an API address: write https://HOST/api/v4/")
    if "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s\\]", text):
        raise ValueError("must be plain https://HOST/api/v4/, without user, ?, # or blanks")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https: by http the bot's key would travel in the clear")
    return text if text.endswith("/") else text + "/"


def read_login(text: str) -> str:
    """Read the bot's e-mail in Pyrus."""
    if not re.fullmatch(r"[^\s@]+@[^\s@]+", text):
        raise ValueError(f"{shown(text)} is not a login: write the bot's e-mail, bot@…")
    return text


def read_forms(text: str) -> frozenset[int]:
    """Read form ids with commas, blanks or lines between."""
    return frozenset(number(word, 1, 10**15) for word in words(text))


def read_account_names(text: str) -> tuple[str, ...]:
    """Read names of `[account:NAME]` sections."""
    return tuple(dict.fromkeys(words(text)))


def _poll_every(text: str) -> float:
    value = seconds(text)
    if not 5 <= value <= 3600:
        raise ValueError(f"{shown(text)} is out of range: from 5s to 1h")
    return value


def _max_body(text: str) -> int:
    value = size(text)
    if not 1024 <= value <= _LARGEST_BODY:
        raise ValueError(
            f"{shown(text)} is out of range: from 1k to 256M, which all unverified bodies together may hold"
        )
    return value


def _memory(text: str) -> int:
    value = size(text)
    if value < 32 << 20:
        raise ValueError(f"{shown(text)} is too little for any child: write 64M or more")
    return value


def _plugin(text: str) -> str:
    if re.search(r"\s", text):
        raise ValueError(f"{shown(text)} is not a plugin: write the entry point's name, one word")
    return text


KEYS: dict[str, ConfigKey] = {
    "plugin": ConfigKey("plugin", _plugin),
    "path": ConfigKey("path", read_path),
    "login": ConfigKey("login", read_login, empty=True),
    "api_url": ConfigKey("api_url", read_api_url, empty=True),
    "accounts": ConfigKey("account_names", read_account_names, empty=True, lines=True),
    "enabled": ConfigKey("enabled", truth),
    "run": ConfigKey("run", partial(choice, allowed=("auto", "loop", "thread", "process"))),
    "concurrency": ConfigKey("concurrency", partial(number, low=1, high=1000)),
    "concurrency_each": ConfigKey("concurrency_each", partial(number, low=1, high=1000)),
    "overlap": ConfigKey("overlap", truth),
    "per_host": ConfigKey("per_host", partial(choice, allowed=("all", "one"))),
    "order": ConfigKey("order", partial(choice, allowed=("task", "none"))),
    "receive": ConfigKey("receive", partial(choice, allowed=("webhook", "poll", "both"))),
    "poll_every": ConfigKey("poll_every_s", _poll_every),
    "catch_up": ConfigKey("catch_up", partial(choice, allowed=("no", "inbox", "forms"))),
    "catch_up_for": ConfigKey("catch_up_for_s", positive),
    "answer_within": ConfigKey("answer_within_s", positive),
    "late": ConfigKey("late", partial(choice, allowed=("post", "retry"))),
    "timeout": ConfigKey("timeout_s", positive),
    "on_error": ConfigKey("on_error", partial(choice, allowed=("retry", "ignore", "reply"))),
    "error_text": ConfigKey("error_text", str, empty=True, lines=True),
    "error_choice": ConfigKey(
        "error_choice", partial(choice, allowed=("approved", "rejected", "revoked", "acknowledged")), empty=True
    ),
    "own_comments": ConfigKey("own_comments", partial(choice, allowed=("skip", "deliver"))),
    "forms": ConfigKey("forms", read_forms, empty=True, lines=True),
    "max_body": ConfigKey("max_body_bytes", _max_body),
    "keep": ConfigKey("keep_s", seconds),
    "memory": ConfigKey("memory_bytes", _memory, empty=True),
}
"""The grammar of a bot's section without its secrets."""

HOST_BOT_KEYS = frozenset([*KEYS, "secret", "old_secret"])
"""Every key of a bot's section that is the host's own. All others are its plugin's settings.

A key that was added after 0.1 has a dot in its name. No setting can have one, so an installed plugin keeps every setting
that it declares.
"""

_LOWER = {key.lower(): key for key in HOST_BOT_KEYS}


def read_defaults(values: SectionReader, elsewhere: Mapping[str, str]) -> None:
    """Read the section [bot], which holds the defaults of every bot."""
    grammar = {key: rule for key, rule in KEYS.items() if key != "path"}
    for item in values.section.items.values():
        if item.key in grammar:
            values.take(item, grammar[item.key])
        elif item.key in ("path", "secret", "old_secret"):
            values.wrong("each bot has its own: it cannot be a default", item.key)
        else:
            text = unknown(item.key, grammar, elsewhere)
            values.wrong(f"{text}; a plugin's settings stand in its bot's section", item.key)


def read_bot(values: SectionReader, defaults: dict[str, Any], sources: SecretSources, *, demo: bool) -> BotConfig:
    """Read one bot's section. The result is a stub if `values` has problems afterwards."""
    name = values.section.name.removeprefix("bot:")
    if not BOT_NAME.fullmatch(name):
        near = f" (did you mean {name.lower()!r}?)" if BOT_NAME.fullmatch(name.lower()) else ""
        values.wrong(
            f"{shown(name)} is not a bot's name{near}: a-z, 0-9, _ and -, up to 64, the first a letter or digit"
        )
    settings: dict[str, str] = {}
    resolved = hashlib.sha256()
    for item in values.section.items.values():
        rule = KEYS.get(item.key)
        if rule is not None:
            if not item.text and rule.empty:
                values.found[rule.field] = _EMPTY[rule.field]
            values.take(item, rule)
        elif item.key not in HOST_BOT_KEYS:
            _setting(item, values, settings, sources)
            _follow(item.text, resolved, sources)
    found: dict[str, Any] = {"path": f"/{name}", **defaults, **values.found}
    values.found = found
    _rules(values)
    return BotConfig(
        **found,
        name=name,
        secrets=_secrets(values, sources, demo=demo),
        settings=settings,
        settings_digest=resolved.hexdigest(),
        lines={item.key: item.line for item in values.section.items.values()},
        line=values.section.line,
        file=values.file,
    )


_EMPTY: dict[str, Any] = {
    "login": "",
    "api_url": "",
    "error_text": "",
    "error_choice": "",
    "forms": frozenset(),
    "account_names": (),
    "memory_bytes": 0,
}


def _setting(item: IniItem, values: SectionReader, settings: dict[str, str], sources: SecretSources) -> None:
    right = _LOWER.get(item.key.lower())
    if right is not None:
        values.wrong(f"keys are lower-case: write {right}", item.key)
        return
    settings[item.key] = item.text
    sources.notice(item.text)


def _follow(text: str, resolved: hashlib._Hash, sources: SecretSources) -> None:
    """Digest the value behind env: or file:, so that a reload loads the plugin anew when that value changes."""
    if text.startswith(("env:", "file:")):
        try:
            resolved.update(text.encode() + b"\0" + hashlib.sha256(sources.resolve(text)).digest())
        except Unresolved:
            resolved.update(text.encode() + b"\0")


def _rules(values: SectionReader) -> None:
    found = values.found
    if not found.get("plugin") and "plugin" not in values.section.items:
        near = _near_key("plugin", values.section)
        values.wrong(f"names no plugin{near}: write plugin = and an entry point's name (`bothost plugins` lists them)")
    if found.get("on_error") == "reply" and not found.get("error_text") and not found.get("error_choice"):
        values.wrong("reply needs an error_text or an error_choice to reply with", "on_error")
    for key, plain in (("receive", "webhook"), ("catch_up", "no")):
        if found.get(key, plain) != plain and not found.get("login"):
            values.wrong(f"{found[key]} needs a login, by which Pyrus is asked: write login = bot@…", key)
    if found.get("catch_up") == "forms" and not found.get("forms"):
        values.wrong("forms needs `forms`, whose registers are read", "catch_up")
    _warnings(values)


def _warnings(values: SectionReader) -> None:
    found = values.found
    if found.get("concurrency") and found.get("concurrency_each", 0) > found["concurrency"]:
        values.warn(
            f"has no effect: concurrency = {found['concurrency']} is less, in all processes together",
            "concurrency_each",
        )
    if found.get("memory_bytes") and found.get("run") != "process":
        values.warn("has no effect without run = process", "memory")
    if found.get("answer_within_s", 50.0) >= _PYRUS_WAITS_S:
        values.warn("Pyrus waits 60 s for an answer: what comes later is lost", "answer_within")


def _near_key(key: str, section: IniSection) -> str:
    near = [word for word in section.items if word not in HOST_BOT_KEYS and nearest(word, (key,))]
    return f" (is {near[0]} in line {section.items[near[0]].line} meant?)" if near else ""


def _secrets(values: SectionReader, sources: SecretSources, *, demo: bool) -> tuple[bytes, ...]:
    items = values.section.items
    if "secret" not in items:
        near = _near_key("secret", values.section)
        values.wrong(f"has no secret{near}: write secret = env:NAME, file:PATH or the bot's key from Pyrus")
    secrets: list[bytes] = []
    for key in ("secret", "old_secret"):
        item = items.get(key)
        if item is None or (key == "old_secret" and not item.text):
            continue
        try:
            secret = values.secret(item, sources)
        except Unset as error:
            values.wrong(str(error), key)
            continue
        if secret is None:
            continue
        why = refusal(secret, demo=demo)
        if why:
            values.wrong(why, key)
        elif secret not in secrets:
            secrets.append(secret)
    return tuple(secrets)
