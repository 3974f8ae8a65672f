"""The one base of the page's handlers: who asks, by which name, with what right; and what every response carries."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from tornado.httputil import HTTPServerRequest, url_concat
from tornado.web import HTTPError, RequestHandler, stream_request_body

from bothost.errors import JournalAway, JournalError
from bothost.operator.page import formatting
from bothost.operator.page.translation import Language, choose

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


@dataclass(frozen=True, slots=True)
class PageContext:
    """What every handler works with."""

    operations: Operations
    sessions: Sessions
    names: AcceptedHostNames
    files: StaticFiles
    exposition: Exposition
    tail: RefusalTail
    cookie: str
    """The session cookie's name: cookies know no port, so it holds the port."""
    scrub: Callable[[str], str]
    secure: bool = False
    """The browser speaks TLS with us, or with the proxy before us."""
    metrics_open: bool = False
    version: str = ""


@stream_request_body
class PageHandler(RequestHandler):
    """Checks a request's head before a byte of its body is read. Tornado itself would parse any form before asking anybody."""

    open_to_all = False
    """Served without a right."""
    by_script = False
    """Asked by programs: no redirect to the login page, but 401."""
    for_readers = False
    """Its change is allowed with the read-only token."""
    most_bytes = 64 << 10
    """How large its form may be."""

    def initialize(self, page_context: PageContext) -> None:
        """See `PageContext`."""
        self.page_context = page_context
        self.operations = page_context.operations
        self.right: AccessRight | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._form: dict[str, list[str]] = {}

    def set_default_headers(self) -> None:
        """No `Server`, nothing kept by caches, nothing from elsewhere, no frame."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        """Host, then right, then, for a change, whether this page itself asked for it."""
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
        """Collect a form of bounded size; what is too large is dropped and refused afterwards, for here nobody would answer."""
        self._size += len(chunk)
        if self._size <= self.most_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    async def post(self, *args: str) -> None:
        """A change: its field must be this session's, and the right more than reading."""
        right = self.right
        if right is None or (
            right.session and not self.page_context.sessions.is_field(right.session, self.form("_xsrf"))
        ):
            raise HTTPError(403)
        if not right.changes and not self.for_readers:
            raise HTTPError(403)
        await self.change(*args)

    async def change(self, *_args: str) -> None:
        """What a form of this page asks for."""
        raise HTTPError(405)

    def form(self, name: str) -> str:
        """A field of the form that was sent; "" where it is missing. To be asked first of all by every `post`."""
        if self._size > self.most_bytes:
            raise HTTPError(413)
        if self._chunks:
            text = b"".join(self._chunks).decode("utf-8", "replace")
            self._chunks = []
            try:
                self._form = parse_qs(text, keep_blank_values=True, max_num_fields=50)
            except ValueError:
                raise HTTPError(400) from None
        return self._form.get(name, [""])[0]

    def query(self, name: str) -> str:
        """A parameter of the URL; "" where it is missing."""
        return self.get_query_argument(name, "")

    @property
    def language(self) -> Language:
        """The reader's, by their browser."""
        return choose(self.request.headers.get("Accept-Language", ""))

    def show(self, template: str, **values: Any) -> None:
        """Render a page."""
        self.set_header("Vary", "Accept-Language")
        language = self.language
        reading = self.operations.reading
        names: dict[str, Any] = {
            "t": language.text,
            "n": language.count,
            "lang": language.code,
            "shown": formatting,
            "right": self.right,
            "xsrf": self.xsrf_field(),
            "here": self.request.path,
            "asset": self.page_context.files.url,
            "done": self.query("done"),
            "scrub": self.page_context.scrub,
            "one_bot": False,
            "shown_language": language,
            "public_url": reading.host.public_url if reading.host is not None else "",
            "now": self.operations.clock.now().timestamp(),
        }
        self.say(self.render_string(template, **(names | values)))

    def say(self, content: str | bytes | dict[str, Any]) -> None:
        """Finish with this content."""
        _ = self.finish(content)  # what cannot be written has no reader

    def xsrf_field(self) -> str:
        """The hidden field of this session's forms."""
        return self.page_context.sessions.field(self.right.session) if self.right and self.right.session else ""

    def done(self, where: str, what: str) -> None:
        """After a change: back to a page, which says what was done."""
        self.redirect(url_concat(where, {"done": what}), status=303)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A page that says what is wrong, without a traceback; programs get a line."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        reason = str(error) if isinstance(error, JournalError) else ""
        if self.by_script or (self.right is None and status_code != 421):
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.say(f"{status_code} {responses.get(status_code, '')}\n")
            return
        self.show("error.html", status=status_code, reason=reason)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Faults of our own with their traceback; refusals not at all, for anybody can cause them."""
        if not isinstance(value, (HTTPError, JournalError)):
            log.error("a fault of bothost in the page %s", self.request.path, exc_info=(typ, value, tb))

    def compute_etag(self) -> None:
        """Pages are not kept, so they need none."""

    def check_xsrf_cookie(self) -> None:
        """Tornado's own check takes a cookie and a field that the attacker chose; ours stands in `prepare`."""

    async def act(self, step: Callable[[], Awaitable[str]], what: str) -> None:
        """Carry out a change and go to the page that it gives; where the journal refuses it, say why."""
        try:
            where = await step()
        except JournalAway as error:
            self.set_status(503)
            self.show("error.html", status=503, reason=str(error))
            return
        except JournalError as error:
            self.set_status(409)
            self.show("error.html", status=409, reason=str(error))
            return
        log.warning("the operator: %s", what, extra={"path": self.request.path})
        self.done(where, what)

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
        """A change comes from this page, or with a Bearer token."""
        if self.right is not None and not self.right.session:
            return
        site = self.request.headers.get("Sec-Fetch-Site")
        origin = self.request.headers.get("Origin")
        if site is not None:
            own = site in ("same-origin", "none")
        elif origin is not None:
            own = urlsplit(origin).netloc.lower() == self.request.headers.get("Host", "").lower()
        else:
            own = self.right is None  # the login itself, by a program
        if not own:
            raise HTTPError(403)


def _local_address(request: HTTPServerRequest) -> str:
    """Where the connection came in."""
    stream = getattr(request.connection, "stream", None)
    socket = getattr(stream, "socket", None)
    try:
        name = socket.getsockname() if socket is not None else ""
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


class UnknownPath(PageHandler):
    """Any other path."""

    async def prepare(self) -> None:
        """Only for those with a right does it say that there is nothing."""
        await super().prepare()
        if not self._finished:
            raise HTTPError(404)
