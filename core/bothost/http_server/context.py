"""Define the parts that the connections of one server share, and the peer of one connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tornado.httputil import HTTPMessageDelegate, HTTPServerConnectionDelegate

    from bothost.http_server.connections import Connections
    from bothost.http_server.limits import ConnectionLimits
    from bothost.http_server.parser import ServerRefusal

    Refuse = Callable[["PeerContext", HTTPMessageDelegate | None, ServerRefusal], None]
    """Called with a request that the server itself refuses, and its delegate if there is one already."""

NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing is bound: Tornado's name for the peer of a unix socket


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The parts that the connections of one server share."""

    app: HTTPServerConnectionDelegate
    refuse: Refuse
    connections: Connections
    limits: ConnectionLimits
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]
    """A future that is done, for writes that nobody has to wait for."""


class PeerContext:
    """The peer of a connection, as Tornado's applications ask for it."""

    __slots__ = ("protocol", "remote_ip")

    def __init__(self, remote_ip: str, protocol: str) -> None:
        self.remote_ip = remote_ip
        self.protocol = protocol
