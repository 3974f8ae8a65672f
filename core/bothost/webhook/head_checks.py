"""Refuse a request because of its head alone: path, method, Host, size; and answer the check of health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.pipeline.delivery import NOTHING, Outcome
from bothost.webhook.routing import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tornado.httputil import RequestStartLine

    from bothost.bots.registry import Bot

    ValueLists = Mapping[str, list[bytes]]
    """The values of each header, by its canonical name."""

HEALTHZ = "/healthz"
NOT_FOUND = Outcome(404, NOTHING, "not-found")
METHOD = Outcome(405, NOTHING, "method")
BAD_REQUEST = Outcome(400, NOTHING, "bad-request")
SIGNATURE = Outcome(403, NOTHING, "refused-signature")
TOO_LARGE = Outcome(413, NOTHING, "too-large")
BROKEN = Outcome(503, NOTHING, "unavailable")
SHED = Outcome(503, NOTHING, "shed")
HEALTHY = Outcome(200, b'{"status": "ok"}', "healthz")


def refusal(bot: Bot | None, head: RequestStartLine, lists: ValueLists, length: int) -> Outcome | None:
    """Return the outcome that the head alone decides, given the announced length; None if the body is wanted."""
    if bot is None:
        if decoded(head.path) != HEALTHZ:
            return NOT_FOUND
        return HEALTHY if head.method in ("GET", "HEAD") else METHOD
    if head.method != "POST":
        return METHOD
    if lists["Host"][1:] if "Host" in lists else head.version != "HTTP/1.0":
        return BAD_REQUEST
    if bot.verifier is None:
        return BROKEN
    if length > bot.config.max_body_bytes:
        return TOO_LARGE
    return None


def announced(lists: ValueLists) -> int:
    """Return the number of Content-Length, which the server has checked; 0 if the header is absent."""
    return int(lists["Content-Length"][0]) if "Content-Length" in lists else 0
