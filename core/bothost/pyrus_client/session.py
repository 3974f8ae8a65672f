"""Send one run's calls to Pyrus, with permits, tokens, the rate limit, and retries of calls that may safely be sent again."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from bothost.errors import CallUnclear, CallUnsent, NoLogin, RateLimited, Unauthorized
from bothost.pyrus.reply.comment_match import comment_written
from bothost.pyrus.rest import base_urls, requests
from bothost.pyrus_client.client import LEASE_LOST, within
from bothost.pyrus_client.tokens import AccessToken, Credentials
from bothost.pyrus_client.transport import Chunks, HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse
    from bothost.pyrus_client.client import CallingBot, PyrusClient

READ_AGAIN_S = (0.5, 5.0)
LOG_IN_AGAIN_S = (0.5, 2.0, 5.0)
"""The pauses between logins that Pyrus could not answer. The last one repeats while there is time."""
LOG_IN_FOR_S = 60.0
"""The time for logins of a session without a deadline."""
MAY_PASS = frozenset({0, 502, 503, 504})
"""The statuses that a later try may avoid (0 for no answer)."""
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """The terms of one run's calls: the event's token and base URL, the bot's person id, the deadline of the run."""

    token: str = field(default="", repr=False)
    api_url: str = ""
    user_id: int | None = None
    ends_at: float | None = None
    """The end of the run's time by the monotonic clock; None if there is no run."""
    trace: str = ""
    late: bool = False
    """True for a late reply's calls: they never wait, and may use the tenth of the rate limit that is kept for them."""
    key: str = ""
    """The event of a run. Its calls are refused as soon as another host has taken it over."""


class PyrusSession:
    """One run's session. It uses the event's token while Pyrus accepts it, and then one from a login."""

    def __init__(self, client: PyrusClient, caller: CallingBot, terms: SessionTerms) -> None:
        self._client = client
        self._caller = caller
        self._terms = terms
        self._token = AccessToken(terms.token, base_urls.choose(caller.api_url, terms.api_url)) if terms.token else None

    def __repr__(self) -> str:
        return f"<PyrusSession of {self._caller.bot}>"

    @property
    def account(self) -> str:
        """Return the account whose rate limit these calls count against: base URL and login, else the person's id."""
        who = self._client.login_of(self._caller) or self._terms.user_id or self._caller.bot
        return f"{base_urls.choose(self._caller.api_url)} {who}"

    async def send(self, request: ApiRequest, content: Callable[[], Chunks] | None = None) -> ApiResponse:
        """Send as often as it is safe, until Pyrus has answered 2xx, and return that response. Raises CallError.

        `content` makes the pieces of a streamed body anew for each try."""
        if request.keep_s:
            fresh = replace(request, keep_s=0.0)
            key = (self.account, request.target)
            return await self._client.kept.get(key, request.keep_s, lambda: self.send(fresh))

        async def once(token: AccessToken) -> ApiResponse | None:
            async with self._client.permits(self._caller.bot):
                if self._is_shut():
                    return None
                self._client.check_lease(request, self._terms.key)
                sending = self._sending(request, token, content() if content else None)
                response = await self._counted(within(request, self._client.transport.fetch(sending)))
            await self._judge(request, response, token)
            return response

        response = await self._persist(request, once)
        if not self._terms.late and request.comments_on:
            self._remember(request, response)
        return response

    async def stream(self, request: ApiRequest) -> AsyncIterator[bytes]:
        """Yield a response's body piece by piece, holding a permit until its end. Only the opening is tried again."""
        permits = self._client.permits(self._caller.bot)

        async def once(token: AccessToken) -> Chunks | None:
            await permits.acquire()
            try:
                if self._is_shut():
                    permits.release()
                    return None
                self._client.check_lease(request, self._terms.key)
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
        """Return whether the rate limit came to its end while the call waited for a permit. Then the call waits again."""
        return self._client.limits.is_shut(self.account, late=self._terms.late)

    async def _persist(self, request: ApiRequest, once: Callable[[AccessToken], Awaitable[R | None]]) -> R:
        """Call `once` until it succeeds, and return its result. It returns None if the call must wait for the rate limit again."""
        token, fresh = (self._token, False) if self._token is not None else await self._log_in(request)
        pauses = list(READ_AGAIN_S) if request.reads and not self._terms.late else []
        while True:
            await self._client.limits.enter(self.account, self._terms.ends_at, late=self._terms.late)
            try:
                done = await once(token)
                if done is not None:
                    return done
            except Unauthorized as error:
                if fresh or error.code in requests.FINAL_401:
                    raise
                token, fresh = await self._log_in(request, token.value)
            except RateLimited as error:
                await self._client.limits.shut(self.account, error.retry_after_s)
            except (CallUnclear, CallUnsent) as error:
                if not pauses or error.status not in MAY_PASS or error.code == LEASE_LOST:
                    raise
                await asyncio.sleep(pauses.pop(0))

    async def _log_in(self, request: ApiRequest, refused: str = "") -> tuple[AccessToken, bool]:
        """Return a token, and whether it is new: the last login's, or a new login's if there is none or it was refused.

        A login changes nothing, so one that Pyrus could not answer is repeated within the time that is left."""
        credentials = self._credentials(request, refused=bool(refused))
        account = self._client.login(credentials)
        before = account.held
        pauses = iter(LOG_IN_AGAIN_S)
        pause_s = 0.0
        until = self._terms.ends_at or self._client.clock.monotonic() + LOG_IN_FOR_S
        while True:
            try:
                self._token = await account.token(credentials, refused)
            except (RateLimited, CallUnsent) as error:
                pause_s = next(pauses, pause_s)
                wait_s = error.retry_after_s if isinstance(error, RateLimited) else pause_s
                is_too_late = self._client.clock.monotonic() + wait_s >= until
                if self._terms.late or is_too_late or not login_may_pass(error):
                    raise
                await asyncio.sleep(wait_s)
            except Unauthorized:
                if not self._caller.login:
                    self._client.forget(self._caller.bot, credentials.login)
                raise
            else:
                self._client.observer.logged_in(self._token.value)
                return self._token, self._token is not before

    def _credentials(self, request: ApiRequest, *, refused: bool) -> Credentials:
        login = self._client.login_of(self._caller)
        if not login:
            what = "its token was refused, and it has" if refused else "it has no token and"
            raise NoLogin(
                f"{request.title}: [bot:{self._caller.bot}] {what} no login to get a new one with; set login = bot@…",
                status=401 if refused else 0,
            )
        return Credentials(login, self._caller.secrets, base_urls.choose(self._caller.api_url))

    async def _counted(self, work: Awaitable[R]) -> R:
        try:
            return await work
        except (CallUnclear, CallUnsent):
            self._client.observer.called(self.account, 0)
            raise

    async def _judge(self, request: ApiRequest, response: ApiResponse, token: AccessToken) -> None:
        self._client.observer.called(self.account, response.status)
        rate = requests.rate(response.headers)
        if rate is not None:
            self._client.observer.limited(self.account, rate.remaining)
        if rate is not None and response.status != 429:
            await self._client.limits.correct(self.account, rate)
        requests.check(request, response, token.value, now=self._client.clock.now())

    def _sending(self, request: ApiRequest, token: AccessToken, content: Chunks | None) -> HttpRequest:
        headers = {
            "Authorization": f"Bearer {token.value}",
            "User-Agent": self._client.user_agent,
            "Accept": "application/json" if request.json else "*/*",
        }
        if request.method != "GET":
            headers["Content-Type"] = request.content_type
        if TRACEPARENT.fullmatch(self._terms.trace):
            headers["traceparent"] = self._terms.trace
        return HttpRequest(request, token.api_url + request.target, headers, content)

    def _remember(self, request: ApiRequest, response: ApiResponse) -> None:
        comment_id = comment_written(request.body or b"", response.body, self._terms.user_id)
        if comment_id:
            self._client.comments.add(self._caller.bot, request.comments_on, comment_id)


def login_may_pass(error: RateLimited | CallUnsent) -> bool:
    """Return whether a later login may succeed, because Pyrus was away, busy or at its limit."""
    return error.code != LEASE_LOST and (error.status in (0, 408, 429) or error.status >= 500)
