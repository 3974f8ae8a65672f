"""Decide who may look at the page and change things: tokens, sessions, and the pace of failed logins."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.config.secrets import SecretText

SESSION_S = 12 * 3600.0
_MOST_FAILURES = 20
"""Failed logins that wait for their answer at the same time."""
_FAILURE_S = 1.0
_MOST_SESSIONS = 1_000


@dataclass(frozen=True, slots=True)
class AccessRight:
    """The rights of a request. `session` is empty if it came with a Bearer token."""

    changes: bool
    session: str = ""


@dataclass(frozen=True, slots=True)
class _Session:
    ends: float
    token: str
    """The digest of the token that opened it. The session ends when that token is replaced."""


class Sessions:
    """The sessions, kept in memory only, by the hash of their id."""

    def __init__(self, token: SecretText, read_token: SecretText | None, clock: Clock) -> None:
        self._token = token
        self._read_token = read_token
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._sessions: dict[str, _Session] = {}
        self._next_failure = 0.0

    def change_tokens(self, token: SecretText, read_token: SecretText | None) -> None:
        """Take new tokens. Sessions of replaced tokens end."""
        self._token, self._read_token = token, read_token

    def knows(self, token: SecretText) -> bool:
        """Return whether this is the present token."""
        return token == self._token

    def bearer(self, token: str) -> AccessRight | None:
        """Return what a token allows; None if it is none of ours. Both are always compared, in constant time."""
        whole = self._token.matches(token)
        read = self._read_token is not None and self._read_token.matches(token)
        return AccessRight(changes=whole) if whole or read else None

    def open(self, token: str) -> str | None:
        """Return a new session's id for its cookie; None if the token is none of ours."""
        if self.bearer(token) is None:
            return None
        self._forget()
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = _Session(self._clock.monotonic() + SESSION_S, _digest(token))
        return session

    def find(self, session: str) -> AccessRight | None:
        """Return what a session's cookie allows."""
        kept = self._sessions.get(_digest(session)) if session else None
        if kept is None or kept.ends <= self._clock.monotonic():
            return None
        if hmac.compare_digest(kept.token, _digest(self._token.reveal())):
            return AccessRight(changes=True, session=session)
        if self._read_token is not None and hmac.compare_digest(kept.token, _digest(self._read_token.reveal())):
            return AccessRight(changes=False, session=session)
        return None

    def close(self, session: str) -> None:
        """End a session at once."""
        self._sessions.pop(_digest(session), None)

    def field(self, session: str) -> str:
        """Return the hidden field of this session's forms, which only this process can make."""
        return hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()

    def is_field(self, session: str, given: str) -> bool:
        """Return whether a form came from a page of this session."""
        return hmac.compare_digest(self.field(session).encode(), given.encode("utf-8", "replace"))

    async def fail(self) -> bool:
        """Wait for the turn of a failed login: one a second for all callers together, and nobody is locked out.

        Returns False at once if enough requests wait already, because each one holds memory and makes the next wait longer.
        """
        now = self._clock.monotonic()
        if self._next_failure - now >= _MOST_FAILURES * _FAILURE_S:
            return False
        self._next_failure = max(self._next_failure, now) + _FAILURE_S
        await asyncio.sleep(self._next_failure - now)
        return True

    def _forget(self) -> None:
        now = self._clock.monotonic()
        over = [key for key, session in self._sessions.items() if session.ends <= now]
        for key in over or ([next(iter(self._sessions))] if len(self._sessions) >= _MOST_SESSIONS else []):
            del self._sessions[key]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
