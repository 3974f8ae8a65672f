"""Decide under which host names the page answers, so that a stranger's DNS name that points here gets nothing."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s/@]+)(?::([0-9]{1,5}))?", re.ASCII)
_LOCAL = frozenset(["localhost", "127.0.0.1", "::1"])


class AcceptedHostNames:
    """The listener's own addresses, localhost, and the names in `operator_hosts` (with or without a port)."""

    def __init__(self, addresses: Iterable[str], further: Iterable[str] = ()) -> None:
        self._own = {_plain(address) for address in addresses} | _LOCAL
        self._further = {name.lower() for name in further}

    def has(self, host: str, local_address: str = "") -> bool:
        """Return whether a Host header names this listener. `local_address` is the connection's own, for listeners on all addresses."""
        match = _HOST.fullmatch(host.strip())
        if match is None:
            return False
        name = match[1].strip("[]").lower().removesuffix(".")
        if name in self._own or (local_address and _plain(name) == _plain(local_address)):
            return True
        return name in self._further or f"{name}:{match[2]}" in self._further


def _plain(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address.lower()
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)
