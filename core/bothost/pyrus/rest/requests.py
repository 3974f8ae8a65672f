"""Describe calls to Pyrus's REST API as values: requests before they are sent, responses after they came.

Nothing here sends anything. A request's path is relative to the base URL (`base_urls.py`); a response that is not 2xx becomes
the `CallError` that says whether asking again is safe, useless, or needs a look first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import msgspec

from bothost.errors import CallError, CallRefused, CallUnclear, RateLimited, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping

CALL_LIMIT_S = 30.0
LIST_LIMIT_S = 120.0
FILE_LIMIT_S = 1200.0
DEFAULT_RETRY_S = 60.0
LONGEST_RETRY_S = 3600.0
LONGEST_QUERY = 4000
FINAL_401 = frozenset({"account_blocked", "invalid_credentials", "invalid_application_id"})
Method = Literal["GET", "POST", "PUT", "DELETE"]
PATH = re.compile(r"(?!.*(^|/)\.\.?(/|$))[A-Za-z0-9._~!$&'()*+,;=:%-]+(/[A-Za-z0-9._~!$&'()*+,;=:%-]*)*")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request to the API. `stream`: "up" is sent in pieces that come beside it, "down" is received in pieces."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    reads: bool = False
    """True if it changes nothing. Then asking again is safe, even if the end of the first call is unknown."""
    stream: Literal["", "up", "down"] = ""
    content_type: str = "application/json"
    length: int | None = None
    """The number of bytes of a streamed body, if it is known beforehand."""
    limit_s: float = CALL_LIMIT_S
    json: bool = True
    """True if the answer has to be JSON."""
    keep_s: float = 0.0
    """The seconds for which an answer in memory may be used instead of a call."""

    @property
    def target(self) -> str:
        """Return path and query behind the base URL."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def title(self) -> str:
        """Return the name that errors and logs use: method and path, without the query, which may hold people's data."""
        return f"{self.method} {self.path}" if self.path else "log in"

    @property
    def comments_on(self) -> int:
        """Return the task on which this request writes a comment; 0 if it writes none."""
        found = re.fullmatch(r"tasks/(\d{1,18})/comments/?", self.path) if self.method == "POST" else None
        return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response; header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """The X-RateLimit headers: requests per window, how many are left, seconds to the next window."""

    limit: int
    remaining: int
    reset_s: float


class ApiFailure(msgspec.Struct):
    """Pyrus's error envelope, as far as it can be relied on."""

    error: Any = ""
    error_code: Any = ""


def auth(login: str, security_key: str) -> ApiRequest:
    """Log in; its path is empty because the whole address comes from `base_urls.auth_url`."""
    return ApiRequest("POST", "", body=msgspec.json.encode({"login": login, "security_key": security_key}), reads=True)


def task(task_id: int) -> ApiRequest:
    """Ask for a task with all its comments."""
    return ApiRequest("GET", f"tasks/{whole(task_id)}", reads=True)


def comment(task_id: int, body: bytes) -> ApiRequest:
    """Write a comment. Not idempotent, and there is no idempotency key (protocol 5.2)."""
    return ApiRequest("POST", f"tasks/{whole(task_id)}/comments", body=body)


def create(body: bytes) -> ApiRequest:
    """Make a task."""
    return ApiRequest("POST", "tasks", body=body)


def register(form_id: int, filters: Mapping[str, object]) -> ApiRequest:
    """Ask for tasks of a form; long filters (many task ids) travel in a body, which Pyrus takes as well as a query."""
    path = f"forms/{whole(form_id)}/register"
    query = as_query(filters)
    if len(urlencode(query)) <= LONGEST_QUERY:
        return ApiRequest("GET", path, query, reads=True, limit_s=LIST_LIMIT_S)
    body = msgspec.json.encode({key: as_json(value) for key, value in filters.items() if value is not None})
    return ApiRequest("POST", path, body=body, reads=True, limit_s=LIST_LIMIT_S)


def form(form_id: int, *, keep_s: float = 0.0) -> ApiRequest:
    """Ask for a form's definition: its steps and fields."""
    return ApiRequest("GET", f"forms/{whole(form_id)}", reads=True, keep_s=keep_s)


def catalog(catalog_id: int, *, include_deleted: bool = False, keep_s: float = 0.0) -> ApiRequest:
    """Ask for a catalog's headers and items."""
    query = (("include_deleted", "y"),) if include_deleted else ()
    path = f"catalogs/{whole(catalog_id)}"
    return ApiRequest("GET", path, query, reads=True, limit_s=LIST_LIMIT_S, keep_s=keep_s)


def catalog_update(catalog_id: int, body: bytes, *, whole_catalog: bool) -> ApiRequest:
    """Change items of a catalog, or replace all of them. The same request again changes nothing more."""
    path = f"catalogs/{whole(catalog_id)}" + ("" if whole_catalog else "/diff")
    return ApiRequest("POST", path, body=body, limit_s=LIST_LIMIT_S)


def listed(path: str, **query: object) -> ApiRequest:
    """Ask for a list of Pyrus's: members, roles, lists, the inbox, the tasks of a list."""
    return ApiRequest("GET", path, as_query(query), reads=True, limit_s=LIST_LIMIT_S)


def contacts() -> ApiRequest:
    """Ask for organizations with their persons and roles."""
    return ApiRequest("GET", "contacts", reads=True, limit_s=LIST_LIMIT_S)


def profile() -> ApiRequest:
    """Ask for the caller's own profile."""
    return ApiRequest("GET", "profile", reads=True)


def upload(content_type: str, length: int | None) -> ApiRequest:
    """Send one file as multipart (protocol 5.3)."""
    return ApiRequest(
        "POST", "files/upload", stream="up", content_type=content_type, length=length, limit_s=FILE_LIMIT_S
    )


def download(file_id: int) -> ApiRequest:
    """Receive one file, by the documented address on the same base URL as every other call."""
    return ApiRequest("GET", f"files/download/{whole(file_id)}", reads=True, stream="down", limit_s=FILE_LIMIT_S)


def plain(method: Method, path: str, query: Mapping[str, object], body: bytes | None = None) -> ApiRequest:
    """Make any other call. Raises ValueError for a path that would leave the base URL."""
    relative = path.removeprefix("/") if isinstance(path, str) else ""
    if not PATH.fullmatch(relative) or ":" in relative.split("/", 1)[0]:
        raise ValueError(
            f"{path!r} is not a path below Pyrus's base URL; it looks like 'tasks/5' (filters go into keywords)"
        )
    return ApiRequest(method, relative, as_query(query), body, reads=method == "GET", limit_s=LIST_LIMIT_S)


def raw(path: str, query: Mapping[str, object], *, streamed: bool = False) -> ApiRequest:
    """Return a GET whose answer is no JSON: a print form, a register as CSV, a task's history. Raises ValueError as `plain`."""
    found = replace(plain("GET", path, query), json=False)
    return replace(found, stream="down", limit_s=FILE_LIMIT_S) if streamed else found


def multipart(name: str, boundary: str) -> tuple[str, bytes, bytes]:
    """Return the content type, and the bytes before and after a file's own."""
    safe = (
        name.replace("\\", "/").rsplit("/", 1)[-1].replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        or "file"
    )
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{safe}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return f"multipart/form-data; boundary={boundary}", head.encode(), f"\r\n--{boundary}--\r\n".encode()


def whole(value: int) -> int:
    """Return the id itself, if it is one. Raises TypeError for anything else, so that no path is built of surprises."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"an id is a whole number, not {value!r}")
    return value


def as_query(values: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return values as Pyrus wants them in a query: y/n, UTC in whole seconds, lists with commas. None is left out."""
    return tuple((key, as_text(value)) for key, value in values.items() if value is not None)


def as_text(value: object) -> str:
    """Return one value of a query."""
    if isinstance(value, bool):
        return "y" if value else "n"
    if isinstance(value, list | tuple | set | frozenset | range):
        return ",".join(as_text(item) for item in value)
    return str(as_json(value))


def as_json(value: object) -> object:
    """Return a value of a filter for a JSON body. Raises ValueError for a datetime without a zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone, so Pyrus's UTC cannot be told from it")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple | set | frozenset | range):
        return list(value)
    return value


def check(request: ApiRequest, response: ApiResponse, *secrets: str, now: datetime | None = None) -> None:
    """Accept a 2xx with JSON or nothing in it (or a stream), else raise the right CallError. `secrets` never appear in its
    text; `now` is the time against which a Retry-After date counts if the response has no Date of its own."""
    status = response.status
    if 200 <= status < 300:
        if request.json and request.stream != "down" and response.body.lstrip()[:1] not in (b"{", b"[", b""):
            raise CallUnclear(
                f"{request.title}: {status} without JSON: something between here and Pyrus answered", status=status
            )
        return
    text, code = explain(response, secrets)
    raise failure(f"{request.title}: {status} {text}".rstrip(), code, response, now)


def failure(text: str, code: str, response: ApiResponse, now: datetime | None = None) -> CallError:
    """Return the CallError for a response's status and Pyrus's error code (protocol 5.5)."""
    status = response.status
    if status == 401:
        return Unauthorized(text, status=status, code=code)
    if status == 429:
        return RateLimited(text, retry_after_s=retry_after(response.headers, now), status=status, code=code)
    if (status >= 500 or status == 408) and code != "conflict":
        return CallUnclear(text, status=status, code=code)
    return CallRefused(text, status=status, code=code)


def explain(response: ApiResponse, secrets: tuple[str, ...] = ()) -> tuple[str, str]:
    """Return Pyrus's error text and code; a page in HTML gives nothing worth repeating."""
    try:
        envelope = msgspec.json.decode(response.body, type=ApiFailure)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", ""
    code = envelope.error_code if isinstance(envelope.error_code, str) else ""
    text = f"{code}: {envelope.error}" if isinstance(envelope.error, str) and envelope.error else code
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return "".join(c if c.isprintable() else " " for c in text[:300]), code[:80]


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Return seconds until the next request may go: X-RateLimit-Reset, else Retry-After (seconds or a date), else a
    minute. A date counts from the response's own Date, whose clock it goes by, else from `now`."""
    later = http_date(headers.get("retry-after"))
    since = http_date(headers.get("date")) or now
    until_s = (later - since).total_seconds() if later and since else None
    for value in (number(headers.get("x-ratelimit-reset")), number(headers.get("retry-after")), until_s):
        if value is not None and value <= LONGEST_RETRY_S:
            return max(float(value), 1.0)
    return DEFAULT_RETRY_S


def http_date(text: str | None) -> datetime | None:
    """Read a date of a header in any of HTTP's three forms; None for anything else."""
    from email.utils import parsedate_to_datetime

    try:
        found = parsedate_to_datetime(text or "")
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def rate(headers: Mapping[str, str]) -> RateHeaders | None:
    """Return the rate limit's state, if all three headers are there and make sense."""
    limit, remaining, reset = (number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining", "reset"))
    if limit is None or remaining is None or reset is None or limit < 1 or reset > LONGEST_RETRY_S:
        return None
    return RateHeaders(limit, remaining, float(reset))


def number(text: str | None) -> int | None:
    """Return a whole number of a header, not negative; None for anything else."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,15}", text.strip()) else None
