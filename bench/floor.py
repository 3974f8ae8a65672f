"""The floor: a bare Tornado server that takes a POST and answers `{}`; it neither verifies nor decodes.

    python -m bench.floor

Prints its port when it listens.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

ANSWER = b"{}"


def answer(request: HTTPServerRequest) -> None:
    """Answer 200 `{}` to every request."""
    connection: HTTP1Connection = request.connection  # type: ignore[assignment]
    headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(ANSWER))})
    connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, ANSWER)
    connection.finish()


async def serve() -> None:
    """Serve until it is killed."""
    server = HTTPServer(answer)
    sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
