"""Finds a secret in a reply, which would carry it into the task and into the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bothost.errors import ReplyError

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORTEST_SECRET = 8
"""A shorter text stands in replies by chance, and guards nothing."""


def refuse_disclosure(reply: bytes, secrets: Iterable[str], token: bytes = b"") -> None:
    """Raise ReplyError if an encoded reply holds one of the `secrets` of the settings, or the event's `token`
    as JSON writes it."""
    if len(token) >= SHORTEST_SECRET and token in reply:
        raise ReplyError("it holds the access token of the event; leave it out")
    long = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
    if any(msgspec.json.encode(secret)[1:-1] in reply for secret in long):
        raise ReplyError(
            "it holds a Secret of the settings; leave it out, or declare it as str if everybody may read it"
        )
