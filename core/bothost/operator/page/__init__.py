"""The operator's page: the whole of its surface in one table, on a listener of its own."""

from __future__ import annotations

from collections import OrderedDict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from tornado.httpserver import HTTPServer
from tornado.web import Application

from bothost.operator.page import bots, deliveries, host_pages, login, probes
from bothost.operator.page.base import Desk, Unknown
from bothost.operator.page.static_files import File

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable

    from tornado.http1connection import HTTP1ServerConnection
    from tornado.iostream import IOStream

__all__ = ["Desk", "application", "serve"]

MOST_CONNECTIONS = 64
"""Of some browsers and a scraper; each is a file less for what the public listener leaves to the host itself."""
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
    (r"/plugins", host_pages.Plugins),
    (r"/configuration", host_pages.Configuration),
    (r"/reload", host_pages.Reload),
    (r"/about", host_pages.About),
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
        template_path=str(files("bothost.operator.page") / "templates"),
        compiled_template_cache=True,
        log_function=lambda _handler: None,
    )


class Listener(HTTPServer):
    """At its bound of connections the oldest goes, not the newcomer: nobody keeps the operator out, or takes all files."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """As the base class does."""
        super().initialize(*args, **kwargs)
        self._open: OrderedDict[IOStream, None] = OrderedDict()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection."""
        self._open[stream] = None
        if len(self._open) > MOST_CONNECTIONS:
            self._open.popitem(last=False)[0].close()
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        super().on_close(server_conn)
        self._open.pop(cast("HTTP1ServerConnection", server_conn).stream, None)


def serve(desk: Desk, sockets: Iterable[socket.socket], tls: ssl.SSLContext | None = None) -> HTTPServer:
    """Listen. The result's `stop` and `close_all_connections` end it."""
    server = Listener(
        application(desk),
        ssl_options=tls,
        max_header_size=32 << 10,
        max_body_size=bots.Test.most_bytes,
        idle_connection_timeout=75.0,
        body_timeout=60.0,
    )
    server.add_sockets(sockets)
    return server
