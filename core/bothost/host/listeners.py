"""Prepare the public listener of a configuration: its sockets, its limits, its certificate."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bothost.errors import ConfigError, Problem
from bothost.host.process_setup import connections
from bothost.host.sockets import UnixSocket, bind_tcp, bind_unix, settled
from bothost.http_server.limits import ConnectionLimits
from bothost.http_server.server import tls_context
from bothost.webhook.proxies import TrustedProxies

if TYPE_CHECKING:
    import socket
    import ssl

    from bothost.config import HostConfig


@dataclass(slots=True)
class ListeningSockets:
    """Listening sockets of a host, before and after its listeners take them."""

    public: list[socket.socket] = field(default_factory=list)
    operator: list[socket.socket] = field(default_factory=list)
    unix: UnixSocket | None = None
    """Set if this process made the file and has to remove it."""

    def close(self) -> None:
        """Close the sockets, and remove the file."""
        for each in (*self.public, *self.operator):
            each.close()
        if self.unix is not None:
            self.unix.unlink()


def bind(host: HostConfig, passed: dict[str, list[socket.socket]]) -> ListeningSockets:
    """Listen where [host] says, except for what was passed to this process. Raises OSError, which names the place."""
    sockets = ListeningSockets(passed["public"], passed["operator"])
    try:
        if not sockets.public:
            if host.unix_socket is not None:
                sockets.unix = bind_unix(host.unix_socket)
                sockets.public = [sockets.unix.socket]
            else:
                sockets.public = bind_tcp(host.address, host.port)
        if not sockets.operator and host.operator_port:
            sockets.operator = bind_tcp(host.operator_address, host.operator_port)
    except OSError:
        sockets.close()
        raise
    return sockets


def bind_or_explain(host: HostConfig, passed: dict[str, list[socket.socket]]) -> ListeningSockets:
    """Bind as `bind` does. Raises ConfigError, whose text is for the operator."""
    try:
        return bind(host, passed)
    except OSError as error:
        raise ConfigError((Problem(error.strerror or str(error), str(host.path), section="host"),)) from error


def limits(host: HostConfig, files: int) -> ConnectionLimits:
    """Return the limits of this configuration for connections of strangers."""
    return ConnectionLimits(
        max_connections=connections(host.max_connections, files),
        header_s=host.header_timeout_s,
        body_s=host.body_timeout_s,
        idle_s=host.idle_timeout_s,
    )


def proxies(host: HostConfig) -> TrustedProxies | None:
    """Return the proxies whose X-Forwarded-For counts."""
    return TrustedProxies(host.trusted_proxies) if host.xheaders else None


def tls(host: HostConfig) -> ssl.SSLContext | None:
    """Return a fresh context from `certfile` and `keyfile`; None if they are not set. Raises ConfigError."""
    if host.certfile is None:
        return None
    return tls_context(str(host.certfile), str(host.keyfile or ""))


def shown(sockets: list[socket.socket], *, secure: bool = False) -> list[str]:
    """Return the URLs at which these sockets listen (`unix:PATH` for a unix socket)."""
    return [_shown(each, "https" if secure else "http") for each in sockets]


def _shown(one: socket.socket, scheme: str) -> str:
    name = one.getsockname()
    if isinstance(name, (str, bytes)):
        return f"unix:{settled(os.fsdecode(name))}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"
