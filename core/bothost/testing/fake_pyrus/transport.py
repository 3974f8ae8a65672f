"""Send requests to the fake Pyrus without sockets, under the test's own clock."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bothost.errors import CallUnclear, CallUnsent
from bothost.pyrus.rest.requests import ApiResponse
from bothost.testing.fake_pyrus.question import ApiQuestion, query_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bothost.pyrus_client.transport import HttpRequest
    from bothost.testing.fake_pyrus import FakePyrus, HandledRequest

BASE = re.compile(r"https?://[^/?#]+/(?:api/)?v4/([^?#]*)(?:\?(.*))?")


class FakeTransport:
    """A `Transport` that hands each request to a fake Pyrus."""

    def __init__(self, pyrus: FakePyrus) -> None:
        self._pyrus = pyrus

    async def fetch(self, sending: HttpRequest) -> ApiResponse:
        """See `Transport.fetch`."""
        handled = await self._handle(sending)
        body = b"".join(handled.file.pieces()) if handled.file is not None else handled.body
        return ApiResponse(handled.status, lower(handled), body)

    async def open(self, sending: HttpRequest) -> tuple[ApiResponse, AsyncIterator[bytes]]:
        """See `Transport.open`."""
        handled = await self._handle(sending)
        return ApiResponse(handled.status, lower(handled), handled.body), pieces(handled)

    async def close(self) -> None:
        """See `Transport.close`. Nothing is open."""

    async def _handle(self, sending: HttpRequest) -> HandledRequest:
        found = BASE.fullmatch(sending.url)
        if found is None:
            raise CallUnsent(f"{sending.request.title}: no such host")
        body = sending.request.body or b""
        if sending.content is not None:
            body = b"".join([piece async for piece in sending.content])
        token = sending.headers.get("Authorization", "").removeprefix("Bearer ") or None
        asked = ApiQuestion(sending.request.method, found[1], query_of(found[2] or ""), body, token)
        handled = await self._pyrus.handle(asked)
        if handled.ending == "refused":
            raise CallUnsent(f"{sending.request.title}: Connection refused")
        if handled.ending == "lost":
            raise CallUnclear(f"{sending.request.title}: Connection closed")
        return handled


async def pieces(handled: HandledRequest) -> AsyncIterator[bytes]:
    """Yield the body of a download."""
    if handled.file is not None:
        for piece in handled.file.pieces():
            yield piece


def lower(handled: HandledRequest) -> dict[str, str]:
    """Return headers as a response has them."""
    return {name.lower(): value for name, value in handled.headers.items()}
