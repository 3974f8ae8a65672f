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
    return hashlib.sha256(TOKEN_KEY.sub(rb'\1""', body)).hexdigest()
