"""Serve a bot behind real sockets, because a real client, a proxy or curl cannot work in virtual time.

`served` gives a value for pytest-tornado's fixture `app`, or for `tornado.httpserver.HTTPServer`.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tornado.httputil import HTTPServerConnectionDelegate

from bothost.clock import SystemClock
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.host import BareHost, HarnessSection
from bothost.testing.people import me
from bothost.webhook.request import WebhookRequest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import HTTPConnection, HTTPMessageDelegate

    from bothost.plugins.api import Plugin


class TornadoConnection:
    """A connection of Tornado's own server, with the members that the host's server has besides."""

    last = False
    half_closed = False

    def __init__(self, connection: HTTP1Connection) -> None:
        self._connection = connection
        self.context: Any = connection.context
        self.write = connection.write
        self.finish = connection.finish

    def closed(self) -> bool:
        """Return whether nothing can be written any more."""
        return bool(self._connection.stream.closed())


class Served(HTTPServerConnectionDelegate):
    """One bot in service. It answers requests at `path` signed with `secret`, and calls the fake Pyrus `pyrus`."""

    def __init__(self, host: BareHost, pyrus: FakePyrus, path: str, secret: str) -> None:
        self._host = host
        self.pyrus = pyrus
        self.path = path
        self.secret = secret

    def start_request(self, _server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Return the host's own delegate for each request."""
        return WebhookRequest(self._host.front, TornadoConnection(cast("HTTP1Connection", request_conn)))


@contextmanager
def served(
    loop: asyncio.AbstractEventLoop,
    plugin: type[Plugin[Any]] | Callable[..., Any] | str,
    name: str = "bot",
    ini: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Iterator[Served]:
    """Serve a bot in real time on this loop, which is not running yet (`io_loop.asyncio_loop`), until the end of the block."""
    person = me()
    section = HarnessSection(name, person["email"], ini or {}, settings)

    async def start(folder: Path) -> tuple[BareHost, Served]:
        clock = SystemClock()
        pyrus = FakePyrus(clock)
        pyrus.world.strict = False
        pyrus.add_bot(person["email"], section.secret, person["id"])
        host = await BareHost.started(clock, folder, pyrus.transport())
        bot, _ = await host.add(plugin, section)
        return host, Served(host, pyrus, bot.config.path, section.secret)

    with tempfile.TemporaryDirectory(prefix="bothost-test-", ignore_cleanup_errors=True) as folder:
        host, app = loop.run_until_complete(start(Path(folder)))
        try:
            yield app
        finally:
            loop.run_until_complete(host.stop())
