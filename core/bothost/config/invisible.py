"""Find what a person cannot see in a secret: blanks at its ends, byte order marks, zero-width and control characters, quotes."""

from __future__ import annotations

import re
import unicodedata

_MARK = b"\xef\xbb\xbf"
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Characters that Unicode counts as letters or marks, but that have no visible shape."""
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_WORD = re.compile(
    r"[0-9]{0,8}|[0-9]{0,2}(?:[A-Z]?[a-z]{2,15}){0,2}[0-9]{0,3}|[A-Z]{1,15}[0-9]{0,3}|[a-zA-Z][0-9]{0,2}"
)
_LONGEST_WORD = 20


def bare(content: bytes) -> bytes:
    """Return the content without what editors add to it: a byte order mark at its start and one line end at its end."""
    return content.removeprefix(_MARK).removesuffix(b"\n").removesuffix(b"\r")


def invisible(value: bytes, *, lines: bool = False) -> str:
    """Return the name and the place of an invisible character of a secret; "" if there is none. The secret is not quoted.

    `lines` allows line breaks and tabs inside, for a plugin's secret such as a PEM key.
    """
    if value[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "is saved as UTF-16: save it as UTF-8"
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is not UTF-8 at byte {error.start + 1} of {len(value)}"
    for at, character in enumerate(text):
        at_an_end = at in (0, len(text) - 1)
        if _is_invisible(character, at_an_end=at_an_end, lines=lines):
            return f"holds {_name(character)} as character {at + 1} of {len(text)}: remove it"
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        return "stands in quotes, which would be part of it: remove them"
    return ""


def _is_invisible(character: str, *, at_an_end: bool, lines: bool) -> bool:
    if character == " " or (lines and character in "\n\r\t"):
        return at_an_end and not (lines and character in "\n\r")
    if character in _FILLERS or "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return True
    return unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")


def _name(character: str) -> str:
    known = {
        " ": "a blank",
        "\t": "a tab",
        "\n": "a line break",
        "\r": "a carriage return",
        "\ufeff": "a byte order mark",
    }
    code = f"U+{ord(character):04X}"
    name = known.get(character) or unicodedata.name(character, "a control character").lower().replace("_", " ")
    return f"{name} ({code})"


def may_be_shown(name: str) -> bool:
    """Return whether the text behind env: or file: looks like a name. If it does not, it may be a secret written there by mistake."""
    parts = re.split(r"[/._@-]", name)
    return all(len(part) <= _LONGEST_WORD and _WORD.fullmatch(part) for part in parts)
