"""Read one setting, a text of bots.ini or a Python value from a test, as the type that the plugin's author declared."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from bothost.config.invisible import invisible
from bothost.config.secrets import SecretText
from bothost.config.units import seconds, truth
from bothost.plugins.settings.limits import UnsupportedSetting, check_limits
from bothost.text import nearest, shown

if TYPE_CHECKING:
    from bothost.config.secrets import SecretSources


class Secret(SecretText):
    """A setting that nobody shows: `env:NAME`, `file:PATH` or the text itself in bots.ini. Only `.reveal()` gives it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<secret {self.fingerprint}>"


def read(value: object, hint: Any, sources: SecretSources) -> Any:
    """Return the value as `hint` says. Raises ValueError, which says what would be right, and Unsupported."""
    return _SettingReader(sources).read(value, hint)


@dataclass(frozen=True, slots=True)
class _SettingReader:
    sources: SecretSources

    def read(self, value: object, hint: Any) -> Any:
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            found = self.read(value, args[0])
            for note in args[1:]:
                check_limits(found, note)
            return found
        if origin in (Union, types.UnionType):
            return self._one_of(value, args)
        if origin is Literal:
            return _word(value, args, args)
        if alias := _alias(hint):
            return self.read(value, alias)
        kind = origin or hint
        if kind in _LISTS:
            return self._list(value, _LISTS[kind], args)
        if kind in (dict, Mapping):
            return self._dict(value, args)
        return self._single(value, kind)

    def _one_of(self, value: object, hints: tuple[Any, ...]) -> Any:
        if types.NoneType in hints:
            hints = tuple(hint for hint in hints if hint is not types.NoneType)
            if value is None or (isinstance(value, str) and not value.strip()):
                return None
        for hint in hints[:-1]:
            try:
                return self.read(value, hint)
            except ValueError:
                continue
        return self.read(value, hints[-1])

    def _list(self, value: object, kind: type, args: tuple[Any, ...]) -> Any:
        if not isinstance(value, str) and not isinstance(value, Sequence | set | frozenset):
            raise ValueError(f"{_said(value)} is not a list")
        single = args[0] if args else str
        items = _items(value, as_text=_is_text(single)) if isinstance(value, str) else list(value)
        if kind is tuple and args and args[-1] is not Ellipsis:
            if len(items) != len(args):
                raise ValueError(f"has {len(items)} items: write {len(args)}")
            return tuple(self.read(item, hint) for item, hint in zip(items, args, strict=True))
        return kind(self.read(item, single) for item in items)

    def _dict(self, value: object, args: tuple[Any, ...]) -> dict[Any, Any]:
        key_hint, hint = args or (str, str)
        pairs = _pairs(value) if isinstance(value, str) else value
        if not isinstance(pairs, Mapping):
            raise ValueError(f"{_said(value)} is not a dict")
        found = {}
        for key, item in pairs.items():
            try:
                found[self.read(key, key_hint)] = self.read(item, hint)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        return found

    def _single(self, value: object, kind: Any) -> Any:
        if kind is Any or kind is object:
            return value
        if isinstance(kind, type) and issubclass(kind, Enum):
            return _word(value, [member.value for member in kind], list(kind))
        if kind is Secret:
            return self._secret(value)
        if kind is Path:
            return self._path(value)
        if kind in _TEXTS:
            return _TEXTS[kind](value) if isinstance(value, str) else _python(value, kind)
        if callable(parse := getattr(kind, "parse", None)):
            return _parsed(parse, value) if isinstance(value, str) else _python(value, kind)
        raise UnsupportedSetting(f"no setting can be of type {_name(kind)}; give the type a classmethod parse(text)")

    def _secret(self, value: object) -> Secret:
        if isinstance(value, SecretText):
            return value if isinstance(value, Secret) else Secret(value.reveal())
        if not isinstance(value, str):
            raise ValueError("is not a text: write env:NAME, file:PATH or the secret itself")
        found = self.sources.resolve(value)
        if not found.strip():
            raise ValueError("is empty: write env:NAME, file:PATH or the secret itself")
        if why := invisible(found, lines=True):
            raise ValueError(why)
        return Secret(found.decode())

    def _path(self, value: object) -> Path:
        if not isinstance(value, str | Path):
            raise ValueError(f"{_said(value)} is not a path")
        if not str(value).strip() or "\0" in str(value) or "\n" in str(value):
            raise ValueError("names no file: write a path, relative to bots.ini")
        return self.sources.folder / value


_COMMALESS = (int, float, Decimal, bool, date, time, timedelta, types.NoneType)
_LISTS: dict[Any, type] = {list: list, tuple: tuple, set: set, frozenset: frozenset, Sequence: tuple}


def _name(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or str(kind)


def _said(value: object) -> str:
    return shown(value) if isinstance(value, str) else f"{value!r} ({type(value).__name__})"


def _word(value: object, texts: Sequence[Any], results: Sequence[Any]) -> Any:
    """Return the result whose text this is."""
    for text, result in zip(texts, results, strict=True):
        if (
            value is result
            or (isinstance(value, str) and str(text) == value)
            or (value == text and type(value) is type(text))
        ):
            return result
    known = [str(text) for text in texts]
    near = nearest(value, known) if isinstance(value, str) else ""
    raise ValueError(f"{_said(value)} is none of {', '.join(known)}{near}")


def _is_text(hint: Any) -> bool:
    """Return whether an item may itself hold a comma, as a text may, and a word that is spelled with one."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(map(_is_text, args))
    if origin is Annotated:
        return _is_text(args[0])
    if alias := _alias(hint):
        return _is_text(alias)
    if origin is Literal:
        return any("," in str(word) for word in args)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return any("," in str(member.value) for member in hint)
    return hint not in _COMMALESS


def _alias(hint: Any) -> Any:
    """Return what `type X = …` or a NewType stands for; None for any other type."""
    return getattr(hint, "__value__", None) or getattr(hint, "__supertype__", None)


def _items(text: str, *, as_text: bool) -> list[str]:
    """Return the items between commas; or lines, whose items may hold commas unless all lines end with one."""
    lines = text.split("\n")
    if as_text and len(lines) > 1 and not all(line.rstrip().endswith(",") for line in lines[:-1]):
        parts = lines
    else:
        parts = text.replace("\n", ",").split(",")
    return [part.strip() for part in parts if part.strip()]


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.strip():
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not key:
            raise ValueError(f"{shown(line.strip())} is not of the form `key = value`: write one on each line")
        if key in pairs:
            raise ValueError(f"{shown(key)} is given twice")
        pairs[key] = value
    return pairs


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(str(error) or f"{shown(text)} cannot be read") from error
    except Exception as error:  # the plugin's own code: whatever it raises is this setting's error, nobody else's
        raise ValueError(f"{shown(text)} cannot be read: {type(error).__name__}: {error}") from error


def _digits(text: str) -> str:
    return re.sub(r"(?<=[0-9])[ _\u00a0\u202f](?=[0-9])", "", text)


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,100}", _digits(text), re.ASCII):
        raise ValueError(f"{shown(text)} is not a whole number")
    return int(_digits(text))


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(_digits(text)) if text.isascii() or re.search(r"[\u00a0\u202f]", text) else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite():
        point = ": write a point, not a comma" if re.fullmatch(r"[+-]?[0-9 ]+,[0-9]+", text, re.ASCII) else ""
        raise ValueError(f"{shown(text)} is not a number{point}")
    return value


def _float(text: str) -> float:
    value = float(_decimal(text))
    if not isfinite(value):
        raise ValueError(f"{shown(text)} is too large")
    return value


def _duration(text: str) -> timedelta:
    return timedelta(seconds=seconds(text))


def _time(text: str) -> time:
    try:
        if re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", text, re.ASCII):
            return time.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"{shown(text)} is not a time: write 09:30")


def _date(text: str) -> date:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"{shown(text)} is not a date: write 2026-01-31")


_TEXTS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _whole,
    float: _float,
    Decimal: _decimal,
    bool: truth,
    timedelta: _duration,
    time: _time,
    date: _date,
}


def _python(value: object, kind: Any) -> Any:
    """Read a value that is not a text. Tests give settings as Python values."""
    if isinstance(value, bool) and kind is not bool:
        raise ValueError(f"{value} is not of type {_name(kind)}")
    if kind is Decimal and isinstance(value, int | float):
        return _decimal(str(value))
    if kind is float and isinstance(value, int):
        return float(value)
    if isinstance(value, kind):
        return value
    raise ValueError(f"{_said(value)} is not of type {_name(kind)}")
