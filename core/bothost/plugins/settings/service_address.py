"""Read the address of a service that a plugin calls, and refuse one that no request can have."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff\\<>\"^`{|}\ud800-\udfff]")
_NAME = re.compile(
    r"(?=.{1,253}\.?\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?"
)


class ServiceAddress(str):
    """The address of a service: https, or http on this machine. It is a str."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> ServiceAddress:
        """Read an address. Raises ValueError, which says what would be right."""
        if _UNSAFE.search(text):
            raise ValueError("holds a blank or another character that no address has; write it as %XX")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"is not an address ({error}); write https://service.example.com/path") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is not an address; write https://service.example.com/path")
        if parts.username is not None:
            raise ValueError(
                "must not hold a name or a password, because addresses are shown; give the service a key of its own"
            )
        if port == 0 or parts.netloc.endswith(":"):
            raise ValueError("has no port from 1 to 65535 behind its colon")
        if parts.fragment or text.endswith("#"):
            raise ValueError("holds a #, which is never sent; write it as %23")
        _check_host(parts)
        return cls(text)


def _check_host(parts: SplitResult) -> None:
    host = parts.hostname or ""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
        try:
            ascii_host = host.encode("idna").decode().lower()
        except UnicodeError:
            ascii_host = ""
        if not _NAME.fullmatch(ascii_host) or re.fullmatch(r"[0-9.]+", ascii_host):
            raise ValueError("has a host that no machine can have; write https://service.example.com/path") from None
    if parts.scheme == "http" and not loopback:
        raise ValueError("must be https, because others could read what is sent; plain http only on this machine")
