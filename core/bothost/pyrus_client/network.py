"""Find the proxy for an address, and the certificates that are trusted.

`[host]` names them; the environment's HTTPS_PROXY, HTTP_PROXY, NO_PROXY and SSL_CERT_FILE are the defaults.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # no stub

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Network:
    """The proxies by scheme, the hosts that are reached without one, and the certificates beside the system's."""

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    no_proxy: str = ""
    ca_file: Path | None = None

    @classmethod
    def of(cls, proxy: str = "", no_proxy: str = "", ca_file: Path | None = None) -> Network:
        """Return the settings of `[host]`, each with the environment's as its default."""
        found = getproxies_environment()
        exceptions = no_proxy or found.pop("no", "")
        found.pop("no", "")
        return cls({"http": proxy, "https": proxy} if proxy else found, exceptions, ca_file)

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy for an address; None if it is reached directly."""
        parts = urlsplit(url)
        proxy = self.proxies.get(parts.scheme) or self.proxies.get("all")
        if not proxy or proxy_bypass_environment(parts.netloc.rpartition("@")[2], {"no": self.no_proxy}):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def way_to(self, url: str) -> str:
        """Return the host of an address, and the proxy that it is reached by: what a person needs to find out why not."""
        proxy, host = self.proxy_for(url), urlsplit(url).netloc.rpartition("@")[2]
        return f"{host} by the proxy {bare(proxy)}" if proxy else host

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that checks certificates. OpenSSL itself reads SSL_CERT_FILE and SSL_CERT_DIR."""
        context = ssl.create_default_context()
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        return context


def bare(proxy: str) -> str:
    """Return a proxy's address without user and password."""
    return proxy.rpartition("@")[2].removeprefix("http://")
