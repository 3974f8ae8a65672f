"""The path of a request up to dispatch, on the real listener: whatever comes over a connection, only documented answers."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import socket
from typing import Any

from tests.fuzz.draw import Draw
from tests.webhook.edge import SECRET, Edge, bot

from bothost.bots.registry import Registry, Service
from bothost.clock import SystemClock
from bothost.http_server.limits import ConnectionLimits
from bothost.pyrus.signature import sign
from bothost.webhook.listener import webhook_server
from bothost.webhook.request import WebhookContext

STATUSES = frozenset((100, 200, 400, 403, 404, 405, 408, 413, 431, 503))
_METHODS = ("POST", "GET", "HEAD", "OPTIONS", "PUT", "CONNECT", "TRACE", "post", "P\x00ST", "")
_TARGETS = (
    "/autoreply", "/autoreply/", "/autoreply?x=1", "/%61utoreply", "/медь", "/%D0%BC%D0%B5%D0%B4%D1%8C", "/healthz", "/", "*",
    "http://bots.example/autoreply", "//autoreply", "/auto\x00reply", "/%zz", "/%ff", "/autoreply/../autoreply", "/big", "",
)  # fmt: skip
_VERSIONS = ("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", "HTTP/11", "")
_NAMES = (
    "Host", "Content-Length", "Transfer-Encoding", "Expect", "Connection", "X-Pyrus-Sig", "X-Pyrus-Retry", "X-Forwarded-For",
    "Traceparent", "Content-Encoding", "Content-Type", "Upgrade", "host", "X Bad", ":", "",
)  # fmt: skip
_VALUES = (
    "bots.example", "0", "5", "-1", "+5", "5, 5", "5,6", "99999999999", "1" * 30, "chunked", "gzip, chunked", "identity", "chunked, chunked",
    "100-continue", "100-Continue", "teapot", "close", "keep-alive", "Upgrade", "1/3", "3/3", "x" * 9000, "\x80\xff", "a\rb", "٥", "gzip",
)  # fmt: skip


class _Strict(logging.Handler):
    """Keeps what is logged as an error: nothing from outside may be one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.told.append(f"{record.name}: {record.getMessage()} {record.exc_info}")


class _Ground:
    """A listener without a port, made once; each input gets a connection of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.log = _Strict()
        root = logging.getLogger()
        root.addHandler(self.log)
        logging.getLogger("tornado.general").setLevel(logging.WARNING)
        logging.getLogger("bothost").setLevel(logging.CRITICAL)
        self.loop.set_exception_handler(lambda _loop, context: self.log.told.append(str(context)))
        self.edge = Edge()
        self.count = 0
        bots = (bot(), bot("copper", "/медь"), bot("big", max_body_bytes=64), bot("beside"))
        front = WebhookContext(Service(Registry(bots)), self.edge, self.edge.refuse, SystemClock())
        self.loop.run_until_complete(self._open(front))

    async def _open(self, front: WebhookContext) -> None:
        self.front = front
        self.listener = webhook_server(front, ConnectionLimits())
        self.beside, theirs = socket.socketpair()
        self.beside.setblocking(False)
        self.listener._open(theirs, "")

    def ask(self, pieces: list[bytes]) -> bytes:
        """Send the pieces one by one, say no more, and read all that comes."""
        self.edge.deliveries.clear()
        self.log.told.clear()
        return self.loop.run_until_complete(asyncio.wait_for(self._ask(pieces), 5))

    async def _ask(self, pieces: list[bytes]) -> bytes:
        ours, theirs = socket.socketpair()
        self.listener._open(theirs, "")
        ours.setblocking(False)
        answer = b""
        try:
            for piece in pieces:
                await self.loop.sock_sendall(ours, piece)
                await asyncio.sleep(0)
                await self._deliver_beside()
            ours.shutdown(socket.SHUT_WR)
            while chunk := await self.loop.sock_recv(ours, 65536):
                answer += chunk
        except (ConnectionError, BrokenPipeError):
            pass
        finally:
            ours.close()
        for _ in range(3):
            await asyncio.sleep(0)
        return answer

    async def _deliver_beside(self) -> None:
        """A second connection's request is answered as if there were no first."""
        self.count += 1
        body = b'{"task_id": %d}' % self.count
        head = f"POST /beside HTTP/1.1\r\nHost: a\r\nX-Pyrus-Sig: {sign(body, SECRET)}\r\nContent-Length: {len(body)}\r\n\r\n"
        await self.loop.sock_sendall(self.beside, head.encode())
        await self.loop.sock_sendall(self.beside, body)
        answer = await self.loop.sock_recv(self.beside, 65536)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        assert answer.endswith(b'\r\n\r\n{"text": "hello"}'), answer
        own = [delivery for delivery in self.edge.deliveries if delivery.bot.name == "beside"]
        assert [delivery.body for delivery in own] == [body]
        self.edge.deliveries.remove(own[0])


_resources: list[_Ground] = []


def check(data: bytes) -> None:
    """Raw bytes, or requests built from known parts, some of them signed."""
    if not _resources:
        _resources.append(_Ground())
    resources = _resources[0]
    draw = Draw(data)
    pieces = (
        [draw.rest()] if draw.below(3) == 0 else [piece for _ in range(1 + draw.below(3)) for piece in _request(draw)]
    )
    answer = resources.ask(pieces)
    assert not resources.log.told, f"{pieces!r} was logged as {resources.log.told}"
    for delivery in resources.edge.deliveries:
        _signed(delivery)
    _well_formed(answer, pieces)
    held = resources.front.unverified.held
    assert len(resources.listener.connections.open) == 1, f"{pieces!r} left a connection"
    assert not held, f"{pieces!r} left {held} bytes counted as unverified"


def seeds() -> list[bytes]:
    """Good requests of each kind, whole and built."""
    body = b'{"task_id": 1}'
    good = b"POST /autoreply HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\nX-Pyrus-Sig: %s\r\n\r\n%s"
    whole = good % (sign(body, SECRET).encode(), body)
    chunked = b"POST /autoreply HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    get = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    raw = (
        whole,
        whole + get,
        chunked,
        get,
        b"HEAD" + get[3:],
        whole.replace(b"Host: a\r\n", b"Host: a\r\nExpect: 100-continue\r\n"),
    )
    return [b"\0" + one for one in raw] + [
        bytes([1, kind % 3, *((step * kind) % 256 for step in range(90))]) for kind in range(16)
    ]


def _request(draw: Draw) -> list[bytes]:
    body = draw.chunk(200)
    headers: list[tuple[str, str]] = []
    if not draw.sometimes(8):
        headers.append(("Host", "bots.example"))
    if not draw.sometimes(4):
        headers.append(("X-Pyrus-Sig", sign(body, SECRET)))
    chunked = draw.sometimes(3)
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    elif not draw.sometimes(8):
        headers.append(("Content-Length", str(len(body))))
    headers += [
        (draw.pick(_NAMES), draw.text() if draw.sometimes(4) else draw.pick(_VALUES)) for _ in range(draw.below(4))
    ]
    method = "POST" if not draw.sometimes(4) else draw.pick(_METHODS)
    target = draw.pick(_TARGETS)
    head = f"{method} {target} {draw.pick(_VERSIONS) if draw.sometimes(8) else 'HTTP/1.1'}\r\n"
    lines = head + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    sent = b"%x%s\r\n%s\r\n0\r\n\r\n" % (len(body), draw.pick((b"", b";x=y", b" ")), body) if chunked and body else body
    if chunked and not body:
        sent = b"0\r\n\r\n"
    return (
        [lines.encode("utf-8", "surrogatepass"), sent]
        if draw.sometimes(2)
        else [lines.encode("utf-8", "surrogatepass") + sent]
    )


def _signed(delivery: Any) -> None:
    """What reaches dispatch is signed over exactly its bytes."""
    header = delivery.headers.get("X-Pyrus-Sig", "").strip().lower().removeprefix("sha1=").strip()
    assert delivery.secret_index in (0, 1)
    expected = hmac.new(delivery.found.config.secrets[delivery.secret_index], delivery.body, "sha1").hexdigest()
    assert header == expected


def _well_formed(answer: bytes, pieces: list[bytes]) -> None:
    """Zero or more whole responses, one after the other."""
    while answer:
        head, blank, rest = answer.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 (\d{3}) [A-Za-z ()]+", head)
        assert match is not None, f"{pieces!r} was answered {answer!r}"
        assert blank, f"{pieces!r} was answered half of a head: {answer!r}"
        status = int(match[1])
        assert status in STATUSES, f"{pieces!r} was answered {status}"
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        size = int(length[1]) if length else 0
        if status != 100 and length:
            assert b"Content-Type: application/json" in head
            assert b"Server:" not in head
        answer = rest if rest.startswith(b"HTTP/1.") else rest[size:]
