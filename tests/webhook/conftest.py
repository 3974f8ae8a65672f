"""Listeners on real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.webhook.edge import Edge, Site, bot

from bothost.bots.registry import Bot, Registry, Service
from bothost.clock import SystemClock
from bothost.host.sockets import bind_tcp
from bothost.http_server.limits import ConnectionLimits
from bothost.webhook.listener import webhook_server
from bothost.webhook.request import WebhookContext
from bothost.webhook.unverified import MOST_BYTES, UnverifiedBodies

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from tornado.ioloop import IOLoop

    from bothost.webhook.routing import TrustedProxies


@pytest.fixture
def serve(io_loop: IOLoop) -> Iterator[Callable[..., Site]]:
    """Starts listeners; they leave when the test ends."""
    started: list[Site] = []

    def start(
        *bots: Bot,
        limits: ConnectionLimits | None = None,
        tls: ssl.SSLContext | None = None,
        proxies: TrustedProxies | None = None,
        unverified: int = MOST_BYTES,
    ) -> Site:
        edge = Edge()
        service = Service(Registry(bots or (bot(),)))
        bodies = UnverifiedBodies(unverified)
        front = WebhookContext(service, edge, edge.refuse, SystemClock(), proxies, bodies)
        listener = webhook_server(front, limits or ConnectionLimits(), tls)
        (socket,) = bind_tcp("127.0.0.1", 0)
        listener.add_sockets([socket])
        site = Site(listener, edge, socket.getsockname()[1], list(front.service), front)
        started.append(site)
        return site

    yield start
    for site in started:
        for writer in site.writers:
            writer.transport.abort()
        io_loop.run_sync(lambda listener=site.listener: listener.leave(0.0))
