"""The reader of bots.ini: any bytes give values or problems that name their place and show no secret."""

from __future__ import annotations

import tempfile
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from tests.fuzz.draw import Draw

from bothost import config
from bothost.config.host import SECRET_KEYS
from bothost.config.ini import parse
from bothost.config.secrets import SecretSources
from bothost.errors import ConfigError
from bothost.plugins.settings import Secret, Settings, SettingsSource, fill

_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-ini-"))
_FILE = _FOLDER / "bots.ini"
_ENV = {"TOKEN": "a long secret of the environment", "PORT": "8080", "EMPTY": ""}
_FOLDER.joinpath("key").write_text("a long secret of a file\n")
_KEYS = (*sorted(config.HOST_KEYS | config.HOST_BOT_KEYS), "greeting", "ключ", "a b", "")
_SECTIONS = ("host", "bot", "bot:one", "bot:two", "bot:UPPER", "bot:", "bots:one", " bot:one ", "", "[")
_VALUES = (
    "env:TOKEN", "env:NONE", "env:", "file:key", "file:none", "file:.", "file:/dev/zero", "file:../../etc", "a literal of 24 letters",
    "changeme", "8080", "-1", "65536", "99999999999999999999", "0", "50s", "1h", "1e9s", "s", "nan", "inf", "16M", "16 MB", "٣", "yes", "no",
    "/one", "/one/", "//", "/%2e", "/%ff", "/a b", "/healthz", "/", "https://pyrus.com/api/v4/", "https://pyrus.com@evil/", "https://[",
    "http://127.0.0.1:99999/", "postgresql://u:p@h/d", "10.0.0.0/8", "::/0", "300.1.1.1", "1,2,x", "\x00", "\u2028", "retry", "loop", "process",
)  # fmt: skip


class _Kind(Enum):
    A = "a"
    B = "b"


class _Every(Settings):
    text: str
    whole: Annotated[int, msgspec.Meta(ge=1)] = 1
    ratio: float = 0.5
    money: Decimal = Decimal(1)
    flag: bool = False
    period: timedelta = timedelta(0)
    at: time = time(9)
    day: date | None = None
    kind: _Kind = _Kind.A
    word: Literal["x", "y"] = "x"
    ids: tuple[int, ...] = ()
    names: frozenset[str] = frozenset()
    table: dict[str, Decimal] | None = None
    folder: Path | None = None
    key: Secret | None = None


_SETTINGS = tuple(field.name for field in msgspec.structs.fields(_Every))


def check(data: bytes) -> None:
    """A file as the fuzzer has it or one of known keys, read whole; or texts for a plugin's settings."""
    draw = Draw(data)
    kind = draw.below(4)
    if kind == 3:
        _fill(draw)
        return
    content = draw.rest() if kind == 0 else _lines(draw)
    document = parse(content, "bots.ini")
    assert all(str(problem) for problem in document.problems)
    _FILE.write_bytes(content)
    reading = config.read(_FILE, _ENV)
    problems = reading.all_problems()
    told = "\n".join(map(str, (*problems, *reading.warnings)))
    assert not any(letter in told for letter in "\x00\x1b\r\x85\u2028"), told
    shown = told + repr(reading)
    for secret in ("a long secret", *_literals(content)):
        assert secret not in shown, f"{secret!r} is shown: {shown}"
    assert all(problem.text and problem.line <= content.count(b"\n") + 1 for problem in problems)
    try:
        loaded = config.load(_FILE, _ENV)
    except ConfigError:
        good = False
    else:
        good = True
        assert loaded.host == reading.host
        assert all(len(secret) >= 16 for one in loaded.bots.values() for secret in one.secrets)
        assert len({one.path for one in loaded.bots.values()}) == len(loaded.bots)
    assert good == (not problems and reading.host is not None)


def seeds() -> list[bytes]:
    """The repository's own file, and files of known keys."""
    own = Path(__file__).parents[3].joinpath("bots.ini").read_bytes()
    good = b"[host]\nport = 8080\n\n[bot:one]\nplugin = autoreply\nsecret = env:TOKEN\ntext = a\n b\n"
    built = [bytes([1, *((step * kind) % 256 for step in range(150))]) for kind in range(12)]
    return [b"\0" + own, b"\0" + good, b"\0\xef\xbb\xbf" + good.replace(b"\n", b"\r\n"), b"\3\0\1a\5", *built]


def _lines(draw: Draw) -> bytes:
    lines = []
    for _ in range(draw.below(24)):
        kind = draw.below(8)
        if kind < 2:
            lines.append(f"[{draw.pick(_SECTIONS)}]")
        elif kind < 7:
            value = draw.text() if draw.sometimes(4) else draw.pick(_VALUES)
            lines.append(f"{draw.key(_KEYS)} = {value}")
        else:
            lines.append(draw.text())
    return draw.pick(("\n", "\r\n")).join(lines).encode("utf-8", "surrogatepass")


def _literals(content: bytes) -> list[str]:
    """Secrets that stand in the file as they are and nowhere else."""
    found = []
    for section in parse(content, "bots.ini").sections.values():
        keys = (
            SECRET_KEYS
            if section.name == "host"
            else ("secret", "old_secret")
            if section.name.startswith("bot:")
            else ()
        )
        for key in keys:
            text = section.items[key].text if key in section.items else ""
            if (
                len(text) >= 12
                and not text.startswith(("env:", "file:"))
                and content.count(text.encode("utf-8", "replace")) == 1
            ):
                found.append(text)
    return found


def _fill(draw: Draw) -> None:
    texts = {
        draw.pick(_SETTINGS): draw.text() if draw.sometimes(2) else draw.pick(_VALUES) for _ in range(draw.below(12))
    }
    try:
        made = fill(_Every, texts, SettingsSource("plugin", "bot:one"), SecretSources(_FOLDER, _ENV))
    except ConfigError:
        return
    assert made.whole >= 1
    assert "a long secret" not in repr(made)
