"""Listeners on real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.webhook.edge import Edge, Site, bot

from bothost.bots.registry import Bot, Registry, Service
from bothost.clock import SystemClock
from bothost.host.sockets import bind_tcp
from bothost.webhook.connections import Limits
from bothost.webhook.listener import Listener
from bothost.webhook.request import Front

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from tornado.ioloop import IOLoop

    from bothost.webhook.routing import Proxies


@pytest.fixture
def serve(io_loop: IOLoop) -> Iterator[Callable[..., Site]]:
    """Starts listeners; they leave when the test ends."""
    started: list[Site] = []

    def start(
        *bots: Bot, limits: Limits | None = None, tls: ssl.SSLContext | None = None, proxies: Proxies | None = None
    ) -> Site:
        edge = Edge()
        front = Front(Service(Registry(bots or (bot(),))), edge.receive, edge.refuse, SystemClock(), proxies)
        listener = Listener(front, limits or Limits(), tls)
        (socket,) = bind_tcp("127.0.0.1", 0)
        listener.add_sockets([socket])
        site = Site(listener, edge, socket.getsockname()[1], list(front.service))
        started.append(site)
        return site

    yield start
    for site in started:
        for writer in site.writers:
            writer.transport.abort()
        io_loop.run_sync(lambda listener=site.listener: listener.leave(0.0))
