"""The base of the page's handlers: check host name and right, and set what every response carries."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tornado.httputil import HTTPServerRequest, url_concat
from tornado.web import HTTPError, RequestHandler, stream_request_body

from bothost.errors import JournalAway, JournalError
from bothost.journal.rows import storable
from bothost.language import Language, choose
from bothost.operator.bulk import BulkJobs
from bothost.operator.page import formatting
from bothost.text import visible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bothost.operator.page.assets import StaticFiles
    from bothost.operator.page.host_names import AcceptedHostNames
    from bothost.operator.page.refusal_tail import RefusalTail
    from bothost.operator.page.sessions import AccessRight, Sessions
    from bothost.operator.service import Operations
    from bothost.telemetry.metrics.prometheus import Exposition

log = logging.getLogger("bothost.page")

_CSP = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


MOST_NAME = 100
"""How much of an operator's name is kept, in characters."""
_OWN_ADDRESS = re.compile(rb'\b(href|action|src|data-rows)="/(?!/)')


@dataclass(frozen=True, slots=True)
class PageContext:
    """The parts that every handler works with."""

    operations: Operations
    sessions: Sessions
    names: AcceptedHostNames
    files: StaticFiles
    exposition: Exposition
    tail: RefusalTail
    cookie: str
    """The session cookie's name. It contains the port, because browsers share cookies between the ports of a host."""
    scrub: Callable[[str], str]
    secure: bool = False
    """True if the browser speaks TLS with us or with the proxy before us."""
    metrics_open: bool = False
    version: str = ""
    public_path: str = ""
    """The path under which a proxy shows the page, such as /bothost; "" for the root."""
    bulk: BulkJobs = field(default_factory=BulkJobs)


@stream_request_body
class PageHandler(RequestHandler):
    """Checks a request's head before its body is read, because Tornado alone would parse any form first."""

    open_to_all = False
    """True if the path is served without a right."""
    by_script = False
    """True if programs ask it. They get 401 instead of a redirect to the login page."""
    for_readers = False
    """True if the read-only token may make its change."""
    most_bytes = 64 << 10
    """The largest form it takes."""
    most_fields = 50
    """The most fields of its form."""

    def initialize(self, page_context: PageContext) -> None:
        """See `PageContext`."""
        self.page_context = page_context
        self.operations = page_context.operations
        self.right: AccessRight | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._form: dict[str, list[str]] = {}

    def set_default_headers(self) -> None:
        """Set the headers of HEADERS and remove `Server`."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        """Check the host name, then the right, then for a change that this page itself sent it."""
        request = self.request
        if not self.page_context.names.has(request.headers.get("Host", ""), _local_address(request)):
            raise HTTPError(421)
        self.right = await self._find_right()
        if self.right is None and not self.open_to_all:
            self._ask_to_log_in()
            return
        if request.method not in ("GET", "HEAD"):
            self._check_change()

    def data_received(self, chunk: bytes) -> None:
        """Collect a form of bounded size. A larger one is dropped here and refused later, because an error raised here gets no answer."""
        self._size += len(chunk)
        if self._size <= self.most_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Decode a part of the address. What no journal holds is replaced as in what it stores."""
        return storable(super().decode_argument(value, name))

    async def post(self, *args: str) -> None:
        """Make a change if its hidden field is this session's and the right allows it."""
        right = self.right
        if right is None or (
            right.session and not self.page_context.sessions.is_field(right.session, self.form("_xsrf"))
        ):
            raise HTTPError(403)
        if not right.changes and not self.for_readers:
            raise HTTPError(403)
        await self.change(*args)

    async def change(self, *_args: str) -> None:
        """Carry out the form. Subclasses that have one override it."""
        raise HTTPError(405)

    def form(self, name: str) -> str:
        """Return a field of the form; "" if it is missing. Every `post` calls it first, because it refuses a form that is too large."""
        if self._size > self.most_bytes:
            raise HTTPError(413)
        if self._chunks:
            text = b"".join(self._chunks).decode("utf-8", "replace")
            self._chunks = []
            try:
                fields = parse_qs(text, keep_blank_values=True, max_num_fields=self.most_fields)
            except ValueError:
                raise HTTPError(400) from None
            self._form = {field: [storable(value) for value in values] for field, values in fields.items()}
        return self._form.get(name, [""])[0]

    def forms(self, name: str) -> list[str]:
        """Return all values of a field that a form may hold several times."""
        self.form(name)
        return self._form.get(name, [])

    def query(self, name: str) -> str:
        """Return a parameter of the URL; "" if it is missing."""
        return self.get_query_argument(name, "")

    @property
    def language(self) -> Language:
        """Return the language that the browser asks for."""
        return choose(self.request.headers.get("Accept-Language", ""))

    def show(self, template: str, **values: Any) -> None:
        """Render a page."""
        self.set_header("Vary", "Accept-Language")
        language = self.language
        reading = self.operations.reading
        names: dict[str, Any] = {
            "t": language.text,
            "n": language.count,
            "said": language.message,
            "lang": language.code,
            "shown": formatting,
            "right": self.right,
            "xsrf": self.xsrf_field(),
            "here": self.request.path,
            "asset": self.page_context.files.url,
            "done": self.query("done"),
            "scrub": self.page_context.scrub,
            "one_bot": False,
            "ticks": False,
            "shown_language": language,
            "public_url": reading.host.public_url if reading.host is not None else "",
            "now": self.operations.clock.now().timestamp(),
            "journal_now": self.operations.now(),
        }
        self.say(self._under_path(self.render_string(template, **(names | values))))

    def _under_path(self, page: bytes) -> bytes:
        """Put `public_path` before the page's own addresses, which all begin with "/" in the templates."""
        path = self.page_context.public_path
        return _OWN_ADDRESS.sub(rb'\1="' + path.encode() + rb"/", page) if path else page

    def redirect(self, url: str, permanent: bool = False, status: int | None = None) -> None:
        """Redirect to an address of this page, under `public_path`."""
        super().redirect(self.page_context.public_path + url, permanent, status)

    def say(self, content: str | bytes | dict[str, Any]) -> None:
        """Finish with this content."""
        _ = self.finish(content)  # the future says only whether the client read it

    def xsrf_field(self) -> str:
        """Return the hidden field of this session's forms."""
        return self.page_context.sessions.field(self.right.session) if self.right and self.right.session else ""

    def done(self, where: str, what: str) -> None:
        """Redirect to a page that says what was done."""
        self.redirect(url_concat(where, {"done": what}), status=303)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a page that says what is wrong, without a traceback. Programs get a line."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        reason = str(error) if isinstance(error, JournalError) else ""
        if self.by_script or (self.right is None and status_code != 421 and not self.open_to_all):
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.say(f"{status_code} {responses.get(status_code, '')}\n")
            return
        self.show("error.html", status=status_code, reason=reason, back=self._back())

    def _back(self) -> str:
        """Return the page that the request came from: the one above the address of a form, else the list of bots."""
        above = self.request.path.rpartition("/")[0]
        return above if self.request.method == "POST" and above.count("/") >= 2 else "/"

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log faults of bothost with their traceback. Refusals are not logged, because anybody can cause them."""
        if not isinstance(value, (HTTPError, JournalError)):
            log.error("a fault of bothost in the page %s", self.request.path, exc_info=(typ, value, tb))

    def compute_etag(self) -> None:
        """Return none, because caches keep no page."""

    def check_xsrf_cookie(self) -> None:
        """Skip Tornado's check, which accepts a cookie and a field that an attacker chose. Ours is in `prepare` and `post`."""

    async def act(self, step: Callable[[], Awaitable[str]], what: str) -> None:
        """Carry out a change and redirect to the page that it returns. If the journal refuses it, say why."""
        try:
            where = await step()
        except JournalAway as error:
            self.set_status(503)
            self.show("error.html", status=503, reason=str(error), back=self._back())
            return
        except JournalError as error:
            self.set_status(409)
            self.show("error.html", status=409, reason=str(error), back=self._back())
            return
        log.warning(
            "%s, by %s", what, self.who, extra={"path": self.request.path, "peer": self.request.remote_ip or ""}
        )
        self.done(where, what)

    @property
    def who(self) -> str:
        """Return who asks, for log and history: by which token and from where, or whom a command names that asks for a person."""
        right, peer = self.right, self.request.remote_ip or "?"
        token = "operator_token" if right is None or right.changes else "operator_read_token"
        if right is not None and right.session:
            return f"the page ({token}) from {peer}"
        named = unquote(self.request.headers.get("X-Bothost-Operator", ""))[:MOST_NAME]
        return visible(named) or f"a program ({token}) from {peer}"

    async def _find_right(self) -> AccessRight | None:
        sessions = self.page_context.sessions
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            right = sessions.bearer(token.strip())
            if right is None:
                await sessions.fail()
            return right
        return sessions.find(self.get_cookie(self.page_context.cookie) or "")

    def _ask_to_log_in(self) -> None:
        if self.request.method in ("GET", "HEAD") and not self.by_script:
            target = self.request.uri or "/"
            self.redirect("/login" if target == "/" else f"/login?next={quote(target, safe='/')}", status=302)
            return
        self.set_header("WWW-Authenticate", 'Bearer realm="bothost"')
        self.set_status(401)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.say("401 log in at /login, or send the operator's token as Authorization: Bearer\n")

    def _check_change(self) -> None:
        """Refuse a change that comes from another site, unless it has a Bearer token."""
        if self.right is not None and not self.right.session:
            return
        site = self.request.headers.get("Sec-Fetch-Site")
        origin = self.request.headers.get("Origin")
        if site is not None:
            own = site in ("same-origin", "none")
        elif origin is not None:
            own = urlsplit(origin).netloc.lower() == self.request.headers.get("Host", "").lower()
        else:
            own = self.right is None  # a program that logs in sends neither header
        if not own:
            raise HTTPError(403)


def _local_address(request: HTTPServerRequest) -> str:
    """Return the local address of the connection."""
    stream = getattr(request.connection, "stream", None)
    socket = getattr(stream, "socket", None)
    try:
        name = socket.getsockname() if socket is not None else ""
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


class UnknownPath(PageHandler):
    """Answers every other path."""

    async def prepare(self) -> None:
        """Answer 404 to those with a right only; others are asked to log in."""
        await super().prepare()
        if not self._finished:
            raise HTTPError(404)
