"""Resolve secrets (env:NAME, file:PATH or the value itself), show them as fingerprints, and recognise samples."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bothost.config.invisible import bare, may_be_shown
from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHORTEST_SECRET = 16
_LARGEST_FILE = 64 << 10

# Pyrus's sample page prints a key that begins like the first. The repository's own bots.ini uses the second. The rest are
# placeholders that people forget to replace. The pattern is narrow, because a real key must never be taken for one of them.
_SAMPLES = re.compile(
    r"this[-_ ]is[-_ ](an?[-_ ])?(bot[-_ ])?secret"
    r"|(this[-_ ]is[-_ ]a[-_ ])?sample[-_ ]secret"
    r"|(put|insert|enter|paste|place)[-_ ]?(your|the)[-_ ]"
    r"|(change|replace)[-_ ]?(me|this)\b|changeme"
    r"|your[-_ ]?(bot|pyrus|secret|security|key|own)"
    r"|<[^>]*>$|\{\{?[^}]*\}\}?$|\$\{?[A-Za-z_]+\}?$",
    re.IGNORECASE,
)


def fingerprint(secret: bytes) -> str:
    """Return the first 8 hex digits of the SHA-256, so that two people can compare keys without showing them."""
    return hashlib.sha256(secret).hexdigest()[:8]


def is_sample(secret: str) -> bool:
    """Return whether the secret is a well-known sample or a placeholder that was never replaced."""
    return _SAMPLES.match(secret) is not None


@dataclass(frozen=True, slots=True, repr=False)
class SecretText:
    """A secret text that no `repr`, log or page shows. Only `reveal()` returns it."""

    _text: str

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self._text.encode("utf-8", "surrogateescape"))

    def matches(self, text: str) -> bool:
        """Compare with a text in constant time."""
        return hmac.compare_digest(
            self._text.encode("utf-8", "surrogateescape"), text.encode("utf-8", "surrogateescape")
        )

    def __repr__(self) -> str:
        return f"<hidden {self.fingerprint}>"


class Unresolved(ValueError):
    """An env: or file: that leads nowhere. The text says what would be right, and holds nothing secret."""


class Unset(Unresolved):
    """The environment variable that env: names does not exist."""


@dataclass(slots=True)
class SecretSources:
    """Resolves env:, file: and literals for one bots.ini, and remembers the variables and files it looked at."""

    folder: Path
    env: Mapping[str, str]
    env_names: set[str] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)

    def resolve(self, text: str) -> bytes:
        """Return the value that `text` stands for. Raises Unresolved."""
        if text.startswith("env:"):
            return self._from_env(text[4:])
        if text.startswith("file:"):
            return self._from_file(text[5:])
        return text.encode("utf-8", "surrogateescape")

    def notice(self, text: str) -> None:
        """Remember the variable or file that a plugin's setting names. Children do not get the variable; a reload reads the file."""
        if text.startswith("env:"):
            self.env_names.add(text[4:].strip())
        elif text.startswith("file:"):
            self.files.update(self._candidates(text[5:].strip()))

    def _from_env(self, name: str) -> bytes:
        name = name.strip()
        if not name or re.search(r"[\s=\0]", name):
            raise Unresolved("env: names no variable: write env:NAME, and nothing after it")
        self.env_names.add(name)
        value = self.env.get(name)
        if value is None:
            if not may_be_shown(name):
                text = "the environment has no variable of that name, which is not shown because it may be the secret itself"
                raise Unset(f"{text}: write env: and a variable's name")
            raise Unset(f"the environment has no variable {name}{nearest(name, self.env)}")
        return bare(value.encode("utf-8", "surrogateescape"))

    def _candidates(self, name: str) -> tuple[Path, ...]:
        credentials = self.env.get("CREDENTIALS_DIRECTORY", "")
        beside = self.folder / name
        return (Path(credentials) / name, beside) if credentials else (beside,)

    def _from_file(self, name: str) -> bytes:
        name = name.strip()
        if not name or "\0" in name:
            raise Unresolved("file: names no file: write file:PATH")
        candidates = self._candidates(name)
        self.files.update(candidates)
        path = next((candidate for candidate in candidates if os.path.lexists(candidate)), candidates[-1])
        shown = path if may_be_shown(name) or os.path.lexists(path) else "the file (its name may be the secret itself)"
        try:
            content, mode = _read(path)
        except OSError as error:
            raise Unresolved(f"cannot read {shown}: {error.strerror or error}") from None
        if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
            raise Unresolved(f"every user of this machine may write {shown}: chmod o-w {shown}")
        if len(content) > _LARGEST_FILE:
            raise Unresolved(f"{shown} is larger than 64k, which no secret is")
        return bare(content)


def _read(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(_LARGEST_FILE + 1), os.fstat(file.fileno()).st_mode


def content_digest(content: bytes | None, files: Iterable[Path]) -> str:
    """Return a digest of a bots.ini (None if it has vanished) and of the files it names. Equal digests need no reload."""
    total = hashlib.sha256(b"gone" if content is None else hashlib.sha256(content).digest())
    for path in sorted(files):
        try:
            held = hashlib.sha256(_read(path)[0]).digest()
        except (OSError, ValueError):
            held = b"absent"
        total.update(os.fsencode(path) + b"\0" + held)
    return total.hexdigest()
