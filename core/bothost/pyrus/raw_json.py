"""Read JSON as it came, into read-only dicts and lists, even if the decoder refuses it.

msgspec refuses a lone surrogate escape anywhere, and a number outside a double's range if it has to make a value of it. Neither
may lose an event, so such a body is mended and decoded once more. No other body pays for it.
"""

from __future__ import annotations

import copy
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NoReturn, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors that msgspec's decoders raise for bytes they cannot read."""

_MASK = "***"

# In turn: an escaped pair, a lone surrogate, any other escape; so that the `\\` of `\\ud800` is stepped over.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
# In turn: a string, a number.
_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|(-?[0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+)', re.DOTALL)
_LONGEST_NUMBER = 4000


def mended(body: bytes) -> bytes:
    """Return the same JSON with lone surrogates as U+FFFD and numbers nobody can hold as null: a second try for what the decoder
    refused. What is not JSON stays none.
    """
    text = _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], body)
    return _NUMBER.sub(_held, text)


def _held(found: re.Match[bytes]) -> bytes:
    number = found[1]
    if number is None or (len(number) < 300 and b"e" not in number and b"E" not in number):
        return found[0]
    if len(number) > _LONGEST_NUMBER or float(number) in (float("inf"), float("-inf")):
        return b"null"
    return number


def utf8(text: bytes) -> bytes:
    """Return the bytes themselves if they are UTF-8, else with each wrong one as U+FFFD."""
    return text if is_utf8(text) else text.decode("utf-8", "replace").encode()


def is_utf8(text: bytes) -> bool:
    """Return whether the bytes are UTF-8; this costs nothing if they are ASCII."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def exact(number: str) -> Decimal | None:
    """Return a JSON number with a fraction or exponent, digit for digit; None if even Decimal cannot hold it."""
    try:
        return Decimal(number)
    except InvalidOperation:
        return None


_as_float = msgspec.json.Decoder(float_hook=float).decode
_as_decimal = msgspec.json.Decoder(float_hook=exact).decode


def untyped(source: bytes) -> Any:
    """Return the JSON value as plain dicts, lists and scalars, or None if it cannot be read."""
    return untyped_by(_as_float, source)


def exactly(source: bytes) -> Any:
    """Return the same with numbers that have a fraction as Decimal, digit for digit."""
    return untyped_by(_as_decimal, source)


def untyped_by(decode: Callable[[bytes], Any], source: bytes) -> Any:
    """Return the value that this decoder reads, after mending if it is needed, or None."""
    try:
        return decode(source)
    except UNREADABLE:
        pass
    try:
        return decode(mended(utf8(source)))
    except UNREADABLE:
        return None


class ReadOnlyDict(dict[str, Any]):
    """A JSON object as sent. Nothing can be changed in it, but in a copy; its repr leaves out the access token."""

    __slots__ = ()

    def _refuse(self, *_args: Any, **_keys: Any) -> NoReturn:
        raise TypeError("what Pyrus sent is read-only; make a copy with dict(...)")

    __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = __ior__ = _refuse

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadOnlyDict, (dict(self),)

    def __repr__(self) -> str:
        return repr({key: _MASK if key == "access_token" else value for key, value in self.items()})


class ReadOnlyList(list[Any]):
    """A JSON array as sent. Nothing can be changed in it, but in a copy."""

    __slots__ = ()

    def _refuse(self, *_args: Any, **_keys: Any) -> NoReturn:
        raise TypeError("what Pyrus sent is read-only; make a copy with list(...)")

    __setitem__ = __delitem__ = append = extend = insert = pop = remove = clear = _refuse
    sort = reverse = __iadd__ = __imul__ = _refuse

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.deepcopy(value, memo) for value in self]

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadOnlyList, (list(self),)


def read_only(value: Any) -> Any:
    """Return the same JSON value in read-only dicts and lists. It keeps a stack of its own, because Python's is short."""
    top = _closed(value)
    stack = [top]
    while stack:
        box = stack.pop()
        if type(box) is ReadOnlyDict:
            for key, item in box.items():
                if type(item) in (dict, list):
                    closed = _closed(item)
                    dict.__setitem__(box, key, closed)
                    stack.append(closed)
        elif type(box) is ReadOnlyList:
            for place, item in enumerate(box):
                if type(item) in (dict, list):
                    closed = _closed(item)
                    list.__setitem__(box, place, closed)
                    stack.append(closed)
    return top


def as_sent(source: bytes) -> ReadOnlyDict:
    """Return the JSON object, read-only; an empty one if it cannot be read, as when it is nested deeper than the caller's
    stack has room for.
    """
    value = untyped(source)
    return cast("ReadOnlyDict", read_only(value if isinstance(value, dict) else {}))


def _closed(value: Any) -> Any:
    if type(value) is dict:
        return ReadOnlyDict(value)
    return ReadOnlyList(value) if type(value) is list else value


def boxes(top: Any) -> list[Any]:
    """Return all dicts and lists of a JSON value. It keeps a list instead of calling itself, because Python's stack is short."""
    found = [top]
    for box in found:
        found.extend(item for item in (box.values() if isinstance(box, dict) else box) if isinstance(item, dict | list))
    return found
