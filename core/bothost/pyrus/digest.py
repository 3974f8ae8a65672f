"""Digest the parts of a body that stay the same when Pyrus sends the event again."""

from __future__ import annotations

import hashlib

import msgspec

from bothost.pyrus.raw_json import boxes, untyped
from bothost.pyrus.token_mask import TOKEN_KEY

_FRESH = ("access_token", "api_url", "files_url", "bot_settings", "polled")


def digest(body: bytes) -> str:
    """Return the SHA-256 of the decoded body with sorted keys, without the values that a fresh snapshot of an event changes.

    These are the token, the URLs and `bot_settings` on top, and every `elapsed_time`.
    """
    value = untyped(body)
    if isinstance(value, dict):
        for key in _FRESH:
            value.pop(key, None)
        for box in boxes(value):
            if isinstance(box, dict):
                box.pop("elapsed_time", None)
        try:
            return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
        except (RecursionError, ValueError):
            pass  # nested too deep to be written again
    return hashlib.sha256(_TOKEN_KEY.sub(rb'\1""', body)).hexdigest()


def without_token(body: bytes, token: str, written: bytes = b"") -> bytes:
    """Return the body with the token masked wherever it stands; as bytes where it stands there literally, which is always.

    `written` is the token as JSON writes it, where that is known.
    """
    if not token or token == MASK:
        return body
    literal = written or msgspec.json.encode(token)[1:-1]
    if len(literal) >= _SHORTEST_TOKEN:
        masked = body.replace(literal, _MASK)
        if masked != body:  # of another length: nothing is compared
            return masked
    elif body.count(literal) == body.count(b'"%b"' % literal) == 1:
        return body.replace(literal, _MASK)
    value = untyped_by(_as_written, body)
    if isinstance(value, dict):
        for box in _boxes(value):
            _mask(box, token)
        try:
            return msgspec.json.encode(value)
        except (RecursionError, ValueError):
            pass
    return _TOKEN_KEY.sub(rb'\1"***"', body)


def _mask(box: Any, token: str) -> None:
    for place, item in list(box.items() if isinstance(box, dict) else enumerate(box)):
        if item == token:
            box[place] = MASK
        elif isinstance(item, str) and len(token) >= _SHORTEST_TOKEN:
            box[place] = item.replace(token, MASK)


def _boxes(top: Any) -> list[Any]:
    """Return all dicts and lists of a JSON value. It keeps a list of its own because Python's stack is short."""
    boxes = [top]
    for box in boxes:
        boxes.extend(item for item in (box.values() if isinstance(box, dict) else box) if isinstance(item, dict | list))
    return boxes
