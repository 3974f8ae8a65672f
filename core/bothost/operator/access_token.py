"""Make the operator's token if bots.ini gives none, and keep it in the state folder for the page and the command line."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from typing import TYPE_CHECKING

from bothost.config.secrets import SecretText

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "operator-token"
_BYTES = 32


def path_of(state: Path) -> Path:
    """Return the file of a made token."""
    return state / _NAME


def stored(state: Path) -> SecretText | None:
    """Return the made token; None if there is none yet. Raises OSError if it cannot be read, or another user put it there."""
    path = path_of(state)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                errno.EPERM, "another user owns it or may write it, so its token may be theirs", str(path)
            )
        text = file.read().strip()
    return SecretText(text) if text else None


def make(state: Path) -> SecretText:
    """Make a token of 32 random bytes in a file with mode 0600, in place of an old one. The state folder must exist."""
    token = SecretText(secrets.token_urlsafe(_BYTES))
    target = path_of(state)
    fresh = target.with_name(f".{_NAME}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token.reveal() + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)
    return token


def ensure(state: Path) -> tuple[SecretText, bool]:
    """Return the made token, and whether this call made it."""
    known = stored(state)
    return (known, False) if known is not None else (make(state), True)
