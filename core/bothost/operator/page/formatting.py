"""Format values for people. Functions named `…html` return escaped html, all others plain text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from tornado.escape import xhtml_escape

from bothost.journal import status
from bothost.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.journal.entry import Entry
    from bothost.language import Language

MOST_JSON = 100_000
_TOKENS = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<str>"(?:[^"\\]|\\.)*")|(?P<num>-?\d[\d.eE+-]*)|(?P<word>true|false|null)'
)

STATE_TONES = {
    "active": "ok",
    "answered": "ok",
    "running": "live",
    "starting": "live",
    "posting": "live",
    "paused": "warn",
    "waiting": "warn",
    "held": "warn",
    "parked": "warn",
    "undelivered": "warn",
    "config error": "bad",
    "plugin error": "bad",
    "stuck": "bad",
    "quarantined": "bad",
    "failed": "bad",
    "off": "idle",
    "elsewhere": "idle",
    "cancelled": "idle",
}


def tone(state: str) -> str:
    """Return the colour class of a state."""
    return STATE_TONES.get(state, "idle")


def phase(entry: Entry) -> str:
    """Return an entry's state. One that was answered with an error text counts as failed."""
    return "failed" if entry.failed and entry.state == "answered" else status.phase(entry)


def iso(at: float) -> str:
    """Return a time for `<time datetime>`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(at: float) -> str:
    """Return date and time in UTC. The script turns it into the reader's own zone."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(at: float, now: float, language: Language) -> str:
    """Return how long ago: "3 min ago", or "never" for 0."""
    if not at:
        return language.text("never")
    past = max(now - at, 0.0)
    if past < 5:
        return language.text("just now")
    return language.text("{time} ago", time=rough(past, language))


def rough(seconds: float, language: Language) -> str:
    """Return a span of time in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {language.text(unit)}"
    return f"{int(seconds)} {language.text('s')}"


def span(seconds: float | None, language: Language) -> str:
    """Return a duration with two or three digits."""
    if seconds is None:
        return "–"
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} {language.text('ms')}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} {language.text('ms')}"
    if seconds < 100:
        return f"{seconds:.1f} {language.text('s')}"
    return f"{int(seconds // 60)} {language.text('min')} {int(seconds % 60)} {language.text('s')}"


def size(count: float) -> str:
    """Return a number of bytes in a readable unit."""
    for unit in ("B", "kB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"


def number(count: float) -> str:
    """Return a number with thin spaces between thousands."""
    return f"{count:,.0f}".replace(",", "\u202f")


def text(value: object) -> str:
    """Return a text from outside on one line, with unseen characters made visible."""
    return visible(str(value))


def block(value: str) -> str:
    """Return a text of several lines from outside, with unseen characters made visible."""
    return visible(value.replace("\r\n", "\n"), lines=True)


def json_html(body: bytes, scrub: Callable[[str], str]) -> tuple[str, bool]:
    """Return a body laid out as coloured html, and whether it was cut."""
    try:
        laid = msgspec.json.format(body, indent=2) if len(body) <= 4 * MOST_JSON else body[: MOST_JSON + 1]
    except (msgspec.DecodeError, RecursionError):
        laid = body[: MOST_JSON + 1]
    plain = visible(scrub(laid.decode("utf-8", "replace")), lines=True)
    cut = len(plain) > MOST_JSON
    plain = plain[:MOST_JSON]
    parts: list[str] = []
    at = 0
    for match in _TOKENS.finditer(plain):
        parts.append(xhtml_escape(plain[at : match.start()]))
        parts.append(f'<span class="j-{match.lastgroup}">{xhtml_escape(match[0])}</span>')
        at = match.end()
    parts.append(xhtml_escape(plain[at:]))
    return "".join(parts), cut


def key_parts(key: str) -> tuple[str, str]:
    """Split an event key without the bot's name, which stands beside it: ("5:comment:7", "~2")."""
    rest = key.partition(":")[2] or key
    head, mark, number = rest.rpartition("~")
    return (head, mark + number) if mark else (rest, "")


def line(text: str, bot: str) -> str:
    """Return a text of the host about a bot in one line."""
    return "; ".join(lines(text, bot))


def lines(text: str, bot: str) -> list[str]:
    """Return the lines of such a text without the bot's name, which stands beside it."""
    return [visible(one.removeprefix(f"[bot:{bot}] ")) for one in text.splitlines()]


def first_line(error: str, bot: str) -> str:
    """Return an error without its traceback and without the bot's name, which stands beside it."""
    return visible(error.partition("\n")[0].removeprefix(f"[bot:{bot}] "))
