"""A Tornado application on the host's server, and what happens where its code or the machine fails."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

import pytest
from tests.webhook.edge import read_answer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate, ResponseStartLine
from tornado.web import Application, RequestHandler

from bothost.clock import SystemClock
from bothost.host.sockets import bind_tcp
from bothost.http_server.connection import SLICE
from bothost.http_server.limits import ConnectionLimits
from bothost.http_server.server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tornado.httputil import HTTPConnection
    from tornado.ioloop import IOLoop


class Echo(RequestHandler):
    def post(self) -> None:
        self.write({"size": len(self.request.body), "who": self.get_argument("who", "")})

    async def get(self) -> None:
        for number in range(3):
            self.write(f"piece {number}\n")
            await self.flush()

    def delete(self) -> None:
        self.set_status(204)


class Faulty(HTTPServerConnectionDelegate):
    """Fails at one of its steps."""

    def __init__(self, step: str) -> None:
        self.step = step

    def start_request(self, server_conn: object, request_conn: object) -> HTTPMessageDelegate:
        step = self.step

        class Request(HTTPMessageDelegate):
            def headers_received(self, start_line: object, headers: object) -> None:
                assert step != "head"

            def data_received(self, chunk: bytes) -> None:
                assert step != "body"

            def finish(self) -> None:
                raise AssertionError

        return Request()


@pytest.fixture
def run(io_loop: IOLoop) -> Iterator[Callable[..., tuple[HttpServer, int, list[int]]]]:
    servers = []

    def start(app: HTTPServerConnectionDelegate, **limits: float) -> tuple[HttpServer, int, list[int]]:
        refused: list[int] = []
        server = HttpServer(
            app,
            lambda _peer, _delegate, refusal: refused.append(refusal.status),
            ConnectionLimits(**limits),
            SystemClock(),
        )
        (socket,) = bind_tcp("127.0.0.1", 0)
        server.add_sockets([socket])
        servers.append(server)
        return server, socket.getsockname()[1], refused

    yield start
    for server in servers:
        io_loop.run_sync(lambda server=server: server.leave(0.0))


@pytest.mark.gen_test
async def test_any_tornado_application_is_served(run):
    _, port, refused = run(Application([("/", Echo)]), body_bytes=1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    form = b"who=me&rest=" + b"x" * 100
    head = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
    )
    writer.write(head % len(form) + form + b"GET / HTTP/1.1\r\nHost: x\r\n\r\nDELETE / HTTP/1.1\r\nHost: x\r\n\r\n")
    status, _, body = await read_answer(reader)
    assert (status, body) == (200, b'{"size": 112, "who": "me"}')
    chunked = await reader.readuntil(b"0\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in chunked
    assert b"piece 2" in chunked
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    writer.write(head % 2000 + b"x" * 2000 + head % len(form) + form)
    assert [(await read_answer(reader))[0] for _ in range(2)] == [413, 200]
    assert refused == [413]
    writer.close()


class Pieces(HTTPServerConnectionDelegate):
    """Keeps the sizes of the pieces in which each body came, and answers each request."""

    def __init__(self) -> None:
        self.sizes: list[list[int]] = []

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        sizes: list[int] = []
        self.sizes.append(sizes)

        class Request(HTTPMessageDelegate):
            def headers_received(self, start_line: object, headers: object) -> None:
                pass

            def data_received(self, chunk: bytes) -> None:
                sizes.append(len(chunk))

            def finish(self) -> None:
                request_conn.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders({"Content-Length": "0"}))
                request_conn.finish()

        return Request()


@pytest.mark.gen_test
async def test_a_large_body_that_is_there_as_a_whole_is_handed_over_in_one_piece(run):
    app = Pieces()
    server, port, refused = run(app, head_bytes=4096)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % 2 + b"{}")
    assert (await read_answer(reader))[0] == 200
    (connection,) = server.connections.open
    sizes = [3 * SLICE, 2, SLICE, 5 * SLICE, 0]
    # at once, as one read of the loop would bring them
    connection.data_received(b"".join(head % size + b"x" * size for size in sizes))
    assert [(await read_answer(reader))[0] for _ in sizes] == [200] * 5
    assert app.sizes == [[2], *([size] if size else [] for size in sizes)]
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2 * SLICE)
    assert (await read_answer(reader))[0] == 431
    assert refused == [431]
    writer.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("step", ["head", "body", "end"])
async def test_what_an_application_raises_is_a_500_and_a_line_and_never_a_silent_close(run, caplog, step):
    _, port, refused = run(Faulty(step))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /here HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    assert (await read_answer(reader))[0] == 500
    assert await reader.read() == b""
    assert refused == [500]
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "/here" in line.getMessage()
    assert line.exc_info[0] is AssertionError
    writer.close()


class NoFiles:
    """A listening socket on a machine that has no file left."""

    def __init__(self, socket: object, tries: int) -> None:
        self.socket, self.left, self.asked = socket, tries, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.socket, name)

    def accept(self) -> object:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.socket.accept()


@pytest.mark.gen_test
async def test_where_no_file_is_free_the_server_waits_says_so_once_and_goes_on(io_loop, caplog):
    refused: list[int] = []
    server = HttpServer(Application([("/", Echo)]), lambda *_: refused.append(1), ConnectionLimits(), SystemClock())
    (socket,) = bind_tcp("127.0.0.1", 0)
    listening = NoFiles(socket, 2)
    server.add_sockets([listening])
    reader, writer = await asyncio.open_connection("127.0.0.1", socket.getsockname()[1])
    writer.write(b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n")
    while not listening.asked:
        await asyncio.sleep(0.01)
    assert server.trouble == "no connection can be accepted: Too many open files"
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    assert listening.asked <= 4
    assert server.trouble == ""
    assert ["LimitNOFILE" in record.getMessage() for record in caplog.records] == [True]
    writer.close()
    await server.leave(0.0)
