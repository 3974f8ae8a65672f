"""Define `Request`, which a hook gets, and `Response`, which it returns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload
from urllib.parse import parse_qsl

import msgspec

from bothost.errors import HookError, RequestRefused
from bothost.plugins.event import RunContext, once_of
from bothost.plugins.multipart import FormFile, ParsedForm, form_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.plugins.store import Once

T = TypeVar("T")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
OWN_HEADERS = frozenset({"content-length", "connection", "transfer-encoding", "keep-alive", "upgrade", "trailer"})
"""The headers that the host writes itself. A handler that wrote them too could split the answer."""
BODILESS = (204, 304)
"""Statuses whose responses end with their head: what stood behind it would be read as the next response."""


class RawRequest(msgspec.Struct, frozen=True):
    """A request to a hook as it came, before anything is parsed; `received` in epoch seconds."""

    hook: str
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    peer: str
    received: float


class ResponseMessage(msgspec.Struct, frozen=True):
    """A hook's answer, ready to be written."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Headers(Mapping[str, str]):
    """Headers by name, in any case; of several values of one name the first."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._first: dict[str, tuple[str, str]] = {}
        for name, value in pairs:
            self._first.setdefault(name.lower(), (name, value))

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._first.values())

    def __len__(self) -> int:
        return len(self._first)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._first


class Request:
    """A request to a hook that its guard has let in. The body is parsed when it is first asked for."""

    def __init__(self, raw: RawRequest, context: RunContext) -> None:
        self._raw = raw
        self._context = context

    @property
    def id(self) -> str:
        """Return the name of this request; of an accepted one the same in every rerun."""
        return self._context.id

    @property
    def method(self) -> str:
        """GET, POST …"""
        return self._raw.method

    @property
    def path(self) -> str:
        """Return the path, decoded."""
        return self._raw.path

    @property
    def body(self) -> bytes:
        """Return the raw bytes."""
        return self._raw.body

    @property
    def peer(self) -> str:
        """Return the sender's address, as far as trusted proxies tell."""
        return self._raw.peer

    @property
    def received(self) -> datetime:
        """Return the time at which it came: an aware datetime."""
        return datetime.fromtimestamp(self._raw.received, UTC)

    @property
    def deadline(self) -> datetime:
        """Return the moment at which the bot's `timeout` ends this run: an aware datetime."""
        return self._context.deadline

    @property
    def rerun(self) -> str:
        """Return the reason why an accepted request runs again; "" in its first run."""
        return self._context.rerun

    @cached_property
    def headers(self) -> Headers:
        """Return the headers, by name in any case."""
        return Headers(self._raw.headers)

    @cached_property
    def query_all(self) -> Mapping[str, tuple[str, ...]]:
        """Return all values of each parameter of the query."""
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self._raw.query, keep_blank_values=True):
            found.setdefault(name, []).append(value)
        return {name: tuple(values) for name, values in found.items()}

    @cached_property
    def query(self) -> Mapping[str, str]:
        """Return the first value of each parameter of the query."""
        return {name: values[0] for name, values in self.query_all.items()}

    @cached_property
    def json(self) -> Any:
        """Return the body as JSON. If it is no JSON, the caller gets 400."""
        return json_of(self._raw.body)

    @property
    def form(self) -> Mapping[str, str]:
        """Return the first value of each field of a form, urlencoded or multipart. If the body is no form, the caller gets 400."""
        return _firsts(self._form.fields)

    @property
    def files(self) -> Mapping[str, FormFile]:
        """Return the first file of each name of a multipart form: `name`, `content_type`, `content`."""
        return _firsts(self._form.files)

    @cached_property
    def _form(self) -> ParsedForm:
        return form_of(self.headers.get("Content-Type", ""), self._raw.body)

    @overload
    def once(self, name: str, function: Callable[[], Awaitable[T]]) -> Once[T]: ...
    @overload
    def once(self, name: str, function: Callable[[], T]) -> Once[T]: ...
    def once(self, name: str, function: Callable[[], T | Awaitable[T]]) -> Once[T]:
        """See `Event.once`."""
        return once_of(self._context, name, function)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"


class Response:
    """A hook's answer: status, headers and a body of text or bytes."""

    def __init__(
        self,
        body: str | bytes = b"",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str = "",
    ) -> None:
        self.body = body
        self.status = status
        self.headers = dict(headers or {})
        self.content_type = content_type

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        """Return a value as JSON."""
        return cls(msgspec.json.encode(value), status, content_type="application/json")

    @classmethod
    def html(cls, text: str, status: int = 200) -> Response:
        """Return a page."""
        return cls(text, status, content_type="text/html; charset=utf-8")

    @classmethod
    def redirect(cls, url: str, status: int = 303) -> Response:
        """Send the caller to another address, with GET."""
        return cls(b"", status, {"Location": url})

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def json_of(body: bytes) -> Any:
    """Return a body as JSON. Raises RequestRefused."""
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RequestRefused("the body is not JSON") from None


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def value_at(value: Any, pointer: str) -> Any:
    """Follow a JSON pointer such as `/payment/id` from a body's value.

    Raises RequestRefused if it leads nowhere, and ValueError for a text that is no pointer.
    """
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise ValueError(f"{pointer!r:.80} is no JSON pointer: write one such as /payment/id")
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[_index(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise RequestRefused(f"the body has nothing at {pointer}") from None
    return value


def _index(key: str) -> int:
    if not (key.isascii() and key.isdigit()):  # "-1" would be the last one
        raise ValueError(key)
    return int(key)


def message_of(answer: Any) -> ResponseMessage:
    """Make the response of what a hook returned. Raises HookError, which says what is wrong with it."""
    response = _response_of(answer)
    if isinstance(response.status, bool) or not isinstance(response.status, int) or not 200 <= response.status <= 599:
        raise HookError(f"a response's status is a number from 200 to 599, not {response.status!r:.40}")
    body = _bytes_of(response.body)
    if body and response.status in BODILESS:
        raise HookError(f"a response of status {response.status} has no body")
    kind = response.content_type or (
        "text/plain; charset=utf-8" if isinstance(response.body, str) else "application/octet-stream"
    )
    headers = [(str(name), str(value)) for name, value in response.headers.items()]
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", kind))
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in OWN_HEADERS:
            raise HookError(f"the header {name!r:.80} with {value!r:.80} cannot be written")
    return ResponseMessage(response.status, headers, body)


def _bytes_of(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if not isinstance(body, str):
        raise HookError(f"a response's body is text or bytes, not a {type(body).__name__}")
    try:
        return body.encode()
    except UnicodeEncodeError as error:
        raise HookError(f"a response's body has a character that is none at {error.start}") from None


def _response_of(answer: Any) -> Response:
    if answer is None:
        return Response(status=204)
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, str | bytes):
        return Response(answer)
    if isinstance(answer, dict | list):
        try:
            return Response.json(answer)
        except (TypeError, ValueError) as error:
            raise HookError(f"what the hook returned cannot be JSON: {error}") from None
    raise HookError(
        f"a hook returns a Response, a text, bytes, a dict or None, not a {type(answer).__name__}; "
        "a comment is written by self.pyrus.comment"
    )


def _firsts(pairs: tuple[tuple[str, T], ...]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found
