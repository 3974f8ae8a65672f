"""Bytes to Pyrus and back: the one place that opens connections to the outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import SimpleAsyncHTTPClient, _HTTPConnection

from bothost.errors import CallError, CallUnclear, CallUnsent
from bothost.pyrus.rest.requests import ApiRequest, ApiResponse

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection
    from tornado.iostream import IOStream

MAX_CLIENTS = 1000
MAX_ANSWER_BYTES = 128 << 20
MAX_FILE_BYTES = 4 << 30
MAX_ERROR_BYTES = 1 << 20
CONNECT_LIMIT_S = 10.0

Chunks = AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request with its whole address and headers. Its repr shows no header, for one of them is the token."""

    request: ApiRequest
    url: str
    headers: Mapping[str, str]
    content: Chunks | None = None

    def __repr__(self) -> str:
        return f"<Sending {self.request.title}>"


class Transport(Protocol):
    """Sends what it is given, once; implementations: Tornado's client, and the fake Pyrus in process.

    Both raise `CallUnsent` where the request surely did not reach Pyrus and `CallUnclear` where it may have. A response of
    any status is returned as it is; no redirect is followed, for it would carry the token elsewhere.
    """

    async def fetch(self, sending: HttpRequest) -> ApiResponse:
        """Send and return the whole response."""

    async def open(self, sending: HttpRequest) -> tuple[ApiResponse, Chunks]:
        """Send and return when the headers are there; a 2xx body comes in pieces, any other is in the response."""

    async def close(self) -> None:
        """Give connections up."""


class RequestInFlight(HTTPRequest):
    """A request under way: `stream` is its connection, there from the moment at which a byte of it may leave."""

    stream: IOStream | None = None
    given_up = False
    broken: OSError | None = None
    """What went wrong with reading the file that is being sent."""

    def give_up(self) -> None:
        """Close the connection, or send nothing if there is none yet."""
        self.given_up = True
        if self.stream is not None:
            self.stream.close()


class Connection(_HTTPConnection):
    """Tornado's client connection (its websocket client extends the same class), telling when the sending begins."""

    def _create_connection(self, stream: IOStream) -> HTTP1Connection:
        going: RequestInFlight = self.request.request  # type: ignore[attr-defined]  # a proxy that adds the client's defaults
        if going.given_up:
            stream.close()
            raise StreamClosedError
        going.stream = stream
        return super()._create_connection(stream)


class Client(SimpleAsyncHTTPClient):
    """The client that uses our connection."""

    def _connection_class(self) -> type:
        return Connection


class TornadoTransport:
    """Real HTTP. Made on the loop that uses it; a client each for answers and for files, whose size limits differ."""

    def __init__(self) -> None:
        self._answers = client(MAX_ANSWER_BYTES)
        self._files = client(MAX_FILE_BYTES)
        self._downloads: set[asyncio.Task[None]] = set()

    async def fetch(self, sending: HttpRequest) -> ApiResponse:
        """See `Transport.fetch`."""
        return await fetch(self._answers, sending, outgoing(sending))

    async def open(self, sending: HttpRequest) -> tuple[ApiResponse, Chunks]:
        """See `Transport.open`."""
        download = Download(outgoing(sending))
        download.work = asyncio.create_task(download.run(self._files, sending))
        self._downloads.add(download.work)
        download.work.add_done_callback(self._downloads.discard)
        try:
            return await download.opened, download.pieces()
        except BaseException:
            download.going.give_up()
            raise

    async def close(self) -> None:
        """See `Transport.close`."""
        for work in self._downloads:
            work.cancel()
        self._answers.close()
        self._files.close()


class Download:
    """One response whose body is handed on piece by piece, no faster than it is read."""

    def __init__(self, going: RequestInFlight) -> None:
        self.going = going
        self.work: asyncio.Task[None] | None = None
        self.opened: asyncio.Future[ApiResponse] = asyncio.get_running_loop().create_future()
        self._head: list[str] = []
        self._refusal = bytearray()
        self._pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(maxsize=1)
        going.header_callback, going.streaming_callback = self._header, self._piece

    async def run(self, client: Client, sending: HttpRequest) -> None:
        """Send, and hand on what comes until the end."""
        try:
            response = await fetch(client, sending, self.going)
        except CallError as error:
            if self.opened.done():
                await self._pieces.put(error)
            else:
                self.opened.set_exception(error)
            return
        if self.opened.done():
            await self._pieces.put(None)
        else:
            self.opened.set_result(ApiResponse(response.status, response.headers, bytes(self._refusal)))
            self._pieces.put_nowait(None)

    async def pieces(self) -> Chunks:
        """The body; leaving early closes the connection."""
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.going.give_up()
            if self.work is not None:
                self.work.cancel()
            while not self._pieces.empty():
                self._pieces.get_nowait()

    def _header(self, line: str) -> None:
        if line != "\r\n":
            self._head.append(line)
            return
        status = int(self._head[0].split()[1])
        if 200 <= status < 300 and not self.opened.done():
            self.opened.set_result(ApiResponse(status, lower(HTTPHeaders.parse("".join(self._head[1:])))))

    async def _piece(self, piece: bytes) -> None:
        if not self.opened.done():
            self._refusal += piece[: MAX_ERROR_BYTES - len(self._refusal)]
        elif not self.going.given_up:
            await self._pieces.put(piece)


def client(max_body_bytes: int) -> Client:
    """A client of our own. Compressed answers are not asked for: a small one could unpack to any size."""
    defaults = {"follow_redirects": False, "decompress_response": False, "connect_timeout": CONNECT_LIMIT_S}
    made = Client(force_instance=True, max_clients=MAX_CLIENTS, max_body_size=max_body_bytes, defaults=defaults)
    assert isinstance(made, Client)
    return made


def outgoing(sending: HttpRequest) -> RequestInFlight:
    """Tornado's request. Its own time limit is a little longer than the caller's and closes what that one left open."""
    request = sending.request
    headers = HTTPHeaders(dict(sending.headers))
    limit_s = request.limit_s + 1
    content = sending.content
    if content is None:
        body = request.body if request.body is not None or request.method == "GET" else b""
        return RequestInFlight(sending.url, request.method, headers, body, request_timeout=limit_s)
    if request.length is not None:
        headers["Content-Length"] = str(request.length)

    async def produce(write: Callable[[bytes], Awaitable[None]]) -> None:
        while True:
            try:
                piece = await anext(content, None)
            except OSError as error:
                going.broken = error
                raise
            if piece is None:
                return
            await write(piece)

    producer = cast("Any", produce)  # Tornado awaits it; its annotation knows only futures
    going = RequestInFlight(sending.url, request.method, headers, body_producer=producer, request_timeout=limit_s)
    return going


async def fetch(client: Client, sending: HttpRequest, going: RequestInFlight) -> ApiResponse:
    """Send once; what breaks before the sending began is `CallUnsent`, later `CallUnclear`."""
    try:
        answer = await client.fetch(going, raise_error=False)
    except (HTTPClientError, OSError) as error:
        if going.broken is not None:
            raise going.broken from None
        what = f"{sending.request.title}: {reason(error)}"
        raise (CallUnsent(what) if going.stream is None else CallUnclear(what)) from error
    finally:
        going.give_up()
    return ApiResponse(answer.code, lower(answer.headers), answer.body)


def reason(error: Exception) -> str:
    """What broke, without the address: errors of TLS and of the resolver say it in their own words."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return "".join(c if c.isprintable() else " " for c in text[:200])


def lower(headers: HTTPHeaders) -> Mapping[str, str]:
    """Headers by lower-case name."""
    return {name.lower(): value for name, value in headers.items()}
