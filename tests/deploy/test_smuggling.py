"""Requests whose end can be read in two ways, directly and behind nginx and Caddy, each with a victim's request behind it.

The bytes of two requests never mix: every run has the signed bytes of one victim, and every victim's answer is its own.
BOTHOST_SMUGGLES=all sends all of them (some 1,700); else every 29th is sent.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
import ssl

import pytest
from tests.deploy.front import NAME, event
from tests.e2e.site import SECRET

from bothost.pyrus.signature import sign

pytestmark = pytest.mark.full

LINES = (
    "Content-Length: 4", "Content-Length: 0", "Content-Length: 4\r\nContent-Length: 4", "Content-Length: 4, 4",
    "Content-Length: 0\r\nContent-Length: 4", "Content-Length: +4", "Content-Length: 4 4", "Content-Length: 0x4",
    "Content-Length : 4", " Content-Length: 4", "Content-Length:\x0b4", "Content-Length: 00000000000000000000004",
    "Content-Length: 99999999999999999999", "Content-Length: -1", "Content-Length:", "content-length: 4\x00",
    "Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4", "Content-Length: 4\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding : chunked", "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: \"chunked\"", "Transfer-Encoding:\r\n chunked", "X: y\r\n Transfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked", "Transfer_Encoding: chunked", "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4",
    "Expect: 100-continue\r\nContent-Length: 4", "Connection: Content-Length\r\nContent-Length: 4", "Transfer-Encoding: CHUNKED, chunked",
)  # fmt: skip
BODIES = (
    b"",
    b"abcd",
    b"0\r\n\r\n",
    b"4\r\nabcd\r\n0\r\n\r\n",
    b"4;x=\n\r\nabcd\r\n0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"4\nabcd\n0\n\n",
    b"-1\r\n\r\n",
)
STARTS = (
    "POST /one HTTP/1.1",
    "GET /one HTTP/1.1",
    "POST /absent HTTP/1.0",
    "POST /one HTTP/1.1 ",
    "CONNECT one:1 HTTP/1.1",
    "HEAD /healthz HTTP/1.1",
)
ALL = [
    f"{start}\r\nHost: {NAME}\r\n{lines}\r\n\r\n".encode("latin-1") + body
    for start, lines, body in itertools.product(STARTS, LINES, BODIES)
]
CASES = ALL if os.environ.get("BOTHOST_SMUGGLES") == "all" else ALL[::29]


@pytest.fixture(params=["direct", "nginx", "caddy"])
def place(request, make_host):
    """Where to connect, and how."""
    host = make_host().start()
    if request.param == "direct":
        return host, host.port, None
    start = request.getfixturevalue(request.param)
    upstream = {"127.0.0.1:8080": f"127.0.0.1:{host.port}"}
    front = start("nginx.conf", upstream) if request.param == "nginx" else start(upstream)
    return host, front.port, front.context


def exchange(port: int, context: ssl.SSLContext | None, data: bytes, wait_s: float = 0.3) -> bytes:
    """Send on a connection of its own, say no more, and read what comes within a moment."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        wire = plain if context is None else context.wrap_socket(plain, server_hostname=NAME)
        wire.settimeout(wait_s)
        try:
            wire.sendall(data)
            while chunk := wire.recv(65536):
                said += chunk
        except OSError:
            pass
        if context is not None:
            wire.close()
    return said


def victim(number: int) -> tuple[bytes, bytes]:
    """A signed request that ends its connection, and the text that only it is answered."""
    body = event(number, number)
    head = f"POST /one HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\nX-Pyrus-Sig: {sign(body, SECRET)}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body, b"%d from a@example.com" % len(body)


def test_no_request_takes_bytes_or_the_answer_of_another(place):
    host, port, context = place
    for number, attack in enumerate(CASES):
        behind, _ = victim(10_000_000 + number)
        said = exchange(port, context, attack + behind)
        answers = re.findall(rb"HTTP/1\.[01] (\d\d\d)", said)
        assert len([one for one in answers if one != b"100"]) <= 3, (attack, said)
        own, text = victim(1000 + number)
        answer = exchange(port, context, own, 20.0)
        assert answer.startswith(b"HTTP/1.1 200"), (attack, answer)
        assert text in answer, (attack, answer)
    ran = [line for line in host.lines() if line.get("message") == "delivery"]
    assert len({line["task"] for line in ran}) == len(ran), "an event ran twice or was answered twice"
    assert not [line for line in host.lines() if line["level"] == "error"]
