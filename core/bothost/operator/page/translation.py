"""Translate the page's texts. The English in the templates is the key; Russian is in russian.py and russian_reasons.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from bothost.operator.page.russian import COUNTS as RUSSIAN_COUNTS
from bothost.operator.page.russian import TEXTS as RUSSIAN
from bothost.operator.page.russian_reasons import REASONS

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGLISH_COUNTS: Mapping[str, tuple[str, str]] = {
    "bots": ("{n} bot", "{n} bots"),
    "deliveries": ("{n} delivery", "{n} deliveries"),
    "attempts": ("{n} attempt", "{n} attempts"),
    "runs": ("{n} run", "{n} runs"),
    "problems": ("{n} problem", "{n} problems"),
    "tries": ("{n} try", "{n} tries"),
    "deaths": ("{n} time", "{n} times"),
}


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its code, its texts, its plural forms."""

    code: str

    def text(self, english: str, **values: object) -> str:
        """Return the text in this language, with `{name}` filled from `values`."""
        text = RUSSIAN.get(english, english) if self.code == "ru" else english
        return text.format(**values) if values else text

    def count(self, what: str, n: int) -> str:
        """Return a number of things: "5 deliveries", "5 доставок"."""
        if self.code == "ru":
            return RUSSIAN_COUNTS[what][_russian_form(n)].format(n=n)
        return ENGLISH_COUNTS[what][0 if n == 1 else 1].format(n=n)


ENGLISH = Language("en")
RUSSIAN_LANGUAGE = Language("ru")


def translated_reason(text: str) -> str:
    """Return the Russian of a reason that the host gives, names and numbers kept; the text itself if it is not known."""
    for english, russian in REASONS:
        text = english.sub(russian, text)
    return text


@lru_cache(maxsize=256)
def choose(accept_language: str) -> Language:
    """Return the first of our languages in the browser's order of preference."""
    weighed = []
    for place, part in enumerate(accept_language.split(",")[:20]):
        tag, _, rest = part.strip().partition(";")
        weighed.append((-_weight(rest), place, tag.strip().lower().partition("-")[0]))
    for weight, _, tag in sorted(weighed):
        if weight < 0 and tag in ("ru", "en"):
            return RUSSIAN_LANGUAGE if tag == "ru" else ENGLISH
    return ENGLISH


def _weight(rest: str) -> float:
    name, equals, value = rest.strip().partition("=")
    if not equals or name.strip() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0


def _russian_form(n: int) -> int:
    """Return the plural form: 0 for 1, 21, 31 …; 1 for 2-4, 22-24 …; 2 for the rest."""
    if n % 10 == 1 and n % 100 != 11:
        return 0
    return 1 if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else 2
