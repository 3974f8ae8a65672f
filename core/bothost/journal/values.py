"""Encode values of plugins as JSON. Decimal, datetime, date and bytes are marked so that they come back as their type."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bothost.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LARGEST_VALUE = 256 * 1024
"""The most bytes of an encoded value."""
LONGEST_KEY = 200
"""The most characters of a key."""
_MARK = "$"
"""The only key of an object that stands for another type. A plugin's own object with such a key is wrapped."""
_DEEPEST = 100
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "bytes": b64decode,
    "object": lambda members: {key: _read(value) for key, value in members.items()},
}


def encode(value: Any) -> bytes:
    """Encode a value. Raises StoreError, which names the type or the size that is wrong."""
    try:
        text = json.dumps(_marked(value, 0), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise StoreError(f"a value cannot be stored: {error}") from None
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > LARGEST_VALUE:
        raise StoreError(f"a value of {len(data)} bytes cannot be stored: the most is {LARGEST_VALUE}")
    return data


def decode(data: bytes) -> Any:
    """Decode what `encode` made."""
    return _read(json.loads(data.decode("utf-8", "surrogatepass")))


def added(data: bytes | None, amount: bytes) -> bytes:
    """Add an encoded number to an encoded number, or to 0. Raises StoreError if either is none."""
    have = decode(data) if data is not None else 0
    plus = decode(amount)
    for one in (have, plus):
        if isinstance(one, bool) or not isinstance(one, int | float | Decimal):
            raise StoreError(f"add works on numbers, not on a {type(one).__name__}")
    try:
        return encode(have + plus)
    except (TypeError, ArithmeticError) as error:
        raise StoreError(f"{plus!r} cannot be added to {have!r}: {error}; give a {type(have).__name__}") from None


def check_key(key: object, what: str = "a key of the store") -> str:
    """Return the key if both journals can hold it. Raises StoreError if not."""
    if not isinstance(key, str) or not key or len(key) > LONGEST_KEY:
        raise StoreError(f"{what} is a text of 1 to {LONGEST_KEY} characters, not {key!r:.80}")
    if any(one == "\x00" or "\ud800" <= one <= "\udfff" for one in key):
        raise StoreError(f"{what} cannot hold zero characters or halves of surrogate pairs: {key!r:.80}")
    return key


def _marked(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise StoreError(f"a value nested deeper than {_DEEPEST} levels cannot be stored")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_marked(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return _object(value, depth)
    if isinstance(value, Decimal):
        return {_MARK: "decimal", "v": str(value)}
    if isinstance(value, date):
        return {_MARK: "datetime" if isinstance(value, datetime) else "date", "v": value.isoformat()}
    if isinstance(value, bytes | bytearray):
        return {_MARK: "bytes", "v": b64encode(value).decode()}
    name = type(value).__name__
    raise StoreError(
        f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name} cannot be stored: a value is what JSON carries, a Decimal, datetime, date or bytes"
    )


def _object(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise StoreError(f"the key {key!r:.80} of an object cannot be stored: it is a text in JSON")
    members = {key: _marked(item, depth + 1) for key, item in value.items()}
    return {_MARK: "object", "v": members} if _MARK in members else members


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    if isinstance(value, dict):
        kind = value.get(_MARK)
        if kind is not None:
            return _READERS[kind](value["v"])
        return {key: _read(item) for key, item in value.items()}
    return value
