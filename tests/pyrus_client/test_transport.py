"""Real HTTP: what is surely unsent and what is unclear, time limits, streams, TLS, and that nothing is kept open."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.pyrus_client.unlimited import Unlimited
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

from bothost.clock import SystemClock
from bothost.errors import CallRefused, CallUnclear, CallUnsent
from bothost.pyrus.rest import requests
from bothost.pyrus.rest.requests import ApiRequest
from bothost.pyrus_client.api import Pyrus
from bothost.pyrus_client.client import CallingBot, PyrusClient
from bothost.pyrus_client.http_transport import HttpTransport
from bothost.pyrus_client.session import PyrusSession, SessionTerms
from bothost.pyrus_client.transport import HttpRequest
from bothost.testing.fake_pyrus import FakePyrus, faults
from bothost.testing.fake_pyrus.server import FakeServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tornado.iostream import IOStream


class Link:
    """A fake Pyrus on a socket and a client with its API; made on the running loop."""

    def __init__(self, ssl_options: ssl.SSLContext | None = None) -> None:
        self.pyrus = FakePyrus(SystemClock())
        self.bot = self.pyrus.add_bot("bot@one", "key-of-the-bot-0001", 900100)
        self.pyrus.add_task(id=5, text="A task")
        self.server = FakeServer(self.pyrus, ssl_options)
        self.transport = HttpTransport()
        self.client = PyrusClient(SystemClock(), Unlimited(), self.transport, user_agent="bothost/1.2")
        self.line = PyrusSession(
            self.client,
            CallingBot("one", self.server.base_url, "bot@one", (b"key-of-the-bot-0001",)),
            SessionTerms(self.pyrus.world.issue_token(self.bot), user_id=900100),
        )
        self.api = Pyrus(self.line, SystemClock())

    async def __aenter__(self) -> Link:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.server.refuse()


def short(request: ApiRequest, limit_s: float) -> ApiRequest:
    """The same request with another time limit."""
    return ApiRequest(request.method, request.path, body=request.body, reads=request.reads, limit_s=limit_s)


def comment(limit_s: float = 5.0) -> ApiRequest:
    return short(requests.comment(5, b'{"text": "x"}'), limit_s)


@pytest.mark.gen_test(timeout=30)
async def test_a_task_and_a_comment_over_a_socket(io_loop: Any) -> None:
    async with Link() as link:
        await link.api.comment(5, "hello")
        assert (await link.api.task(5)).comments[-1].text == "hello"
        link.pyrus.assert_one_comment(5)


@pytest.mark.gen_test(timeout=30)
async def test_an_on_premise_login_is_below_the_base_url(io_loop: Any) -> None:
    async with Link() as link:
        link.pyrus.revoke(link.bot)
        assert (await link.api.profile()).person_id == 900100
        assert link.pyrus.titles() == ["GET profile", "POST auth", "GET profile"]


@pytest.mark.gen_test(timeout=30)
async def test_a_refused_connection_is_surely_unsent(io_loop: Any) -> None:
    async with Link() as link:
        await link.server.refuse()
        with pytest.raises(CallUnsent, match="refused"):
            await link.line.send(comment())
        link.server.listen()
        await link.line.send(comment())
        link.pyrus.assert_one_comment(5)


@pytest.mark.gen_test(timeout=30)
async def test_a_host_without_an_address_is_surely_unsent(io_loop: Any) -> None:
    transport = HttpTransport()
    with pytest.raises(CallUnsent):
        await transport.fetch(HttpRequest(comment(), "https://no-such-host.invalid/v4/tasks/5/comments", {}))
    await transport.close()


@pytest.mark.gen_test(timeout=30)
@pytest.mark.parametrize("fault", [faults.lose_request(), faults.lose_answer()], ids=["request", "answer"])
async def test_a_broken_connection_is_unclear(io_loop: Any, fault: faults.ApiFault) -> None:
    async with Link() as link:
        link.pyrus.fail("POST tasks/5/comments", fault)
        with pytest.raises(CallUnclear):
            await link.line.send(comment())
        assert len(link.pyrus.comments()) == int(fault.applied)


@pytest.mark.gen_test(timeout=30)
async def test_a_time_out_is_unclear_and_closes_the_connection(io_loop: Any) -> None:
    async with Link() as link:
        link.pyrus.fail("POST tasks/5/comments", faults.slow_answer(1.0))
        began = time.monotonic()
        with pytest.raises(CallUnclear, match=r"no answer within 0\.2 s"):
            await link.line.send(comment(0.2))
        assert time.monotonic() - began < 0.9
        link.pyrus.assert_one_comment(5)


@pytest.mark.gen_test(timeout=30)
async def test_a_call_cancelled_before_its_connection_is_there_sends_nothing(io_loop: Any) -> None:
    read: list[bytes] = []

    class Deaf(TCPServer):
        async def handle_stream(self, stream: IOStream, address: Any) -> None:
            read.append(await stream.read_until_close())

    sockets = bind_sockets(0, "127.0.0.1")
    server = Deaf()
    server.add_sockets(sockets)
    transport = HttpTransport()
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/x"
    task = asyncio.create_task(transport.fetch(HttpRequest(comment(), url, {})))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while not read:
        await asyncio.sleep(0.01)
    assert read == [b""]
    await transport.close()
    server.stop()


def own_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A certificate of a machine's own, as on-premise installations have."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


@pytest.mark.gen_test(timeout=30)
async def test_a_certificate_nobody_vouches_for_is_surely_unsent(io_loop: Any, tmp_path: Path) -> None:
    context, _ = own_certificate(tmp_path)
    async with Link(context) as link:
        with pytest.raises(CallUnsent, match=r"(?i)certificate"):
            await link.line.send(comment())
        assert not link.pyrus.requests


@pytest.mark.gen_test(timeout=30)
async def test_a_redirect_is_not_followed_and_the_token_stays(io_loop: Any) -> None:
    async with Link() as link, Link() as other:
        target = other.server.base_url + "tasks/5/comments"
        for status in (301, 302, 303, 307, 308):
            link.pyrus.fail("* tasks/5*", faults.ApiFault(status=status, headers={"Location": target}), times=2)
            for request in (comment(), requests.task(5)):
                with pytest.raises(CallRefused) as caught:
                    await link.line.send(request)
                assert caught.value.status == status
        assert not other.pyrus.requests


@pytest.mark.gen_test(timeout=60)
async def test_a_compressed_bomb_is_not_unpacked(io_loop: Any) -> None:
    bomb = gzip.compress(b"{" + b" " * 200_000_000 + b"}", 9)
    async with Link() as link:
        link.pyrus.fail(
            "GET tasks/5", faults.ApiFault(status=200, body=bomb, headers={"Content-Encoding": "gzip"}), times=9
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(CallUnclear):
            await link.line.send(short(requests.task(5), 5.0))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.gen_test(timeout=30)
async def test_an_answer_without_end_is_cut(io_loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothost.pyrus_client.http_transport.MAX_ANSWER_BYTES", 1 << 20)
    async with Link() as link:
        body = json.dumps({"x": "y" * (2 << 20)}).encode()
        link.pyrus.fail("POST tasks/5/comments", faults.ApiFault(status=200, body=body))
        with pytest.raises(CallUnclear):
            await link.line.send(comment())


@pytest.mark.gen_test(timeout=30)
async def test_a_refused_download_says_why(io_loop: Any, tmp_path: Path) -> None:
    async with Link() as link:
        with pytest.raises(CallRefused, match="file_not_found"):
            await link.api.download(1, to=tmp_path / "x")
        assert not list(tmp_path.iterdir())


@pytest.mark.gen_test(timeout=60)
async def test_a_big_file_goes_up_and_down_in_little_memory(io_loop: Any, tmp_path: Path) -> None:
    size = 200_000_000
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(size)
    async with Link() as link:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        upload = await link.api.upload(path)
        assert link.pyrus.world.files[upload.guid].size == size
        down = await link.api.download(link.pyrus.add_file("made up", size), to=tmp_path / "down")
        assert down.stat().st_size == size
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


@pytest.mark.gen_test(timeout=30)
async def test_a_download_left_early_closes_its_connection_and_gives_its_permit_back(io_loop: Any) -> None:
    async with Link() as link:
        file_id = link.pyrus.add_file("made up", 1 << 30)
        for _ in range(10):
            async for piece in link.api.download(file_id):
                assert piece
                break
        await asyncio.sleep(0.1)
        assert (await link.api.task(5)).id == 5


@pytest.mark.gen_test(timeout=30)
async def test_a_slow_reader_slows_the_download_down(io_loop: Any) -> None:
    async with Link() as link:
        pieces = link.line.stream(requests.download(link.pyrus.add_file("made up", 1 << 30)))
        await anext(pieces)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await asyncio.sleep(0.5)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
        await pieces.aclose()


@pytest.mark.gen_test(timeout=30)
async def test_a_download_that_breaks_off_is_an_error_and_no_short_file(io_loop: Any, tmp_path: Path) -> None:
    class Short(TCPServer):
        async def handle_stream(self, stream: IOStream, address: Any) -> None:
            await stream.read_until(b"\r\n\r\n")
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400)
            stream.close()

    sockets = bind_sockets(0, "127.0.0.1")
    server = Short()
    server.add_sockets(sockets)
    async with Link() as link:
        caller = CallingBot("one", f"http://127.0.0.1:{sockets[0].getsockname()[1]}/api/v4/")
        api = Pyrus(PyrusSession(link.client, caller, SessionTerms("token")), SystemClock())
        with pytest.raises(CallUnclear):
            await api.download(1, to=tmp_path / "x")
        assert not list(tmp_path.iterdir())
    server.stop()


@pytest.mark.gen_test(timeout=30)
async def test_the_headers_of_a_call(io_loop: Any) -> None:
    seen: list[Any] = []

    def answer(request: Any) -> None:
        seen.append(request)
        body = b'{"task": {"id": 5}}'
        request.connection.write_headers(
            __import__("tornado.httputil").httputil.ResponseStartLine("HTTP/1.1", 200, "OK"),
            __import__("tornado.httputil").httputil.HTTPHeaders({"Content-Length": str(len(body))}),
            body,
        )
        request.connection.finish()

    server = HTTPServer(answer)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    async with Link() as link:
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        caller = CallingBot("one", f"http://127.0.0.1:{sockets[0].getsockname()[1]}/api/v4/")
        line = PyrusSession(link.client, caller, SessionTerms("the-token", trace=trace))
        await line.send(requests.comment(5, b'{"text": "x"}'))
    headers = seen[0].headers
    assert seen[0].uri == "/api/v4/tasks/5/comments"
    assert headers["Authorization"] == "Bearer the-token"
    assert headers["Content-Type"] == "application/json"
    assert headers["traceparent"] == trace
    assert headers["User-Agent"] == "bothost/1.2"
    assert "Accept-Encoding" not in headers
    server.stop()


@pytest.mark.gen_test(timeout=30)
async def test_twenty_slow_calls_of_one_bot_do_not_delay_another(io_loop: Any) -> None:
    async with Link() as link:
        link.pyrus.fail("GET tasks/5", faults.slow(0.4), times=20)
        slow = [asyncio.create_task(link.line.send(requests.task(5))) for _ in range(20)]
        await asyncio.sleep(0.05)
        other = PyrusSession(
            link.client, CallingBot("two", link.server.base_url), SessionTerms(link.pyrus.world.issue_token(link.bot))
        )
        began = time.monotonic()
        await other.send(requests.profile())
        assert time.monotonic() - began < 0.3
        await asyncio.gather(*slow)


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield os.urandom(1000)


@pytest.mark.gen_test(timeout=30)
async def test_a_file_that_breaks_while_it_is_read_is_the_authors_own_error(io_loop: Any) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise OSError(5, "the disk is broken")

    async with Link() as link:
        request = requests.upload("multipart/form-data; boundary=x", 1000)
        with pytest.raises(OSError, match="the disk is broken"):
            await link.line.send(request, broken)
