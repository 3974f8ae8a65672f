"""Find the sender of a request behind trusted proxies."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies whose X-Forwarded-For counts."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """If empty, every peer counts as the proxy: it comes by a unix socket or from loopback."""

    def sender(self, peer: str, forwarded: Iterable[str]) -> str:
        """Return the nearest address that is not a trusted proxy's, walking from `peer` back through X-Forwarded-For."""
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
