"""Mask the access token in a body, so that the journal keeps none."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bothost.pyrus.raw_json import boxes, untyped_by

MASK = "***"
"""The text that replaces the token in a stored body."""
TOKEN_KEY = re.compile(rb'("access_token"\s*:\s*)"(?:[^"\\]++|\\.)*+"', re.DOTALL)
"""The member that holds the token, in the text of a body."""
_MASK = MASK.encode()
_SHORTEST_TOKEN = 24
"""A shorter text could stand elsewhere by chance. Pyrus's tokens are longer, and none of its keys is as long."""
_as_written = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode


def without_token(body: bytes, token: str, written: bytes = b"") -> bytes:
    """Return the body with the token masked in every place. As the token mostly is there literally, the bytes are replaced.

    `written` is the token as JSON writes it, if that is known.
    """
    if not token or token == MASK:
        return body
    literal = written or msgspec.json.encode(token)[1:-1]
    if len(literal) >= _SHORTEST_TOKEN:
        masked = body.replace(literal, _MASK)
        if masked != body:  # this costs nothing, because the lengths differ
            return masked
    elif body.count(literal) == body.count(b'"%b"' % literal) == 1:
        return body.replace(literal, _MASK)
    value = untyped_by(_as_written, body)
    if isinstance(value, dict):
        for box in boxes(value):
            _mask(box, token)
        try:
            return msgspec.json.encode(value)
        except (RecursionError, ValueError):
            pass
    return TOKEN_KEY.sub(rb'\1"***"', body)


def _mask(box: Any, token: str) -> None:
    for place, item in list(box.items() if isinstance(box, dict) else enumerate(box)):
        if item == token:
            box[place] = MASK
        elif isinstance(item, str) and len(token) >= _SHORTEST_TOKEN:
            box[place] = item.replace(token, MASK)
