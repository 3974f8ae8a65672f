"""Make texts for people: suggest a near word, quote a value in an error, show invisible characters."""

from __future__ import annotations

import difflib
import pwd
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


SLIP = 0.75
"""How near a word is to a known one that it is taken for with a slip in it, and not for a new one."""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ` (did you mean 'x'?)`, or "" if no known word is near."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return f" (did you mean {by_lower[near[0]]!r}?)" if near else ""


MOST_NAMES = 20


def listed(names: Sequence[str]) -> str:
    """Return names as "a, b, c", at most twenty of them and the number of the others."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def shown(text: str) -> str:
    """Quote a value for an error: at most 60 characters, on one line, with invisible characters escaped."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


# C0 and C1 controls, zero-width and bidi marks, line and paragraph separators, lone surrogates
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
_UNSEEN_BUT_LINES = re.compile(_UNSEEN.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, lines: bool = False) -> str:
    """Escape control, bidi and zero-width characters (`\\x1b`, `\\u202e`). `lines` keeps line ends and tabs."""
    if text.isprintable():
        return text
    return (_UNSEEN_BUT_LINES if lines else _UNSEEN).sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


LONGEST_TEXT = 1 << 15
"""The length at which a message, a field or a traceback of a log line is cut."""
SCRUBBED_BEYOND = 1 << 16
"""The length of text that is scrubbed beyond the shown part, so that no secret is cut in two and half of it kept."""


def said(error: BaseException, longest: int = 2000) -> str:
    """Return an exception's type and text, cut to a length; also if its own `__str__` fails."""
    text = words_of(error, longest)
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    return f"{name}: {text}" if text else name


def words_of(error: BaseException, longest: int) -> str:
    """Return an exception's text, cut to a length; also if its own `__str__` fails."""
    try:
        text = str(error)
    except BaseException as fault:  # noqa: BLE001 - a plugin's own __str__
        return f"its text cannot be had, {type(fault).__name__}"
    return cut(text, longest) if type(text) is str else repr(type(text))


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters; of a longer one its beginning and its length."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def user_name(uid: int) -> str:
    """Return a user's name, or the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def counted(number: int, word: str, words: str = "") -> str:
    """Return a number of things: "1 bot", "5 bots"."""
    return f"{number} {word}" if number == 1 else f"{number} {words or word + 's'}"
