"""Translate messages that are filled already, because an error is raised, logged and stored in English before anybody reads it.

A template such as `{bot} has no login` is looked for anywhere in a text, so that a message that is put together from several
is translated part by part.
"""

from __future__ import annotations

import re
from functools import partial
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple

from bothost import errors
from bothost.language.numbers import ENGLISH_COUNTS, russian_count
from bothost.language.russian_texts import TEXTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATES = (
    "config error", "plugin error", "starting", "active", "off", "stuck", "quarantined", "paused", "elsewhere",
    "ready", "waiting", "running", "held", "parked", "posting", "answered", "undelivered", "failed", "cancelled",
)  # fmt: skip
"""The states of bots and of events, as `{state:word}` finds them in a message."""
LONGEST = 2000
"""The most characters of a name or list within a message."""
_OURS = "|".join(name for name, kind in vars(errors).items() if isinstance(kind, type) and kind is not errors.GiveUp)
_FOREIGN = re.compile(
    rf"(?<=raised )(?!(?:{_OURS})\b)[\w.]+: [^\n]*?(?= \(did you mean| \([^()\n]*:\d+\)|$)"
    r"|(?<=paused by the operator: )[^\n]*|(?<=\n)(?s:Traceback \(most recent call last\).*)",
    re.MULTILINE,
)
"""What a plugin's exception or an operator says in a message of ours. It stays as it is, whatever language it is in."""
_PLACES = range(0xE000, 0xF900)
"""Characters for private use. One stands for each such part while the rest is translated."""


class MessageTemplate(NamedTuple):
    """A template: what to look for, its words between the places, and the Russian."""

    pattern: re.Pattern[str]
    literals: tuple[str, ...]
    russian: str


class CapturedText(str):
    """A name or number of a message. In a template, `{n:bots}` counts it and `{state:word}` translates it."""

    __slots__ = ()

    def __format__(self, what: str) -> str:
        """Return the text, its translation, or the number of things."""
        if what == "word":
            return TEXTS.get(self, self)
        return russian_count(what, int(self)) if what in ENGLISH_COUNTS else str(self)


def compiled(templates: Mapping[str, str]) -> Sequence[MessageTemplate]:
    """Return the templates ready to be looked for, longest first, because a short one may be a part of a longer one."""
    found = [_message(english, russian) for english, russian in templates.items()]
    found += [_message(f"{{n:{what}}}", f"{{n:{what}}}") for what in ENGLISH_COUNTS]
    return sorted(found, key=lambda message: -sum(map(len, message.literals)))


def in_russian(text: str, messages: Sequence[MessageTemplate]) -> str:
    """Return the text with every message in it replaced by its Russian, except what is a plugin's or an operator's own."""
    text, foreign = _set_aside(text)
    for message in messages:
        if all(literal in text for literal in message.literals):  # much quicker than the pattern
            text = message.pattern.sub(partial(_filled, message.russian), text)
    for place, own in foreign.items():
        text = text.replace(place, own)
    return text


def _set_aside(text: str) -> tuple[str, dict[str, str]]:
    """Return the text with a character in place of each part that is not ours, and these parts by their characters."""
    foreign: dict[str, str] = {}

    def kept(match: re.Match[str]) -> str:
        place = chr(_PLACES[len(foreign)])
        foreign[place] = match[0]
        return place

    if any(ord(letter) in _PLACES for letter in text):
        return text, foreign
    return _FOREIGN.sub(kept, text, count=len(_PLACES)), foreign


def _filled(russian: str, match: re.Match[str]) -> str:
    return russian.format(**{name: CapturedText(value) for name, value in match.groupdict().items()})


def _message(english: str, russian: str) -> MessageTemplate:
    parts = list(Formatter().parse(english))
    pattern, opened = "", False
    for place, (literal, name, what, _) in enumerate(parts):
        pattern += re.escape(literal) + (")" if opened else "")
        if opened := name is not None:
            # a name at either end is one word, because nothing says where a longer text ends
            edge = (place == 0 and not literal) or place == len(parts) - 1
            # atomic, so that a plugin's error of 32 kB cannot have a pattern try each way to split it
            pattern += f"(?>{_group(name, what or '', edge=edge)}"
    pattern += ")" if opened else ""
    literals = tuple(literal for literal, *_ in parts if literal)
    return MessageTemplate(re.compile(_bounded(pattern, english)), literals, russian)


def _group(name: str, what: str, *, edge: bool) -> str:
    if what == "word":
        return f"(?P<{name}>{'|'.join(STATES)})"
    if what in ENGLISH_COUNTS:
        return rf"(?P<{name}>\d+) (?:{'|'.join(form[4:] for form in ENGLISH_COUNTS[what][::-1])})"
    value = r"\d+" if what == "number" else r"[^\s;]+" if edge else f".{{1,{LONGEST}}}?"
    return f"(?P<{name}>{value})"


def _bounded(pattern: str, english: str) -> str:
    """Return a pattern that begins and ends at the ends of words."""
    before = r"(?<![^\s;(])" if english.startswith("{") else r"(?<!\w)" if english[0].isalnum() else ""
    after = r"(?!\w)" if re.search(r"[\w}]$", english) else ""
    return before + pattern + after
