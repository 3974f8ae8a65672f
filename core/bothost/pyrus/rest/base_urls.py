"""Choose the base URLs of Pyrus's API, by an allow-list that keeps a token from going anywhere else."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_API_URL = "https://api.pyrus.com/v4/"
CLOUDS = ("pyrus.com", "pyrus.kz")
PORTS = {"https": 443, "http": 80}
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:]+")
URL = re.compile(r"https?://[A-Za-z0-9._~:/\[\]-]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, lower-case host and port of a URL."""

    scheme: str
    host: str
    port: int

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """Return the host as an address, if it is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def loopback(self) -> bool:
        """Return whether it stays on this machine."""
        address = self.address
        return self.host == "localhost" if address is None else address.is_loopback

    def within(self, host: str) -> bool:
        """Return whether the host is `host` or a subdomain of it; an address has none."""
        if self.host == host:
            return True
        return self.address is None and host != "localhost" and self.host.endswith("." + host)


def origin(url: str) -> Origin | None:
    """Parse a base URL. Return None for any other text (with a user part, query, blanks, backslashes, odd characters)."""
    if not URL.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if not HOST.fullmatch(host) or ".." in host or port == 0:
        return None
    return Origin(parts.scheme, host, port or PORTS[parts.scheme])


def allowed(url: str, configured: str = "") -> bool:
    """Return whether a token may be sent to `url`, which a body or a login's answer named.

    https, or http if a loopback address is configured; the host is pyrus.com, pyrus.kz or the configured one, or a
    subdomain of these; no user part, no port but the configured one (Pyrus's own clouds: 443).
    """
    there = origin(url)
    if there is None or (there.scheme == "http" and not there.loopback):
        return False
    if there.scheme == "https" and there.port == 443 and any(there.within(cloud) for cloud in CLOUDS):
        return True
    own = origin(configured) if configured else None
    return own is not None and there.within(own.host) and there.port == own.port and there.scheme == own.scheme


def choose(configured: str, *offered: str) -> str:
    """Return the first offered base URL that is allowed, else the configured one, else Pyrus's cloud; it ends with a slash."""
    for url in offered:
        if url and allowed(url, configured):
            return slashed(url)
    return slashed(configured or DEFAULT_API_URL)


def auth_url(api_url: str) -> str:
    """Return the address to log in at for this base URL: Pyrus's cloud has a host of its own for it."""
    there = origin(api_url)
    for cloud in CLOUDS:
        if there is not None and there.scheme == "https" and there.within(cloud):
            return f"https://accounts.{cloud}/api/v4/auth"
    return slashed(api_url) + "auth"


def slashed(url: str) -> str:
    """Return the base URL with exactly one slash at its end, so that relative paths can be put behind it."""
    return url.rstrip("/") + "/"
