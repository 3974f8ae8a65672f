"""The way out: a proxy with credentials, exceptions from it, and certificates of a private authority."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.pyrus_client.test_transport import own_certificate
from tests.pyrus_client.unlimited import Unlimited

from bothost.clock import SystemClock
from bothost.config import read
from bothost.errors import CallUnsent
from bothost.pyrus.rest import requests
from bothost.pyrus_client.client import CallingBot, PyrusClient
from bothost.pyrus_client.http_transport import HttpTransport
from bothost.pyrus_client.network import Network
from bothost.pyrus_client.session import PyrusSession, SessionTerms
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

USER, PASSWORD = "bot user", "p@ss:word"


class Proxy:
    """An HTTP proxy that wants credentials and tunnels by CONNECT."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.refused = 0
        self.tasks: list[Any] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        method, target, _ = head.split(" ", 2)
        if f"proxy-authorization: basic {wanted.lower()}" not in head.lower() or method != "CONNECT":
            self.refused += 1
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
            return
        self.targets.append(target)
        host, port = target.split(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, back), copy(there, writer))


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(1 << 16):
            target.write(piece)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()


@asynccontextmanager
async def beyond_proxy(folder: Path) -> AsyncIterator[tuple[Proxy, int, FakeServer, Path]]:
    """A proxy, its port, a fake Pyrus with a certificate of its own, and that certificate."""
    context, certificate = own_certificate(folder)
    pyrus = FakePyrus(SystemClock())
    bot = pyrus.add_bot("bot@one", "key-of-the-bot-0001", 900100)
    pyrus.add_task(id=5, text="A task")
    server = FakeServer(pyrus, context)
    pyrus.token = pyrus.world.issue_token(bot)  # type: ignore[attr-defined]
    proxy = Proxy()
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield proxy, listener.sockets[0].getsockname()[1], server, certificate
    finally:
        listener.close()
        await server.refuse()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)


async def status(network: Network, server: FakeServer) -> int:
    client = PyrusClient(SystemClock(), Unlimited(), HttpTransport(network))
    terms = SessionTerms(server.pyrus.token, late=True)  # type: ignore[attr-defined]
    try:
        session = PyrusSession(client, CallingBot("one", server.base_url), terms)
        return (await session.send(requests.task(5))).status
    finally:
        await client.close()


@pytest.mark.gen_test(timeout=60)
async def test_calls_go_through_an_authenticating_proxy_to_a_private_authority(io_loop: Any, tmp_path: Path) -> None:
    async with beyond_proxy(tmp_path) as (proxy, port, server, certificate):
        address = f"http://bot%20user:p%40ss%3Aword@127.0.0.1:{port}"
        assert await status(Network.of(address, "", certificate), server) == 200
        assert proxy.targets == [f"127.0.0.1:{server.port}"]
        for wrong, said in ((f"http://127.0.0.1:{port}", "407"), (f"http://x:y@127.0.0.1:{port}", "407")):
            with pytest.raises(CallUnsent) as caught:
                await status(Network.of(wrong, "", certificate), server)
            assert said in str(caught.value)
            assert f"at 127.0.0.1:{server.port} by the proxy 127.0.0.1:{port}: " in str(caught.value)
            assert "y@" not in str(caught.value)
        with pytest.raises(CallUnsent, match=r"(?i)certificate"):
            await status(Network.of(address), server)


@pytest.mark.gen_test(timeout=60)
async def test_the_environment_is_the_default(io_loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with beyond_proxy(tmp_path) as (proxy, port, server, certificate):
        monkeypatch.setenv("HTTPS_PROXY", f"http://bot%20user:p%40ss%3Aword@127.0.0.1:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await status(Network.of(), server) == 200
        assert len(proxy.targets) == 1
        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
        assert await status(Network.of(), server) == 200
        assert len(proxy.targets) == 1


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("", "https://api.pyrus.com/v4/", False),
        ("pyrus.com", "https://api.pyrus.com/v4/", True),
        (".pyrus.com", "https://api.pyrus.com/v4/", True),
        ("api.pyrus.com:443", "https://api.pyrus.com:443/v4/", True),
        ("rus.com", "https://api.pyrus.com/v4/", False),
        ("*", "https://api.pyrus.com/v4/", True),
        ("a.example, API.Pyrus.com", "https://api.pyrus.com/v4/", True),
    ],
)
def test_exceptions_from_the_proxy(no_proxy: str, url: str, direct: bool) -> None:
    network = Network.of("http://proxy:3128", no_proxy)
    assert (network.proxy_for(url) is None) is direct
    assert "3128" not in repr(Network.of("http://u:secret@proxy:3128"))


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://p:1", "http://", "http://p:99999", "http://p/x?y"])
def test_a_proxy_that_is_none_is_an_error_that_shows_nothing_of_it(tmp_path: Path, proxy: str) -> None:
    path = tmp_path / "bots.ini"
    path.write_text(f"[host]\nproxy = {proxy}\n")
    (problem,) = read(path, {}).all_problems()
    assert "write http://HOST:PORT" in problem.text
    assert proxy == "http://" or proxy not in problem.text


def test_certificates_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bots.ini"
    (tmp_path / "no.pem").write_text("nothing")
    for file in ("no.pem", "missing.pem"):
        path.write_text(f"[host]\nca_file = {file}\n")
        (problem,) = read(path, {}).all_problems()
        assert "holds no certificates" in problem.text
