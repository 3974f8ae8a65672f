"""Keep one access token for each account, only in memory. Many calls at the same time share one login."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.errors import CallError, CallRefused, CallUnsent, RateLimited, Unauthorized
from bothost.pyrus.rest import base_urls, requests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from bothost.clock import Clock
    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse

FAILED_FOR_S = 10.0
"""The seconds in which a refused login is not tried again, so that a wrong secret does not cause a storm of logins."""
AWAY_FOR_S = 0.4
"""The same for a login that Pyrus could not answer. Calls that wait for the same login share its failure."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and the base URL that it may be sent to."""

    value: str = field(repr=False)
    api_url: str


class LoginAnswer(msgspec.Struct):
    """A login's answer, as far as it is used."""

    access_token: Any = ""
    api_url: Any = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account's login, its secrets (the old one works until Pyrus has changed the key), and its base URL."""

    login: str
    secrets: tuple[bytes, ...] = field(repr=False)
    api_url: str


class AccountToken:
    """One account's token. `send` makes one request to a whole URL, without a token, and returns any response."""

    def __init__(self, clock: Clock, send: Callable[[ApiRequest, str], Awaitable[ApiResponse]]) -> None:
        self._clock = clock
        self._send = send
        self._lock = asyncio.Lock()
        self._token: AccessToken | None = None
        self._failed: tuple[float, CallError] | None = None

    @property
    def held(self) -> AccessToken | None:
        """Return the token of the last login, which may have been refused since."""
        return self._token

    async def token(self, credentials: Credentials, refused: str = "") -> AccessToken:
        """Return the account's token, a new one if there is none yet or if it is the refused one. Raises CallError."""
        async with self._lock:
            if self._token is not None and self._token.value != refused:
                return self._token
            if self._failed is not None and self._clock.monotonic() < self._failed[0]:
                raise self._failed[1]
            try:
                self._token = await self._log_in(credentials)
            except CallError as error:
                self._token, self._failed = None, (self._clock.monotonic() + failed_for_s(error), error)
                raise
            self._failed = None
            return self._token

    async def _log_in(self, credentials: Credentials) -> AccessToken:
        """Log in with each secret in turn, and return the token. If a login's end is unclear, the call behind it is still unsent."""
        refusal: CallError | None = None
        for secret in credentials.secrets:
            request = requests.auth(credentials.login, secret.decode("utf-8", "replace"))
            try:
                response = await self._send(request, base_urls.auth_url(credentials.api_url))
                return read_token(request, response, credentials, self._clock.now())
            except (Unauthorized, CallRefused) as error:
                refusal = Unauthorized(f"login {credentials.login}: {error}", status=error.status, code=error.code)
            except RateLimited:
                raise
            except CallError as error:
                raise CallUnsent(f"login {credentials.login}: {error}", status=error.status, code=error.code) from error
        raise refusal or CallRefused(f"login {credentials.login}: no secret to log in with")


def failed_for_s(error: CallError) -> float:
    """Return the seconds for which this failure answers every login of the account."""
    if isinstance(error, RateLimited):
        return error.retry_after_s
    return FAILED_FOR_S if isinstance(error, Unauthorized | CallRefused) else AWAY_FOR_S


def read_token(request: ApiRequest, response: ApiResponse, credentials: Credentials, now: datetime) -> AccessToken:
    """Return the token of a login's answer. Raises CallError."""
    secrets = tuple(secret.decode("utf-8", "replace") for secret in credentials.secrets)
    requests.check(request, response, *secrets, now=now)
    try:
        answer = msgspec.json.decode(response.body, type=LoginAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        answer = LoginAnswer()
    if not isinstance(answer.access_token, str) or not answer.access_token.isascii() or not answer.access_token:
        raise CallRefused(f"{request.title}: the answer has no access_token", status=response.status)
    offered = answer.api_url if isinstance(answer.api_url, str) else ""
    return AccessToken(answer.access_token, base_urls.choose(credentials.api_url, offered))
