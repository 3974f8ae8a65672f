"""Serve the operator's page: HTTP handlers on a listener of their own.

Handlers translate between HTTP and `operator.service` and decide nothing. Start reading at TABLE, which names every path.
"""

from __future__ import annotations

import logging
from importlib.resources import files
from typing import TYPE_CHECKING

from tornado.web import Application

from bothost.http_server.limits import ConnectionLimits
from bothost.http_server.server import HttpServer
from bothost.operator.page import bots, bulk, deliveries, host_pages, login, probes
from bothost.operator.page.base import PageContext, UnknownPath
from bothost.operator.page.static_files import StaticFile

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable

    from tornado.httputil import HTTPMessageDelegate

    from bothost.clock import Clock
    from bothost.http_server.context import PeerContext
    from bothost.http_server.parser import ServerRefusal

log = logging.getLogger("bothost.page")
__all__ = ["PageContext", "application", "serve"]

MOST_CONNECTIONS = 64
"""Enough for some browsers and a scraper. Each connection is an open file, and the host needs files for other work."""
LIMITS = ConnectionLimits(
    max_connections=MOST_CONNECTIONS,
    head_bytes=32 << 10,
    body_bytes=bots.SendTestDelivery.most_bytes,
    dropped_bytes=16 << 20,
)
_NAME = r"([a-z0-9][a-z0-9_-]{0,63})"
_KEY = r"([^/]+)"

TABLE = (
    (r"/", bots.BotsPage),
    (r"/bots\.json", bots.BotsJson),
    (rf"/bots/{_NAME}", bots.BotPage),
    (rf"/bots/{_NAME}/pause", bots.PauseBot),
    (rf"/bots/{_NAME}/restart", bots.RestartBot),
    (rf"/bots/{_NAME}/resume", bots.ResumeBot),
    (rf"/bots/{_NAME}/test", bots.SendTestDelivery),
    (rf"/bots/{_NAME}/tick\.json", bots.RunTimer),
    (r"/deliveries", deliveries.DeliveriesPage),
    (r"/waiting\.json", deliveries.WaitingJson),
    (rf"/deliveries/{_KEY}", deliveries.DeliveryPage),
    (rf"/deliveries/{_KEY}/(retry|again)", deliveries.RetryDelivery),
    (rf"/deliveries/{_KEY}/cancel", deliveries.CancelDelivery),
    (rf"/deliveries/{_KEY}/body\.json", deliveries.ExportBody),
    (r"/bulk", bulk.PlanPage),
    (r"/bulk/([0-9]{1,9})", bulk.ProgressPage),
    (r"/refused", deliveries.RefusedPage),
    (r"/live", deliveries.LivePage),
    (r"/live/rows", deliveries.LiveRowsFragment),
    (r"/plugins", host_pages.PluginsPage),
    (r"/configuration", host_pages.ConfigurationPage),
    (r"/reload", host_pages.ReloadConfiguration),
    (r"/about", host_pages.AboutPage),
    (r"/login", login.LoginPage),
    (r"/logout", login.LogoutPage),
    (r"/metrics", probes.MetricsPage),
    (r"/healthz", probes.HealthProbe),
    (r"/readyz", probes.ReadinessProbe),
    (r"/static/([a-z0-9._-]+)", StaticFile),
    (r"/(favicon\.ico)", StaticFile),
)


def application(page_context: PageContext) -> Application:
    """Make the application. It sets no global option and logs no line for each request."""
    handlers = [(path, handler, {"page_context": page_context}) for path, handler in TABLE]
    return Application(
        handlers,
        default_handler_class=UnknownPath,
        default_handler_args={"page_context": page_context},
        template_path=str(files("bothost.operator.page") / "templates"),
        compiled_template_cache=True,
        log_function=lambda _handler: None,
    )


def serve(
    page_context: PageContext, sockets: Iterable[socket.socket], clock: Clock, tls: ssl.SSLContext | None
) -> HttpServer:
    """Listen. The result's `leave` ends it."""
    server = HttpServer(application(page_context), _refuse, LIMITS, clock, tls)
    server.add_sockets(sockets)
    return server


def _refuse(context: PeerContext, _delegate: HTTPMessageDelegate | None, refusal: ServerRefusal) -> None:
    """Log what cannot be a request to the page."""
    log.warning(
        "a request to the page was answered %d: %s %s",
        refusal.status,
        refusal.word,
        refusal.why,
        extra={"peer": context.remote_ip},
    )
