"""Turn the raw texts of one section into values by a table of keys, and collect every error on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bothost.config.invisible import invisible
from bothost.config.secrets import SHORTEST_SECRET, SecretText, Unresolved, Unset, is_sample
from bothost.errors import Problem
from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bothost.config.ini import IniItem, IniSection
    from bothost.config.secrets import SecretSources

_REMARK = re.compile(r"[ \t][;#]")


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One key of the grammar: the field it fills, how its text is read, and whether it may stand empty."""

    field: str
    read: Callable[[str], Any]
    empty: bool = False
    """True if an empty text stands for the field's default; otherwise an empty text is an error."""
    lines: bool = False
    """True if the text may have several lines."""


@dataclass(slots=True)
class SectionReader:
    """The values, problems and warnings of one section. `file` is the name that problems give the file."""

    file: str
    section: IniSection
    found: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def wrong(self, text: str, key: str = "") -> None:
        """Note an error at a key, or at the section's head."""
        self.problems.append(self._problem(text, key))

    def warn(self, text: str, key: str = "") -> None:
        """Note a warning at a key, or at the section's head."""
        self.warnings.append(self._problem(text, key))

    def _problem(self, text: str, key: str) -> Problem:
        item = self.section.items.get(key)
        return Problem(text, self.file, item.line if item else self.section.line, self.section.name, key)

    def take(self, item: IniItem, key: ConfigKey) -> None:
        """Read one item into its field, or note an error that says why it cannot be read."""
        if not item.text:
            if not key.empty:
                self.wrong("is empty: write a value, or leave the line out to have the default", item.key)
            return
        if "\n" in item.text and not key.lines:
            self.wrong("has several lines: a line that begins with a blank continues the value before it", item.key)
            return
        try:
            self.found[key.field] = key.read(item.text)
        except ValueError as error:
            self.wrong(f"{error}{_remark(item.text)}", item.key)

    def secret(self, item: IniItem, sources: SecretSources) -> bytes | None:
        """Return the value of env:, file: or the literal; None, with an error noted, if it leads nowhere. Raises Unset for env:."""
        if "\n" in item.text:
            self.wrong("has several lines: a line that begins with a blank continues the value before it", item.key)
            return None
        literal = not item.text.startswith(("env:", "file:"))
        if literal and _REMARK.search(item.text):
            self.warn("holds a ; or # after a blank: a remark after a value would be part of the secret", item.key)
        try:
            return sources.resolve(item.text)
        except Unset:
            raise
        except Unresolved as error:
            self.wrong(str(error), item.key)
            return None

    def hidden(self, item: IniItem, sources: SecretSources) -> SecretText | None:
        """Return a text of [host], resolved as secrets are; None if it is empty or wrong. Raises Unset for env:."""
        if not item.text:
            return None
        value = self.secret(item, sources)
        if not value or not value.strip():
            return None
        if why := invisible(value):
            self.wrong(why, item.key)
            return None
        return SecretText(value.decode())


def refusal(secret: bytes, *, demo: bool) -> str:
    """Return the reason why a bot's secret is refused, or ""."""
    text = secret.decode("utf-8", "surrogateescape")
    if not text.strip():
        return "is empty: a bot without a secret would believe anybody"
    if why := invisible(secret):
        return why
    if len(text) < SHORTEST_SECRET:
        return f"is shorter than {SHORTEST_SECRET} characters: copy the whole key from the bot's page in Pyrus"
    if is_sample(text) and not demo:
        return "is a well-known sample: put the bot's own key from Pyrus here (only `bothost demo` takes samples)"
    return ""


def _remark(text: str) -> str:
    return "; a remark stands on a line of its own, not after a value" if _REMARK.search(text) else ""


def unknown(key: str, known: Mapping[str, ConfigKey], elsewhere: Mapping[str, str]) -> str:
    """Return the error for a key that the section does not have. `elsewhere` maps keys to the section where they belong."""
    if key in elsewhere:
        return f"belongs in {elsewhere[key]}"
    return f"no such key{_nearest(key, tuple(known))}"


@lru_cache(maxsize=1024)
def _nearest(key: str, known: tuple[str, ...]) -> str:
    return nearest(key, known)
