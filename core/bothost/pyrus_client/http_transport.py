"""Send real HTTP to Pyrus by aiohttp's pool of kept connections. Only this module opens connections to the outside."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from bothost.errors import CallUnclear, CallUnsent
from bothost.pyrus.rest.requests import ApiResponse
from bothost.pyrus_client.network import Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import SimpleNamespace

    from bothost.errors import CallError
    from bothost.pyrus_client.transport import Chunks, HttpRequest

MAX_CONNECTIONS = 1000
MAX_ANSWER_BYTES = 128 << 20
MAX_FILE_BYTES = 4 << 30
MAX_ERROR_BYTES = 1 << 20
MAX_HEADER_BYTES = 64 << 10
CONNECT_LIMIT_S = 10.0
KEPT_S = 30.0
"""The seconds for which an idle connection is kept. Servers and their proxies keep it for longer."""


class RequestInFlight:
    """A request under way. `connected` is set at the moment from which a byte of it may leave."""

    def __init__(self, content: Chunks | None) -> None:
        self.connected = False
        self.broken: OSError | None = None
        """The error of reading the file that is being sent."""
        self._content = content

    async def pieces(self) -> Chunks:
        """Return the body's pieces, remembering an error of the file's own."""
        assert self._content is not None
        try:
            async for piece in self._content:
                yield piece
        except OSError as error:
            self.broken = error
            raise


class HttpTransport:
    """Sends real HTTP. It is made on the loop that uses it."""

    def __init__(self, network: Network | None = None) -> None:
        self._network = network or Network.of()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                ssl=self._network.ssl_context(),
                keepalive_timeout=KEPT_S,
                resolver=aiohttp.ThreadedResolver(),
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding", "Content-Type"),
            # a small compressed answer could unpack to any size, so compression is not asked for, and nothing is unpacked
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            trace_configs=[connection_trace()],
        )

    async def fetch(self, sending: HttpRequest) -> ApiResponse:
        """See `Transport.fetch`."""
        going = RequestInFlight(sending.content)
        try:
            async with await self._send(sending, going) as response:
                return await whole(sending, response, MAX_ANSWER_BYTES)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failure(sending, going, error) from error

    async def open(self, sending: HttpRequest) -> tuple[ApiResponse, Chunks]:
        """See `Transport.open`."""
        going = RequestInFlight(None)
        try:
            response = await self._send(sending, going)
            if not 200 <= response.status < 300:
                async with response:
                    return await whole(sending, response, MAX_ERROR_BYTES), nothing()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failure(sending, going, error) from error
        return ApiResponse(response.status, lower(response)), pieces(sending, response)

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._session.close()

    def _failure(self, sending: HttpRequest, going: RequestInFlight, error: Exception) -> CallError | OSError:
        """Return the error of a request that has no response. It is `CallUnsent` if no byte of the request can have left."""
        if going.broken is not None:
            return going.broken
        text = f"{sending.request.title} at {self._network.way_to(sending.url)}: {reason(error)}"
        return CallUnclear(text) if going.connected else CallUnsent(text)

    async def _send(self, sending: HttpRequest, going: RequestInFlight) -> aiohttp.ClientResponse:
        """Send, and return the response as soon as its headers are there and are found fit."""
        request, headers = sending.request, dict(sending.headers)
        if sending.content is not None and request.length is not None:
            headers["Content-Length"] = str(request.length)
        response = await self._session.request(
            request.method,
            URL(sending.url, encoded=True),
            headers=headers,
            data=request.body if sending.content is None else going.pieces(),
            allow_redirects=False,
            proxy=self._network.proxy_for(sending.url),
            trace_request_ctx=going,
        )
        problem = unfit(response)
        if problem:
            response.close()
            raise CallUnclear(f"{request.title}: {problem}", status=response.status)
        return response


def connection_trace() -> aiohttp.TraceConfig:
    """Return a trace that tells a request when it has a connection, because from then on a byte of it may leave."""

    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.connected = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    return trace


def unfit(response: aiohttp.ClientResponse) -> str:
    """Return the fault of a response's headers; "" if there is none."""
    size = sum(len(name) + len(value) + 4 for name, value in response.raw_headers)
    if size > MAX_HEADER_BYTES:
        return f"{response.status} with {size} bytes of headers, of which {MAX_HEADER_BYTES} are taken"
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity") and 200 <= response.status < 300:
        return f"{response.status} in the encoding {coding[:40]!r}, which was not asked for"
    return ""


async def whole(sending: HttpRequest, response: aiohttp.ClientResponse, limit: int) -> ApiResponse:
    """Return the response with its whole body. Raises CallUnclear for a body over the limit; a refusal is cut there instead."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            response.close()
            if response.status >= 300:
                break
            raise CallUnclear(
                f"{sending.request.title}: the answer has more than {limit} bytes", status=response.status
            )
    return ApiResponse(response.status, lower(response), bytes(body[:limit]))


async def pieces(sending: HttpRequest, response: aiohttp.ClientResponse) -> Chunks:
    """Yield the body as it is read, within the request's time limit. To stop early closes the connection."""
    loop = asyncio.get_running_loop()
    until, size = loop.time() + sending.request.limit_s, 0
    chunks = response.content.iter_any()
    try:
        while True:
            async with asyncio.timeout_at(until):
                piece = await anext(chunks, None)
            if piece is None:
                return
            size += len(piece)
            if size > MAX_FILE_BYTES:
                raise CallUnclear(f"{sending.request.title}: the file has more than {MAX_FILE_BYTES} bytes")
            yield piece
    except TimeoutError as error:
        raise CallUnclear(f"{sending.request.title}: not complete within {sending.request.limit_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise CallUnclear(f"{sending.request.title}: {reason(error)}") from error
    finally:
        response.close()


async def nothing() -> AsyncIterator[bytes]:
    """Yield no piece."""
    for piece in list[bytes]():
        yield piece


def reason(error: Exception) -> str:
    """Return the cause of an error without the address. Errors of TLS and of the resolver have texts of their own."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"[:200]  # because its own text has the proxy's address with the password
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, ConnectionError) and inner.errno:
        text = os.strerror(inner.errno)  # because asyncio puts the address into the error's text
    else:
        text = getattr(inner, "strerror", None) or str(inner) or type(error).__name__
    return "".join(c if c.isprintable() else " " for c in str(text)[:200])


def lower(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    """Return a response's headers by lower-case name."""
    return {name.lower(): value for name, value in response.headers.items()}
