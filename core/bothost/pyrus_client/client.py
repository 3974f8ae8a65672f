"""Outgoing calls: permits, tokens, the rate limit, retries of what may be asked twice, and nothing else sends anything.

`PyrusClient` is the process's; `line()` gives one run of one bot its way to Pyrus, which is all that `event.pyrus` and the
poster of late replies ever hold.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bothost.errors import CallUnclear, CallUnsent, NoLogin, RateLimited, Unauthorized
from bothost.pyrus.reply.comment_match import comment_written
from bothost.pyrus.rest import base_urls, requests
from bothost.pyrus_client.rate_limit import RateLimits, SharedLimits
from bothost.pyrus_client.tokens import AccessToken, AccountToken, Credentials
from bothost.pyrus_client.transport import Chunks, HttpRequest, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from bothost.clock import Clock
    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse

PERMITS = 8
READ_AGAIN_S = (0.5, 5.0)
LEASE_LOST = "lease_lost"
REMEMBERED_TASKS = 10_000
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class CallingBot:
    """A bot as far as calls need it: its name, and what its section says of the API."""

    bot: str
    api_url: str = ""
    login: str = ""
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What calls of one run go by: the event's token and base URL, the bot's person id, the deadline of the run."""

    token: str = field(default="", repr=False)
    api_url: str = ""
    user_id: int | None = None
    deadline: datetime | None = None
    trace: str = ""
    late: bool = False
    """A late reply's call: it never waits, and may use the tenth of the rate limit that is kept for it."""
    key: str = ""
    """The event of a run: calls end where another host has taken it over."""


class PyrusClient:
    """All calls of this process. Made on the loop; `close` ends it. `on_call` hears each call's account and status (0: none)."""

    def __init__(
        self,
        clock: Clock,
        shared: SharedLimits,
        transport: Transport,
        on_call: Callable[[str, int], None] | None = None,
        user_agent: str = "bothost",
    ) -> None:
        self.clock = clock
        self.shared = shared
        self.transport = transport
        self.gates = RateLimits(clock, shared)
        self.on_call = on_call or (lambda _account, _status: None)
        self.user_agent = user_agent
        """What Pyrus's logs show of us."""
        self.on_limit: Callable[[str, float], None] = lambda _account, _left: None
        """Hears what each account's rate limit leaves, by Pyrus's own word."""
        self.keep: Callable[[str, int, int], None] = lambda _bot, _task, _comment: None
        """Told of each comment that a handler wrote itself, to be kept for other processes and later ones."""
        self.hide: Callable[[str], None] = lambda _token: None
        """Told of each token that a login gave, which must stand in no log line."""
        self._permits: dict[str, asyncio.Semaphore] = {}
        self._logins: dict[tuple[str, str], AccountToken] = {}
        self._learnt: dict[str, str] = {}
        self._written: OrderedDict[tuple[str, int], set[int]] = OrderedDict()

    def line(self, caller: CallingBot, terms: SessionTerms) -> PyrusSession:
        """One run's way to Pyrus."""
        return PyrusSession(self, caller, terms)

    def learn(self, bot: str, login: str) -> None:
        """Keep a login that was seen in a body, for a bot whose section has none."""
        self._learnt[bot] = login

    def login_of(self, caller: CallingBot) -> str:
        """The login to use: the section's, else the learnt one, else none."""
        return caller.login or self._learnt.get(caller.bot, "")

    def login(self, credentials: Credentials) -> AccountToken:
        """The one `AccountToken` of an account, shared by all bots that log in as it."""
        key = (base_urls.auth_url(credentials.api_url), credentials.login)
        if key not in self._logins:
            self._logins[key] = AccountToken(self.clock, self.send_bare)
        return self._logins[key]

    def permits(self, bot: str) -> asyncio.Semaphore:
        """The bot's permits for calls that are under way."""
        return self._permits.setdefault(bot, asyncio.Semaphore(PERMITS))

    def written(self, bot: str, task_id: int) -> frozenset[int]:
        """Comments that the bot's handlers wrote themselves on a task, as far as this process remembers."""
        return frozenset(self._written.get((bot, task_id), ()))

    def remember(self, bot: str, task_id: int, comment_id: int) -> None:
        """Keep the id of a comment that a handler wrote itself: no late reply may take it for its own."""
        ids = self._written.setdefault((bot, task_id), set())
        ids.add(comment_id)
        self.keep(bot, task_id, comment_id)
        self._written.move_to_end((bot, task_id))
        while len(self._written) > REMEMBERED_TASKS:
            self._written.popitem(last=False)

    def look_at_lease(self, request: ApiRequest, key: str = "") -> None:
        """Nothing while this owner's lease stands, and while it holds this event; else CallUnsent, for another owner may be
        at the same work."""
        if not self.shared.alive() or (key and key in self.shared.lost()):
            raise CallUnsent(f"{request.title}: this host's lease has run out, so it begins no calls", code=LEASE_LOST)

    async def send_bare(self, request: ApiRequest, url: str) -> ApiResponse:
        """Send one request without a token: a login."""
        headers = {"Content-Type": request.content_type, "User-Agent": self.user_agent}
        self.look_at_lease(request)
        return await within(request, self.transport.fetch(HttpRequest(request, url, headers)))

    async def close(self) -> None:
        """Give up what is under way."""
        await self.transport.close()


class PyrusSession:
    """One run's way to Pyrus. Its token is the event's while Pyrus takes it, then one from a login."""

    def __init__(self, client: PyrusClient, caller: CallingBot, terms: SessionTerms) -> None:
        self._client = client
        self._caller = caller
        self._terms = terms
        self._token = AccessToken(terms.token, base_urls.choose(caller.api_url, terms.api_url)) if terms.token else None

    def __repr__(self) -> str:
        return f"<Line of {self._caller.bot}>"

    @property
    def account(self) -> str:
        """Whose rate limit these calls count against: base URL and login, else the person's id."""
        who = self._client.login_of(self._caller) or self._terms.user_id or self._caller.bot
        return f"{base_urls.choose(self._caller.api_url)} {who}"

    async def send(self, request: ApiRequest, content: Callable[[], Chunks] | None = None) -> ApiResponse:
        """Send until Pyrus has answered 2xx, as often as that is safe. `content` makes the pieces of a streamed body anew
        for each try. Raises CallError."""

        async def once(token: AccessToken) -> ApiResponse | None:
            async with self._client.permits(self._caller.bot):
                if self._is_shut():
                    return None
                self._client.look_at_lease(request, self._terms.key)
                sending = self._sending(request, token, content() if content else None)
                response = await self._counted(within(request, self._client.transport.fetch(sending)))
            await self._judge(request, response, token)
            return response

        response = await self._persist(request, once)
        if not self._terms.late and request.comments_on:
            self._remember(request, response)
        return response

    async def stream(self, request: ApiRequest) -> AsyncIterator[bytes]:
        """A response's body piece by piece, holding a permit until its end. Only the opening is tried again."""
        permits = self._client.permits(self._caller.bot)

        async def once(token: AccessToken) -> Chunks | None:
            await permits.acquire()
            try:
                if self._is_shut():
                    permits.release()
                    return None
                self._client.look_at_lease(request, self._terms.key)
                opening = self._client.transport.open(self._sending(request, token, None))
                response, pieces = await self._counted(within(request, opening))
                await self._judge(request, response, token)
            except BaseException:
                permits.release()
                raise
            return pieces

        pieces = await self._persist(request, once)
        try:
            async for piece in pieces:
                yield piece
        finally:
            permits.release()

    def _is_shut(self) -> bool:
        """Whether the rate limit has come to its end while the call waited for a permit: then it waits there again."""
        return self._client.gates.is_shut(self.account, late=self._terms.late)

    async def _persist(self, request: ApiRequest, once: Callable[[AccessToken], Awaitable[R | None]]) -> R:
        """Do it until it is done. `once` returns None where the call has to wait for the rate limit once more."""
        token, fresh = (self._token, False) if self._token is not None else await self._log_in(request)
        pauses = list(READ_AGAIN_S) if request.reads and not self._terms.late else []
        while True:
            await self._client.gates.enter(self.account, self._terms.deadline, late=self._terms.late)
            try:
                done = await once(token)
                if done is not None:
                    return done
            except Unauthorized as error:
                if fresh or error.code in requests.FINAL_401:
                    raise
                token, fresh = await self._log_in(request, token.value)
            except RateLimited as error:
                await self._client.gates.shut(self.account, error.retry_after_s)
            except (CallUnclear, CallUnsent) as error:
                if not pauses or error.status not in (0, 502, 503, 504) or error.code == LEASE_LOST:
                    raise
                await asyncio.sleep(pauses.pop(0))

    async def _log_in(self, request: ApiRequest, refused: str = "") -> tuple[AccessToken, bool]:
        """The token of the last login, or of a new one where there is none or it is the refused one; whether it is new."""
        login = self._client.login_of(self._caller)
        if not login:
            what = "its token was refused, and it has" if refused else "it has no token and"
            raise NoLogin(
                f"{request.title}: [bot:{self._caller.bot}] {what} no login to get a new one with; set login = bot@…",
                status=401 if refused else 0,
            )
        credentials = Credentials(login, self._caller.secrets, base_urls.choose(self._caller.api_url))
        account = self._client.login(credentials)
        before = account.held
        self._token = await account.token(credentials, refused)
        self._client.hide(self._token.value)
        return self._token, self._token is not before

    async def _counted(self, work: Awaitable[R]) -> R:
        try:
            return await work
        except (CallUnclear, CallUnsent):
            self._client.on_call(self.account, 0)
            raise

    async def _judge(self, request: ApiRequest, response: ApiResponse, token: AccessToken) -> None:
        self._client.on_call(self.account, response.status)
        rate = requests.rate(response.headers)
        if rate is not None:
            self._client.on_limit(self.account, rate.remaining)
        if rate is not None and response.status != 429:
            await self._client.gates.correct(self.account, rate)
        requests.check(request, response, token.value)

    def _sending(self, request: ApiRequest, token: AccessToken, content: Chunks | None) -> HttpRequest:
        headers = {
            "Authorization": f"Bearer {token.value}",
            "User-Agent": self._client.user_agent,
            "Accept": "application/json",
        }
        if request.method != "GET":
            headers["Content-Type"] = request.content_type
        if TRACEPARENT.fullmatch(self._terms.trace):
            headers["traceparent"] = self._terms.trace
        return HttpRequest(request, token.api_url + request.target, headers, content)

    def _remember(self, request: ApiRequest, response: ApiResponse) -> None:
        comment_id = comment_written(request.body or b"", response.body, self._terms.user_id)
        if comment_id:
            self._client.remember(self._caller.bot, request.comments_on, comment_id)


async def within(request: ApiRequest, work: Awaitable[R]) -> R:
    """The work's result within the request's time limit, which begins now: the permit is held."""
    try:
        async with asyncio.timeout(request.limit_s):
            return await work
    except TimeoutError as error:
        raise CallUnclear(f"{request.title}: no answer within {request.limit_s:g} s") from error
