"""TLS, unix sockets, proxies, and how a listener leaves."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
import subprocess
from ipaddress import ip_network
from pathlib import Path

import pytest
from tests.webhook.edge import post, read_answer

from bothost.errors import ConfigError
from bothost.host.listeners import shown
from bothost.host.sockets import bind_tcp, bind_unix
from bothost.http_server.limits import ConnectionLimits
from bothost.http_server.server import tls_context
from bothost.webhook.proxies import TrustedProxies

BODY = b'{"task_id": 5}'


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two certificates of different names, each with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}.example",
        ]
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
        subprocess.run([*command, *files], check=True, capture_output=True)
    return folder


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def certificate_of(port: int) -> bytes:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return found


@pytest.mark.gen_test
async def test_a_new_certificate_serves_new_connections_and_open_ones_go_on(serve, certificates):
    site = serve(tls=tls_context(str(certificates / "one.crt"), str(certificates / "one.key")))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=trusting())
    assert b"one.example" in await certificate_of(site.port)
    site.listener.use_tls(tls_context(str(certificates / "two.crt"), str(certificates / "two.key")))
    assert b"two.example" in await certificate_of(site.port)
    writer.write(post(BODY))
    assert (await read_answer(reader))[0] == 200
    writer.close()
    await writer.wait_closed()


@pytest.mark.gen_test
async def test_the_next_answer_of_a_connection_waits_for_no_acknowledgement(serve):
    site = serve()
    reader, _ = await site.raw(post(BODY))
    assert (await read_answer(reader))[0] == 200
    (stream,) = site.listener.connections.open
    assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_key_that_does_not_fit_is_an_error_that_names_both_files(certificates):
    with pytest.raises(ConfigError, match=r"one\.crt with key .*two\.key"):
        tls_context(str(certificates / "one.crt"), str(certificates / "two.key"))
    with pytest.raises(ConfigError, match=r"absent\.crt"):
        tls_context(str(certificates / "absent.crt"), "")


@pytest.mark.gen_test
async def test_a_silent_tls_handshake_is_closed_in_a_heads_time(serve, certificates):
    context = tls_context(str(certificates / "one.crt"), str(certificates / "one.key"))
    site = serve(tls=context, limits=ConnectionLimits(header_s=0.1, sweep_s=0.02))
    reader, _ = await site.raw(b"")
    assert await reader.read() == b""


@pytest.mark.gen_test
async def test_plain_http_to_a_tls_listener_is_closed_and_others_are_served(serve, certificates):
    site = serve(tls=tls_context(str(certificates / "one.crt"), str(certificates / "one.key")))
    reader, writer = await site.raw(post(BODY))
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readuntil(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=trusting())
    writer.write(post(BODY))
    assert (await read_answer(reader))[0] == 200
    writer.close()
    await writer.wait_closed()


@pytest.mark.gen_test
async def test_a_unix_socket_is_0660_and_replaced_without_a_gap(serve, tmp_path):
    path = tmp_path / "bothost.sock"
    old, new = serve(), serve()
    first = bind_unix(path)
    old.listener.add_sockets([first.socket])
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    second = bind_unix(path)
    new.listener.add_sockets([second.socket])
    first.unlink()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(post(BODY))
    assert (await read_answer(reader))[0] == 200
    assert [delivery.peer for delivery in new.edge.deliveries] == ["unix"]
    assert os.listdir(tmp_path) == ["bothost.sock"]
    second.unlink()
    assert os.listdir(tmp_path) == []
    writer.close()


def test_a_unix_socket_is_shown_by_the_name_that_it_was_renamed_to(tmp_path):
    made = bind_unix(tmp_path / "bothost.sock")
    assert shown([made.socket]) == [f"unix:{tmp_path / 'bothost.sock'}"]
    made.socket.close()
    passed = socket.socket(socket.AF_UNIX)
    passed.bind(str(tmp_path / ".hidden"))
    assert shown([passed]) == [f"unix:{tmp_path / '.hidden'}"]
    passed.close()


def test_a_unix_socket_takes_the_place_of_no_file(tmp_path):
    (tmp_path / "precious").write_text("keep me")
    with pytest.raises(FileExistsError, match="not a socket"):
        bind_unix(tmp_path / "precious")
    assert (tmp_path / "precious").read_text() == "keep me"


def test_an_address_in_use_is_an_error_that_names_it():
    (taken,) = bind_tcp("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
        bind_tcp("127.0.0.1", port)
    taken.close()


def test_an_address_that_cannot_be_had_comes_with_what_would_be_right(monkeypatch: pytest.MonkeyPatch):
    (taken,) = bind_tcp("127.0.0.1", 0)
    with pytest.raises(OSError, match="another program has it; end that one, or choose another port"):
        bind_tcp("127.0.0.1", taken.getsockname()[1])
    taken.close()
    with pytest.raises(OSError, match="choose an address of this machine"):
        bind_tcp("192.0.2.1", 0)

    with pytest.raises(OSError, match="cannot listen on /nowhere/sock: No such file or directory; choose a folder"):
        bind_unix(Path("/nowhere/sock"))

    def forbidden(*_place: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", forbidden)
    with pytest.raises(OSError, match=r"127\.0\.0\.1:80: Permission denied \(this user may not have it"):
        bind_tcp("127.0.0.1", 80)


def proxies(*addresses: str) -> TrustedProxies:
    return TrustedProxies(tuple(ip_network(address) for address in addresses))


@pytest.mark.gen_test
async def test_forwarded_addresses_count_only_where_the_proxy_is_trusted(serve):
    told = "X-Forwarded-For: 203.0.113.9, 198.51.100.7"
    peers = []
    for trusted in (None, TrustedProxies(), proxies("127.0.0.1", "198.51.100.0/24"), proxies("10.0.0.1")):
        site = serve(proxies=trusted)
        await site.ask(post(BODY, told))
        peers.append(site.edge.deliveries[0].peer)
    assert peers == ["127.0.0.1", "198.51.100.7", "203.0.113.9", "127.0.0.1"]


@pytest.mark.parametrize(
    ("forwarded", "sender"),
    [
        ([], "10.0.0.1"),
        (["evil\x1b[31m"], "10.0.0.1"),
        (["1.2.3.4, junk"], "10.0.0.1"),
        (["1.2.3.4", "10.0.0.2"], "1.2.3.4"),
        (["[2001:db8::1]"], "2001:db8::1"),
    ],
)
def test_the_sender_is_the_nearest_address_that_is_no_proxy(forwarded, sender):
    assert proxies("10.0.0.0/8").sender("10.0.0.1", forwarded) == sender


@pytest.mark.gen_test
async def test_a_listener_that_leaves_closes_the_idle_and_serves_who_has_not_asked_yet(serve):
    site = serve()
    idle_reader, _ = await site.raw(post(BODY))
    await read_answer(idle_reader)
    fresh_reader, fresh_writer = await site.raw(b"")
    while len(site.listener.connections.open) < 2:
        await asyncio.sleep(0)
    leaving = asyncio.ensure_future(site.listener.leave(5.0))
    assert await idle_reader.read() == b""
    fresh_writer.write(post(BODY))
    status, headers, _ = await read_answer(fresh_reader)
    assert (status, headers["connection"]) == (200, "close")
    assert await fresh_reader.read() == b""
    await asyncio.wait_for(leaving, 1.0)
    with pytest.raises(ConnectionRefusedError):
        await site.raw(b"")


@pytest.mark.gen_test
async def test_a_listener_that_leaves_waits_no_longer_than_its_grace(serve):
    site = serve()
    reader, _ = await site.raw(b"POST /auto")
    while not site.listener.connections.open:
        await asyncio.sleep(0)
    await asyncio.wait_for(site.listener.leave(0.1), 1.0)
    assert await reader.read() == b""
