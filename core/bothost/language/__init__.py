"""Say what people read in their language: the page's texts, the commands' messages, and the reasons of the host.

English stands in the code and is the key. Russian stands in the tables beside this file. Start reading at `Language`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from bothost.language.messages import compiled, in_russian
from bothost.language.numbers import ENGLISH_COUNTS, russian_count
from bothost.language.russian_answers import ANSWERS
from bothost.language.russian_errors import ERRORS
from bothost.language.russian_raised import RAISED
from bothost.language.russian_reasons import REASONS
from bothost.language.russian_texts import TEXTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bothost.language.messages import MessageTemplate

MESSAGES: Mapping[str, str] = {**REASONS, **ERRORS, **RAISED, **ANSWERS}
"""Russian templates by English ones."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its code, its texts, its plural forms."""

    code: str

    def text(self, english: str, **values: object) -> str:
        """Return the text in this language, with `{name}` filled from `values`."""
        text = TEXTS.get(english, english) if self.code == "ru" else english
        return text.format(**values) if values else text

    def count(self, what: str, n: int) -> str:
        """Return a number of things: "5 deliveries", "5 доставок"."""
        if self.code == "ru":
            return russian_count(what, n)
        return ENGLISH_COUNTS[what][0 if n == 1 else 1].format(n=n)

    def message(self, english: str) -> str:
        """Return a message that is filled already, with names and numbers kept. What no template knows stays English."""
        return in_russian(english, _messages()) if self.code == "ru" else english

    def help_text(self, english: str) -> str:
        """Return a text of a command's `--help`, which is given in one line."""
        if self.code != "ru":
            return english
        from bothost.language.russian_help import HELP  # here, because only --help wants it

        return HELP.get(english, english)


ENGLISH = Language("en")
RUSSIAN = Language("ru")


@lru_cache(maxsize=1)
def _messages() -> Sequence[MessageTemplate]:
    return compiled(MESSAGES)


@lru_cache(maxsize=256)
def choose(accept_language: str) -> Language:
    """Return the first of our languages in the browser's order of preference."""
    weighed = []
    for place, part in enumerate(accept_language.split(",")[:20]):
        tag, _, rest = part.strip().partition(";")
        weighed.append((-_weight(rest), place, tag.strip().lower().partition("-")[0]))
    for weight, _, tag in sorted(weighed):
        if weight < 0 and tag in ("ru", "en"):
            return RUSSIAN if tag == "ru" else ENGLISH
    return ENGLISH


def of_terminal(env: Mapping[str, str]) -> Language:
    """Return the language of a terminal, by the variables that gettext reads: LANGUAGE counts unless the locale is C."""
    locale = next(filter(None, map(env.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "C")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return ENGLISH
    wanted = [*env.get("LANGUAGE", "").split(":"), locale]
    ours = (tag for tag in (name.lower()[:2] for name in wanted) if tag in ("ru", "en"))
    return RUSSIAN if next(ours, "en") == "ru" else ENGLISH


def _weight(rest: str) -> float:
    name, equals, value = rest.strip().partition("=")
    if not equals or name.strip() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
