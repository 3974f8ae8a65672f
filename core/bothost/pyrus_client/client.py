"""Hold the process's client of Pyrus, which the sessions of all runs share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from bothost.errors import CallUnclear, CallUnsent
from bothost.pyrus.rest import base_urls
from bothost.pyrus_client.kept_answers import KeptAnswers
from bothost.pyrus_client.rate_limit import RateLimits, SharedLimits
from bothost.pyrus_client.tokens import AccountToken, Credentials
from bothost.pyrus_client.transport import HttpRequest, Transport
from bothost.pyrus_client.written_comments import CommentJournal, WrittenComments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bothost.clock import Clock
    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse

PERMITS = 8
LEASE_LOST = "lease_lost"

R = TypeVar("R")


class ClientJournal(SharedLimits, CommentJournal, Protocol):
    """The part of the journal that calls need."""


@dataclass(frozen=True, slots=True)
class CallingBot:
    """The part of a bot that calls need: its name, and the values of its section about the API."""

    bot: str
    api_url: str = ""
    login: str = ""
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class CallObserver:
    """Callables that are called for each call; by default they do nothing."""

    called: Callable[[str, int], None] = lambda _account, _status: None
    """Gets each call's account and status (0 for no answer)."""
    limited: Callable[[str, float], None] = lambda _account, _left: None
    """Gets an account and the number of calls that its rate limit leaves, as Pyrus says it."""
    logged_in: Callable[[str], None] = lambda _token: None
    """Gets each token of a login, so that it can be kept out of log lines."""


@dataclass(slots=True)
class SharedState:
    """The state that the sessions of one process share."""

    permits: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    logins: dict[tuple[str, str], AccountToken] = field(default_factory=dict)
    learnt: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class PyrusClient:
    """Makes all calls of this process. It is made on the loop and ended by `close`."""

    def __init__(
        self,
        clock: Clock,
        journal: ClientJournal,
        transport: Transport,
        observer: CallObserver | None = None,
        user_agent: str = "bothost",
    ) -> None:
        """`user_agent` is the name that Pyrus's logs show."""
        self.clock = clock
        self.transport = transport
        self.observer = observer or CallObserver()
        self.user_agent = user_agent
        self.limits = RateLimits(clock, journal)
        self.comments = WrittenComments(journal)
        self.kept = KeptAnswers(clock)
        self._journal = journal
        self._shared = SharedState()

    def learn(self, bot: str, login: str) -> None:
        """Keep a login that was seen in a body, for a bot whose section has none."""
        self._shared.learnt[bot] = login
        self._shared.refused.pop(bot, None)

    def forget(self, bot: str, login: str) -> None:
        """Forget a learnt login that Pyrus has refused; the next delivery may teach another one."""
        if self._shared.learnt.get(bot, login) == login:
            self._shared.learnt.pop(bot, None)
            self._shared.refused[bot] = login

    @property
    def refused(self) -> Mapping[str, str]:
        """Return the learnt logins that Pyrus has refused and nothing has taught again since, by bot."""
        return self._shared.refused

    def login_of(self, caller: CallingBot) -> str:
        """Return the bot's login: the section's, else the learnt one, else ""."""
        return caller.login or self._shared.learnt.get(caller.bot, "")

    def login(self, credentials: Credentials) -> AccountToken:
        """Return the one `AccountToken` of an account, shared by all bots that log in as it."""
        key = (base_urls.auth_url(credentials.api_url), credentials.login)
        if key not in self._shared.logins:
            self._shared.logins[key] = AccountToken(self.clock, self.send_bare)
        return self._shared.logins[key]

    def permits(self, bot: str) -> asyncio.Semaphore:
        """Return the bot's permits for calls that are under way."""
        return self._shared.permits.setdefault(bot, asyncio.Semaphore(PERMITS))

    def check_lease(self, request: ApiRequest, key: str = "") -> None:
        """Raise CallUnsent if this owner's lease has run out or another owner holds this event, because that owner may do
        the same work."""
        if not self._journal.alive() or (key and key in self._journal.lost()):
            raise CallUnsent(f"{request.title}: this host's lease has run out, so it begins no calls", code=LEASE_LOST)

    async def send_bare(self, request: ApiRequest, url: str) -> ApiResponse:
        """Send one request without a token: a login."""
        headers = {"Content-Type": request.content_type, "User-Agent": self.user_agent}
        self.check_lease(request)
        return await within(request, self.transport.fetch(HttpRequest(request, url, headers)))

    async def close(self) -> None:
        """Close the connections, and cancel the requests under way."""
        await self.transport.close()


async def within(request: ApiRequest, work: Awaitable[R]) -> R:
    """Return the work's result within the request's time limit. The limit begins now because the permit is held."""
    try:
        async with asyncio.timeout(request.limit_s):
            return await work
    except TimeoutError as error:
        raise CallUnclear(f"{request.title}: no answer within {request.limit_s:g} s") from error
