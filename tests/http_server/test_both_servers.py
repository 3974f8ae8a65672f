"""The README's table of answers, on the host's server and on Tornado's own, which authors' tests use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.webhook.edge import read_answer
from tornado.httpserver import HTTPServer

from bothost import Event, sign
from bothost.clock import SystemClock
from bothost.host.sockets import bind_tcp
from bothost.http_server.limits import ConnectionLimits
from bothost.http_server.server import HttpServer
from bothost.testing import body, encode, served, task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tornado.ioloop import IOLoop

    from bothost.testing import Served

SENT = encode(body(task()))
ODD = b'{"task_id": 7, "task": {"id": 7, "text": 5, "author": "x"}, "event": "no such kind"}'


def greet(event: Event) -> str:
    if event.task.id == 13:
        raise RuntimeError("no luck")
    return f"Hello, {event.task.author.name or 'stranger'}."


@pytest.fixture(params=["the host's server", "Tornado's server"])
def ask(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[tuple[Callable[..., object], Served]]:
    loop = io_loop.asyncio_loop
    with served(loop, greet, name="greeter", ini={"max_body": "4000"}) as app:
        (socket,) = bind_tcp("127.0.0.1", 0)
        port = socket.getsockname()[1]

        async def start() -> HttpServer | HTTPServer:
            if request.param == "Tornado's server":
                return HTTPServer(app)
            return HttpServer(app, lambda *_refused: None, ConnectionLimits(), SystemClock())

        server = loop.run_until_complete(start())
        server.add_sockets([socket])

        async def send(
            sent: bytes, signature: str = "", method: str = "POST", path: str = ""
        ) -> tuple[int, dict, bytes]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"{method} {path or app.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sent)}\r\n"
            if signature:
                head += f"X-Pyrus-Sig: {signature}\r\n"
            writer.write(head.encode() + b"\r\n" + sent)
            answer = await read_answer(reader, head=method == "HEAD")
            writer.close()
            return answer

        yield send, app

        async def stop() -> None:
            if isinstance(server, HttpServer):
                await server.leave(0.0)
            else:
                server.stop()
                await server.close_all_connections()

        loop.run_until_complete(stop())


@pytest.mark.gen_test
async def test_the_readmes_table_holds_on_both_servers(ask):
    send, app = ask
    right = sign(SENT, app.secret)
    assert [
        (await send(SENT, wrong))[0] for wrong in ("", "0" * 40, sign(SENT, "another bot's secret, as long"), "x")
    ] == [403] * 4
    first = await send(SENT, right)
    assert (first[0], first[2]) == (200, b'{"text":"Hello, Anna Gromova."}')
    for form in (right, right.lower(), f"  {right}\t", f"sha1={right}"):
        status, headers, said = await send(SENT, form)
        assert (status, said, headers.get("x-bothost")) == (200, first[2], "repeat")
    for nonsense in (b"[]", b"{", b'{"x": 1}', b"5"):
        assert (await send(nonsense, sign(nonsense, app.secret)))[0] == 400
    status, _, said = await send(ODD, sign(ODD, app.secret))
    assert (status, said) == (200, b'{"text":"Hello, stranger."}')
    assert (await send(b"x" * 4001, right))[0] == 413
    for method in ("GET", "HEAD", "PUT"):
        status, headers, _ = await send(b"", method=method)
        assert (status, headers["allow"]) == (405, "POST")
    assert (await send(SENT, right, path="/nobody"))[0] == 404
    failing = encode(body(task(id=13)))
    assert (await send(failing, sign(failing, app.secret)))[0] == 500


@pytest.mark.gen_test
async def test_a_delivery_that_comes_again_while_the_bot_works_joins_the_run(ask):
    send, app = ask
    other = encode(body(task(99)))
    answers = await asyncio.gather(*(send(other, sign(other, app.secret)) for _ in range(3)))
    assert [(status, said) for status, _, said in answers] == [(200, b'{"text":"Hello, Anna Gromova."}')] * 3
