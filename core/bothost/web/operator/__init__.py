"""The operator's page: the whole of its surface in one table, on a listener of its own."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from tornado.httpserver import HTTPServer
from tornado.web import Application

from bothost.web.operator import bots, deliveries, hosting, login, probes
from bothost.web.operator.handler import Desk, Unknown
from bothost.web.operator.static import File

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable

__all__ = ["Desk", "application", "serve"]

_NAME = r"([a-z0-9][a-z0-9_-]{0,63})"
_KEY = r"([^/]+)"

TABLE = (
    (r"/", bots.Bots),
    (r"/bots\.json", bots.BotsForScripts),
    (rf"/bots/{_NAME}", bots.OneBot),
    (rf"/bots/{_NAME}/pause", bots.Pause),
    (rf"/bots/{_NAME}/resume", bots.Resume),
    (rf"/bots/{_NAME}/test", bots.Test),
    (r"/deliveries", deliveries.Deliveries),
    (r"/waiting\.json", deliveries.WaitingForScripts),
    (rf"/deliveries/{_KEY}", deliveries.OneDelivery),
    (rf"/deliveries/{_KEY}/(retry|again)", deliveries.Retry),
    (rf"/deliveries/{_KEY}/cancel", deliveries.Cancel),
    (rf"/deliveries/{_KEY}/body\.json", deliveries.Export),
    (r"/live", deliveries.Live),
    (r"/live/rows", deliveries.LiveRows),
    (r"/plugins", hosting.Plugins),
    (r"/configuration", hosting.Configuration),
    (r"/reload", hosting.Reload),
    (r"/about", hosting.About),
    (r"/login", login.Login),
    (r"/logout", login.Logout),
    (r"/metrics", probes.MetricsPage),
    (r"/healthz", probes.Health),
    (r"/readyz", probes.Readiness),
    (r"/static/([a-z0-9._-]+)", File),
    (r"/(favicon\.ico)", File),
)


def application(desk: Desk) -> Application:
    """The page over its desk; no global option, no log line for each request."""
    handlers = [(path, handler, {"desk": desk}) for path, handler in TABLE]
    return Application(
        handlers,
        default_handler_class=Unknown,
        default_handler_args={"desk": desk},
        template_path=str(files("bothost.web") / "templates"),
        compiled_template_cache=True,
        log_function=lambda _handler: None,
    )


def serve(desk: Desk, sockets: Iterable[socket.socket], tls: ssl.SSLContext | None = None) -> HTTPServer:
    """Listen. The result's `stop` and `close_all_connections` end it."""
    server = HTTPServer(
        application(desk),
        ssl_options=tls,
        max_header_size=32 << 10,
        max_body_size=bots.Test.most_bytes,
        idle_connection_timeout=75.0,
        body_timeout=60.0,
    )
    server.add_sockets(sockets)
    return server
