"""From a request's method and target to a bot, or to the reason why there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from bothost.pipeline.delivery import NOTHING, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tornado.httputil import HTTPHeaders, RequestStartLine

    from bothost.bots.registry import Bot

_COMMA = re.compile(r",[ \t]*")
_DIGITS = re.compile(r"[0-9]+")
BEYOND = 1 << 62
"""A length beyond all measure."""
HEALTHZ = "/healthz"
NOT_FOUND = Outcome(404, NOTHING, "not-found")
METHOD = Outcome(405, NOTHING, "method")
BAD_REQUEST = Outcome(400, NOTHING, "bad-request")
UNREADABLE = Outcome(400, NOTHING, "unreadable")
SIGNATURE = Outcome(403, NOTHING, "refused-signature")
TOO_LARGE = Outcome(413, NOTHING, "too-large")
SLOW = Outcome(408, NOTHING, "slow")
BROKEN = Outcome(503, NOTHING, "unavailable")
SHED = Outcome(503, NOTHING, "shed")
HEALTHY = Outcome(200, b'{"status": "ok"}', "healthz")


def find(by_path: Mapping[str, Bot], target: str) -> Bot | None:
    """The bot that serves a target, exact after one decoding; the query counts for nothing."""
    bot = by_path.get(target)
    if bot is None or "%" in target or not target.isascii():
        bot = by_path.get(decoded(target))
    return bot if bot is not None and bot.config.enabled else None


def refusal(bot: Bot | None, head: RequestStartLine, headers: HTTPHeaders) -> Outcome | None:
    """What a request is answered because of its head alone; None: its body is wanted."""
    if bot is None:
        if decoded(head.path) != HEALTHZ:
            return NOT_FOUND
        return HEALTHY if head.method in ("GET", "HEAD") else METHOD
    if head.method != "POST":
        return METHOD
    hosts = len(headers.get_list("Host"))
    if hosts != 1 and (hosts or head.version != "HTTP/1.0"):
        return BAD_REQUEST
    if bot.verifier is None:
        return BROKEN
    if announced(headers) > bot.config.max_body_bytes:
        return TOO_LARGE
    return None


def malformed(headers: HTTPHeaders) -> bool:
    """Whether the body's framing is one that Tornado answers with 400, after the head was looked at here."""
    lengths = _COMMA.split(headers.get("Content-Length", "0"))
    if "Transfer-Encoding" in headers:
        return "Content-Length" in headers or headers["Transfer-Encoding"].lower() != "chunked"
    return len(set(lengths)) > 1 or not _DIGITS.fullmatch(lengths[0])


def announced(headers: HTTPHeaders) -> int:
    """What Content-Length announces; 0 where it is absent or wrong (a wrong one is Tornado's to refuse)."""
    text = first(headers, "Content-Length")
    if not text.isdecimal():
        return 0
    return int(text) if len(text) < 19 else BEYOND


def first(headers: HTTPHeaders, name: str) -> str:
    """The first value of a header, "" where it is absent."""
    values = headers.get_list(name)
    return values[0] if values else ""


def decoded(target: str) -> str:
    """A target's path, decoded once from %XX as UTF-8; "" where it is no path (absolute form, `*`) or no UTF-8.

    A head's bytes come as Latin-1 text, so raw UTF-8 in a target is decoded with the rest.
    """
    if not target.startswith("/"):
        return ""
    try:
        return unquote_to_bytes(target.partition("?")[0].encode("latin-1")).decode("utf-8")
    except UnicodeError:
        return ""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Whose word counts on where a request came from."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Empty: whoever connects is the proxy (a unix socket, loopback)."""

    def sender(self, peer: str, forwarded: Iterable[str]) -> str:
        """The nearest address that is not a trusted proxy's, walking from `peer` back through X-Forwarded-For."""
        chain = [part.strip() for line in forwarded for part in line.split(",")]
        nearest = peer
        while chain and self._trusts(nearest, peer):
            told = _address(chain.pop())
            if told is None:
                break
            nearest = told
        return nearest

    def _trusts(self, address: str, peer: str) -> bool:
        if not self.networks or address == "unix":
            return address == peer
        return any(ip_address(address) in network for network in self.networks)


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        return None
