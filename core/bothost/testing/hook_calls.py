"""Make a request to a hook, and read its answer, in a test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bothost.plugins.guards import credentials
from bothost.testing import checks

if TYPE_CHECKING:
    from bothost.plugins.guards import GuardRule
    from bothost.testing.memory_http import WrittenResponse

BOUNDARY = "bothost-test-boundary"


@dataclass(frozen=True, slots=True)
class HookCallContent:
    """The content of a request: one of `json`, `form` with `files`, and `body`, and besides its query and headers."""

    json: Any = None
    form: Mapping[str, str] | None = None
    files: Mapping[str, tuple[str, bytes]] | None = None
    body: bytes | None = None
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        kinds = [self.json is not None, self.form is not None or self.files is not None, self.body is not None]
        if sum(kinds) > 1:
            raise TypeError("a request has one content: json=, or form= and files=, or body=")
        if self.body is not None and not isinstance(self.body, bytes):
            checks.wrong("body", self.body, "bytes")
        for what in ("form", "query", "headers"):
            given = getattr(self, what)
            if given is not None and not _is_texts(given):
                checks.wrong(what, given, 'a dict of texts such as {"key": "value"}')
        if self.files is not None and not _is_files(self.files):
            checks.wrong("files", self.files, 'a dict such as {"file": ("name.pdf", b"…")}')

    def encoded(self) -> tuple[bytes, str]:
        """Return the body and its Content-Type."""
        if self.body is not None:
            return self.body, "application/octet-stream"
        if self.files is not None:
            return _multipart(self.form or {}, self.files), f"multipart/form-data; boundary={BOUNDARY}"
        if self.form is not None:
            return urlencode(self.form).encode(), "application/x-www-form-urlencoded"
        return (b"", "") if self.json is None else (json.dumps(self.json, allow_nan=False).encode(), "application/json")

    def request(self, guard: GuardRule | None, now: float) -> tuple[str, dict[str, str], bytes]:
        """Return the query, the headers and the body, signed by the guard if one is given."""
        body, kind = self.encoded()
        headers, query = credentials(guard, body, now) if guard is not None else ({}, {})
        headers |= {"Content-Type": kind} if kind else {}
        return urlencode({**(self.query or {}), **query}), headers | dict(self.headers or {}), body


class HookAnswer:
    """The response to a request to a hook."""

    def __init__(self, written: WrittenResponse) -> None:
        self.status = written.status
        self.headers = written.headers
        self.body = written.body
        self.outcome = written.word

    @property
    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode()

    def __repr__(self) -> str:
        return f"<HookAnswer {self.status} {self.body[:200]!r}>"


def _is_texts(given: object) -> bool:
    return isinstance(given, Mapping) and all(
        isinstance(one, str) and not {"\r", "\n"} & set(one) for pair in given.items() for one in pair
    )


def _is_files(given: object) -> bool:
    return isinstance(given, Mapping) and all(
        isinstance(key, str) and isinstance(file, tuple) and [type(part) for part in file] == [str, bytes]
        for key, file in given.items()
    )


def _multipart(form: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> bytes:
    parts = []
    for name, value in form.items():
        parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, (filename, content) in files.items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
