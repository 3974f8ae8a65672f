"""The public listener: the webhook on this host's HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bothost.http_server.server import HttpServer
from bothost.webhook.refusals import spare_the_log

if TYPE_CHECKING:
    import ssl

    from bothost.http_server.limits import ConnectionLimits
    from bothost.webhook.request import WebhookContext


def webhook_server(front: WebhookContext, limits: ConnectionLimits, tls: ssl.SSLContext | None = None) -> HttpServer:
    """Return a server that listens as soon as it is given sockets. Bodies are limited by each bot's `max_body`."""
    spare_the_log(front.clock)
    return HttpServer(front, front.refuse_connection, limits, front.clock, tls)
