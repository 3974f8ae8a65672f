"""Read the address that is called, and refuse one that shows what it carries."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


class Address(str):
    """The address of a service: https, or http on this machine."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ValueError, which says what would be right."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"is not an address ({error}); write https://service.example.com/path") from None
        host = parts.hostname
        if (
            not host
            or parts.scheme not in ("http", "https")
            or port == 0
            or any(not 32 < ord(one) < 127 for one in text)
        ):
            raise ValueError("is not an address; write https://service.example.com/path")
        if parts.username is not None:
            raise ValueError("must not hold a name or a password; the service knows bothost by `key`")
        if parts.scheme == "http" and not _is_here(host):
            raise ValueError("must be https; plain http only on this machine")
        return cls(text)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
