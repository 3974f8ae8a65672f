"""Make the bytes of responses, as Tornado's connection writes them."""

from __future__ import annotations

import re
from http.client import responses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine

_BREAKS = re.compile(r"[\x00\r\n]")


def head_bytes(line: ResponseStartLine, headers: HTTPHeaders) -> bytes:
    """Return a response's head. Raises ValueError for a line break in it."""
    lines = [f"HTTP/1.1 {line.code} {line.reason}", *(f"{name}: {value}" for name, value in headers.get_all())]
    for each in lines:
        if _BREAKS.search(each):
            raise ValueError(f"a line break in the header {each!r}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def is_chunked(asked: RequestStartLine, status: int, headers: HTTPHeaders) -> bool:
    """Return whether a response of unknown length goes out in chunks."""
    return (
        asked.version == "HTTP/1.1"
        and asked.method != "HEAD"
        and status >= 200
        and status not in (204, 304)
        and "Content-Length" not in headers
    )


def plain_answer(status: int, *, last: bool) -> bytes:
    """Return a whole response that says nothing but its status."""
    close = "Connection: close\r\n" if last else ""
    head = f"HTTP/1.1 {status} {responses[status]}\r\nContent-Type: application/json\r\n{close}"
    return f"{head}Content-Length: 2\r\n\r\n{{}}".encode()
