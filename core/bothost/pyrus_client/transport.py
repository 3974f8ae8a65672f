"""Define the request that a session hands to a transport, and the transport's Protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse

Chunks = AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request with its whole address and headers. Its repr shows no header because one of them is the token."""

    request: ApiRequest
    url: str
    headers: Mapping[str, str]
    content: Chunks | None = None

    def __repr__(self) -> str:
        return f"<HttpRequest {self.request.title}>"


class Transport(Protocol):
    """Sends a request once. It is an `HttpTransport`, or the fake Pyrus in process.

    Both raise `CallUnsent` if the request certainly did not reach Pyrus, and `CallUnclear` if it may have. They return a
    response of any status. They follow no redirect, because it would carry the token elsewhere.
    """

    async def fetch(self, sending: HttpRequest) -> ApiResponse:
        """Send, and return the whole response."""

    async def open(self, sending: HttpRequest) -> tuple[ApiResponse, Chunks]:
        """Send, and return as soon as the headers are there. A 2xx body comes in pieces; any other is in the response."""

    async def close(self) -> None:
        """Close all connections."""
