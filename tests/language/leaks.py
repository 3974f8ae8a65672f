"""Find English that is left in a Russian text."""

from __future__ import annotations

import re

# fmt: off
WORDS_OF_CODE = frozenset({
    "add", "and", "answer_within", "answer_reply", "anyone", "audit", "bot", "bots", "bothost", "cancel", "catch", "cd", "certfile",
    "check", "chmod", "classmethod", "command", "concurrency", "copy", "cron", "curl", "demo", "digest", "dict", "doctor", "env",
    "error_choice", "error_text", "every", "failed", "file", "forms", "handle", "hook", "hooks", "host", "http", "https", "id", "ini",
    "install", "journal", "json", "keep", "list", "login", "loopback", "max_body", "move", "ms", "name", "new", "no", "operator_token",
    "parse", "per_host", "pip", "plugin", "posting", "process", "public_url", "pytest", "readyz", "reload", "reply", "restart", "resume", "run",
    "secret", "send", "serve", "settings", "show", "signed", "socket", "state", "store", "sudo", "task", "timedelta", "text", "token",
    "trusted_proxies", "user", "value", "yes",
})
"""Keys, commands and Pyrus's and Python's words, which stay as they are in a Russian text."""
# fmt: on


def english_left(text: str) -> list[str]:
    """The words of a text that are neither code nor a name."""
    code = (
        r"`[^`]*`|'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\S*@\S*|bothost [a-z ]+|[a-z_]+ = \S+|\S*[=@:/.\\%_{(]\w\S*|--?\w[\w-]*"
    )
    words = re.findall(r"[A-Za-z]+", re.sub(code, " ", text))
    return [word for word in words if word.islower() and len(word) > 1 and word not in WORDS_OF_CODE]
