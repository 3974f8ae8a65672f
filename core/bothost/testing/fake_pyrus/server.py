"""Serve the fake Pyrus on a real socket, for tests with real processes and for the transport itself."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, stream_request_body

from bothost.testing.fake_pyrus.question import ApiQuestion, query_of

if TYPE_CHECKING:
    import ssl

    from bothost.testing.fake_pyrus import FakePyrus
    from bothost.testing.fake_pyrus.world import StoredFile

KEPT_BYTES = 8 << 20
"""The size up to which uploads are kept. Of larger ones only size and hash are kept."""
MOST_BYTES = 4 << 30
PREFIX = "/api/v4/"
FILES = re.compile(r"/(?:v4/)?(files/upload|files/download/\d+|services/attachment)")
"""The addresses below `files_url`, at which clients look for files in several ways (protocol 5.5)."""


class FakeServer:
    """A fake Pyrus at `base_url`, on loopback. It is made on the loop that serves it."""

    def __init__(self, pyrus: FakePyrus, ssl_options: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.pyrus = pyrus
        self._ssl_options = ssl_options
        self._server: HTTPServer | None = None
        self.port = port
        self.listen()

    @property
    def base_url(self) -> str:
        """Return the base URL, to be set as a bot's `api_url`."""
        return f"{'https' if self._ssl_options else 'http'}://127.0.0.1:{self.port}{PREFIX}"

    def listen(self) -> None:
        """Listen on the same port as before."""
        app = Application([(r"/.*", FakeHandler, {"pyrus": self.pyrus})], log_function=lambda _handler: None)
        self._server = HTTPServer(app, ssl_options=self._ssl_options, max_body_size=MOST_BYTES)
        sockets = bind_sockets(self.port, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)
        self.pyrus.answers_as(self.base_url)

    async def refuse(self) -> None:
        """Stop listening, so that connections are refused until `listen`."""
        assert self._server is not None
        self._server.stop()
        await self._server.close_all_connections()


def call_of(path: str) -> str:
    """Return the path of a call below the base URL, or below `files_url`."""
    found = FILES.fullmatch(path)
    return found[1] if found else path.removeprefix(PREFIX)


class IncomingUpload:
    """A multipart upload that is read as it comes."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._end = 0
        self._kept: bytearray | None = bytearray()
        self._hash = hashlib.md5()  # noqa: S324 - Pyrus's hash
        self.size = 0
        self.name = "file"

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        if not self._end:
            self._head += chunk
            head, mark, chunk = self._head.partition(b"\r\n\r\n")
            if not mark:
                return
            self._end = len(b"\r\n" + head.split(b"\r\n", 1)[0] + b"--\r\n")
            found = re.search(rb'filename="([^"]*)"', head)
            self.name = found[1].decode() if found else "file"
        self._tail += chunk
        self._take(self._tail[: -self._end])
        self._tail = self._tail[-self._end :]

    def _take(self, content: bytes) -> None:
        self.size += len(content)
        self._hash.update(content)
        if self._kept is not None:
            self._kept += content
            if len(self._kept) > KEPT_BYTES:
                self._kept = None

    def stored(self, pyrus: FakePyrus) -> StoredFile:
        """Return the complete file. Raises ApiRefusal for an empty one."""
        content = bytes(self._kept) if self._kept is not None else None
        return pyrus.world.store_file(self.name, content, self.size, self._hash.hexdigest())


@stream_request_body
class FakeHandler(RequestHandler):
    """Hands every request to the fake Pyrus."""

    def initialize(self, pyrus: FakePyrus) -> None:
        """See RequestHandler."""
        self._pyrus = pyrus
        self._body = bytearray()
        self._call = call_of(self.request.path)
        self._incoming = IncomingUpload() if self._call == "files/upload" else None

    def prepare(self) -> None:
        """See RequestHandler."""
        connection: Any = self.request.connection
        connection.set_max_body_size(MOST_BYTES)

    def data_received(self, chunk: bytes) -> None:
        """See RequestHandler."""
        if self._incoming is not None:
            self._incoming.feed(chunk)
        else:
            self._body += chunk

    async def get(self) -> None:
        """See RequestHandler."""
        await self._handle()

    async def post(self) -> None:
        """See RequestHandler."""
        await self._handle()

    async def put(self) -> None:
        """See RequestHandler."""
        await self._handle()

    async def delete(self) -> None:
        """See RequestHandler."""
        await self._handle()

    async def _handle(self) -> None:
        token = self.request.headers.get("Authorization", "").removeprefix("Bearer ") or None
        file = self._incoming.stored(self._pyrus) if self._incoming and self._incoming.size else None
        query = query_of(self.request.query)
        handled = await self._pyrus.handle(
            ApiQuestion(self.request.method or "", self._call, query, bytes(self._body), token, file)
        )
        if handled.ending != "answered":
            connection: Any = self.request.connection
            connection.stream.close()
            return
        self.set_status(handled.status)
        for name, value in handled.headers.items():
            self.set_header(name, value)
        if handled.file is None:
            self.write(handled.body)
            return
        self.set_header("Content-Length", str(handled.file.size))
        with suppress(StreamClosedError):  # the reader may leave early
            for piece in handled.file.pieces():
                self.write(piece)
                await self.flush()
