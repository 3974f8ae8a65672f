"""The operator's page: HTTP handlers on a listener of their own.

Handlers translate between HTTP and `operator.service` and decide nothing. Start reading at TABLE, which names every path.
"""

from __future__ import annotations

from collections import OrderedDict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from tornado.httpserver import HTTPServer
from tornado.web import Application

from bothost.operator.page import bots, bulk, deliveries, host_pages, login, probes
from bothost.operator.page.base import PageContext, UnknownPath
from bothost.operator.page.static_files import StaticFile

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable

    from tornado.http1connection import HTTP1ServerConnection
    from tornado.iostream import IOStream

__all__ = ["PageContext", "application", "serve"]

MOST_CONNECTIONS = 64
"""Enough for some browsers and a scraper. Each connection is an open file, and the host needs files for other work."""
_NAME = r"([a-z0-9][a-z0-9_-]{0,63})"
_KEY = r"([^/]+)"

TABLE = (
    (r"/", bots.BotsPage),
    (r"/bots\.json", bots.BotsJson),
    (rf"/bots/{_NAME}", bots.BotPage),
    (rf"/bots/{_NAME}/pause", bots.PauseBot),
    (rf"/bots/{_NAME}/resume", bots.ResumeBot),
    (rf"/bots/{_NAME}/test", bots.SendTestDelivery),
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


class PageListener(HTTPServer):
    """Closes the oldest connection at its limit, so that nobody keeps the operator out or takes all open files."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """As the base class does."""
        super().initialize(*args, **kwargs)
        self._open: OrderedDict[IOStream, None] = OrderedDict()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection; close the oldest one beyond the limit."""
        self._open[stream] = None
        if len(self._open) > MOST_CONNECTIONS:
            self._open.popitem(last=False)[0].close()
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection that has ended."""
        super().on_close(server_conn)
        self._open.pop(cast("HTTP1ServerConnection", server_conn).stream, None)


def serve(page_context: PageContext, sockets: Iterable[socket.socket], tls: ssl.SSLContext | None = None) -> HTTPServer:
    """Listen. The result's `stop` and `close_all_connections` end it."""
    server = PageListener(
        application(page_context),
        ssl_options=tls,
        max_header_size=32 << 10,
        max_body_size=bots.SendTestDelivery.most_bytes,
        idle_connection_timeout=75.0,
        body_timeout=60.0,
    )
    server.add_sockets(sockets)
    return server
