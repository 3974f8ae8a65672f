"""Values as a person reads them. What returns `html` is escaped already; everything else is plain text."""

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
    from bothost.operator.page.translation import Language

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
    "cancelled": "idle",
}


def tone(state: str) -> str:
    """The colour class of a state."""
    return STATE_TONES.get(state, "idle")


def phase(entry: Entry) -> str:
    """How an entry stands; one that was answered with an error text has failed."""
    return "failed" if entry.failed and entry.state == "answered" else status.phase(entry)


def iso(at: float) -> str:
    """For `<time datetime>`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(at: float) -> str:
    """Date and time, UTC; the script turns it into the reader's own zone."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(at: float, now: float, language: Language) -> str:
    """ "3 min ago"; "never" for 0."""
    if not at:
        return language.text("never")
    past = max(now - at, 0.0)
    if past < 5:
        return language.text("just now")
    return language.text("{time} ago", time=rough(past, language))


def rough(seconds: float, language: Language) -> str:
    """A span of time by its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {language.text(unit)}"
    return f"{int(seconds)} {language.text('s')}"


def span(seconds: float | None, language: Language) -> str:
    """How long something took."""
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
    """Bytes in a readable unit."""
    for unit in ("B", "kB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"


def number(count: float) -> str:
    """With thin spaces between thousands."""
    return f"{count:,.0f}".replace(",", "\u202f")


def text(value: object) -> str:
    """Any text from outside, on one line, with what cannot be seen made visible."""
    return visible(str(value))


def block(value: str) -> str:
    """A text of several lines from outside."""
    return visible(value.replace("\r\n", "\n"), lines=True)


def json_html(body: bytes, scrub: Callable[[str], str]) -> tuple[str, bool]:
    """A body laid out with its keys and values told apart, as html; and whether it was cut."""
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
    """An event key without the bot's name, which stands beside it anyway: ("5:comment:7", "~2")."""
    rest = key.partition(":")[2] or key
    head, mark, number = rest.rpartition("~")
    return (head, mark + number) if mark else (rest, "")


def line(text: str, bot: str) -> str:
    """A text of the host's about a bot in one line."""
    return "; ".join(lines(text, bot))


def lines(text: str, bot: str) -> list[str]:
    """Each line of such a text without the bot's name, which stands beside it: several errors stand in several."""
    return [visible(one.removeprefix(f"[bot:{bot}] ")) for one in text.splitlines()]


def first_line(error: str, bot: str) -> str:
    """What happened, without the traceback and without the bot's name, which stands beside it."""
    return visible(error.partition("\n")[0].removeprefix(f"[bot:{bot}] "))
