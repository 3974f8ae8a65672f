"""Answers that no Pyrus should send: each is a CallError, soon, and the next call works."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.pyrus_client.unlimited import Unlimited

from bothost.clock import SystemClock
from bothost.errors import CallError, CallRefused, CallUnclear, RateLimited
from bothost.pyrus.rest import requests
from bothost.pyrus.rest.requests import ApiRequest
from bothost.pyrus_client.api import Pyrus
from bothost.pyrus_client.client import CallingBot, PyrusClient
from bothost.pyrus_client.http_transport import HttpTransport
from bothost.pyrus_client.session import PyrusSession, SessionTerms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"task": {"id": 5} }'


class RawServer:
    """Answers each request with bytes as they are; counts connections."""

    def __init__(self, *answers: bytes | Callable[[asyncio.StreamWriter], Any]) -> None:
        self.answers = itertools.chain(answers, itertools.repeat(GOOD))
        self.connections = 0
        self.requests: list[bytes] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                answer = next(self.answers)
                if callable(answer):
                    await answer(writer)
                else:
                    writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(raw: RawServer) -> AsyncIterator[tuple[PyrusClient, Any]]:
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    client = PyrusClient(SystemClock(), Unlimited(), HttpTransport())
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v4/"
    try:
        yield client, PyrusSession(client, CallingBot("one", url), SessionTerms("token", late=True))
    finally:
        await client.close()
        server.close()
        await asyncio.gather(*raw.tasks)


def comment(limit_s: float = 5.0) -> ApiRequest:
    return ApiRequest("POST", "tasks/5/comments", body=b'{"text": "x"}', limit_s=limit_s)


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def endless(writer: asyncio.StreamWriter, head: bytes, piece: bytes) -> None:
    writer.write(head)
    while not writer.is_closing():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.005)


async def cut(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(piece)
    writer.close()


async def last(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(piece)
    writer.write_eof()


TASK = b'{"task": {"id": 5}}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ODD = {
    "one header of 70 KB": answer("200 OK", TASK, "X-Long: " + "x" * 70_000),
    "headers of 80 KB": answer("200 OK", TASK, *(f"X-{n}: {'x' * 1000}" for n in range(80))),
    "2,000 headers": answer("200 OK", TASK, *(f"X-{n}: x" for n in range(2000))),
    "gzip unasked": answer("200 OK", gzip.compress(TASK), "Content-Encoding: gzip"),
    "gzip without a word": answer("200 OK", gzip.compress(TASK)),
    "deflate": answer("200 OK", b"x", "Content-Encoding: deflate"),
    "a BOM": answer("200 OK", b"\xef\xbb\xbf" + TASK),
    "500": answer("500 Internal Server Error", b"oops"),
    "520": answer("520 Web Server Returned an Unknown Error", b"<html>"),
    "599": answer("599 X"),
    "408": answer("408 Request Timeout"),
    "418": answer("418 Teapot"),
    "301": answer("301 Moved", b"", "Location: http://elsewhere.example/"),
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n" * 10,
    "a short body": lambda writer: cut(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    "a short chunk": lambda writer: cut(writer, CHUNKED + b"10\r\n{"),
    "half a header": lambda writer: cut(writer, b"HTTP/1.1 200 OK\r\nContent-"),
    "nothing": lambda writer: cut(writer, b""),
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "a wrong chunk size": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a chunk of 2^70": CHUNKED + b"4" + b"0" * 18 + b"\r\n{}",
    "endless headers": lambda writer: endless(writer, b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 1000 + b"\r\n"),
    "an endless header": lambda writer: endless(writer, b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
    "an endless chunk line": lambda writer: endless(writer, CHUNKED, b"0" * 1000),
    "an endless chunk extension": lambda writer: endless(writer, CHUNKED + b"2;x=", b"y" * 1000),
    "endless small chunks": lambda writer: endless(writer, CHUNKED, b"1\r\n \r\n"),
    "endless trailers": lambda writer: endless(writer, CHUNKED + b"0\r\n", b"X-More: x\r\n"),
    "endless 100s": lambda writer: endless(writer, b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.gen_test(timeout=30)
@pytest.mark.parametrize("name", ODD)
async def test_an_odd_answer_is_a_call_error_and_the_next_call_works(io_loop: Any, name: str) -> None:
    raw = RawServer(ODD[name])
    async with serving(raw) as (_, session):
        with pytest.raises(CallError) as caught:
            await session.send(comment(0.3 if name.startswith(("an endless", "endless")) else 5.0))
        known = isinstance(caught.value, CallUnclear | CallRefused)
        assert known, caught.value
        assert (await session.send(comment())).status == 200
        assert len(raw.requests) == 2


@pytest.mark.gen_test(timeout=30)
async def test_calls_share_kept_connections(io_loop: Any) -> None:
    raw = RawServer()
    async with serving(raw) as (_, session):
        for _ in range(20):
            await session.send(comment())
        assert raw.connections == 1
        await asyncio.gather(*(session.send(comment()) for _ in range(8)))
        assert raw.connections <= 8


@pytest.mark.gen_test(timeout=30)
async def test_a_post_on_a_connection_that_has_been_closed_meanwhile_goes_out_once(io_loop: Any) -> None:
    raw = RawServer(lambda writer: last(writer, GOOD))
    async with serving(raw) as (_, session):
        await session.send(comment())
        await asyncio.gather(*raw.tasks)  # the client has closed its end: it has seen that the server closed
        await session.send(comment())
        assert (len(raw.requests), raw.connections) == (2, 2)


@pytest.mark.gen_test(timeout=30)
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (("Retry-After: 7",), 7),
        (("Date: Mon, 05 Jan 2026 09:00:00 GMT", "Retry-After: Mon, 05 Jan 2026 09:00:30 GMT"), 30),
        (("Date: Mon, 05 Jan 2026 09:00:00 GMT", "Retry-After: Monday, 05-Jan-26 09:00:30 GMT"), 30),
        (("Date: Mon, 05 Jan 2026 09:00:00 GMT", "Retry-After: Mon, 05 Jan 2026 08:00:00 GMT"), 1),
        (("Retry-After: soon",), 60),
        (("Retry-After: Mon, 99 Jan 2026 09:00:30 GMT",), 60),
    ],
)
async def test_retry_after_is_seconds_or_a_date(io_loop: Any, headers: tuple[str, ...], seconds: float) -> None:
    async with serving(RawServer(answer("429 Too Many Requests", b"{}", *headers))) as (_, session):
        with pytest.raises(RateLimited) as caught:
            await session.send(comment())
        assert caught.value.retry_after_s == pytest.approx(seconds, abs=1)


@pytest.mark.gen_test(timeout=30)
async def test_a_packed_download_is_an_error_and_no_file(io_loop: Any, tmp_path: Any) -> None:
    async with serving(RawServer(ODD["gzip unasked"])) as (_, session):
        with pytest.raises(CallUnclear, match="gzip"):
            await Pyrus(session, SystemClock()).download(1, to=tmp_path / "x")
        assert not os.listdir(tmp_path)
    assert requests.download(1).stream == "down"
