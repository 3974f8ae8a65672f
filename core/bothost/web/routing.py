"""From a request's method and target to a bot, or to the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from bothost.delivery import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bothost.bots import Bot

NOT_FOUND = Outcome(404, word="not-found")
METHOD = Outcome(405, word="method", reply_headers=(("Allow", "POST"),))
BAD_REQUEST = Outcome(400, word="bad-request")
SIGNATURE = Outcome(403, word="refused-signature")
TOO_LARGE = Outcome(413, word="too-large")
SLOW = Outcome(408, word="slow")
SHED = Outcome(503, word="shed")
HEALTHY = Outcome(200, b'{"status": "ok"}', word="healthz")
HEALTHZ_METHOD = Outcome(405, word="method", reply_headers=(("Allow", "GET, HEAD"),))


def route(by_path: Mapping[str, Bot], method: str, target: str) -> Bot | Outcome:
    """The bot that a request is for; or the outcome that ends the request here. The query counts for nothing."""
    bot = by_path.get(target)
    if bot is None or "%" in target or not target.isascii():
        path = decoded(target)
        bot = by_path.get(path)
        if path == "/healthz":
            return HEALTHY if method in ("GET", "HEAD") else HEALTHZ_METHOD
    if bot is None or not bot.config.enabled:
        return NOT_FOUND
    return bot if method == "POST" else METHOD


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
class Proxies:
    """Whose word counts on where a request came from."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Empty: whoever connects is the proxy (a unix socket, loopback)."""

    @classmethod
    def of(cls, addresses: Iterable[str]) -> Proxies:
        """From addresses and networks as bots.ini has them."""
        return cls(tuple(ip_network(address, strict=False) for address in addresses))

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
