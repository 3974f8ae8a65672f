"""Who may look at the page and who may change things: tokens, sessions, and the pace of failed logins."""

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
_FAILURE_S = 1.0
_MOST_SESSIONS = 1_000


@dataclass(frozen=True, slots=True)
class AccessRight:
    """What a request may do; `session` is empty where it came with a Bearer token."""

    changes: bool
    session: str = ""


@dataclass(frozen=True, slots=True)
class _Session:
    ends: float
    token: str
    """The digest of the token that opened it: it ends when that token is no longer one."""


class Sessions:
    """Kept in memory only, by the hash of their id. `tokens` gives the present token and the read-only one (or None)."""

    def __init__(self, token: SecretText, read_token: SecretText | None, clock: Clock) -> None:
        self._token = token
        self._read_token = read_token
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._sessions: dict[str, _Session] = {}
        self._next_failure = 0.0

    def change_tokens(self, token: SecretText, read_token: SecretText | None) -> None:
        """Take new tokens; sessions of a token that is no longer one end."""
        self._token, self._read_token = token, read_token

    def knows(self, token: SecretText) -> bool:
        """Whether this is the present token."""
        return token == self._token

    def bearer(self, token: str) -> AccessRight | None:
        """What a token allows; None: it is none of ours. Both are compared, in constant time."""
        whole = self._token.matches(token)
        read = self._read_token is not None and self._read_token.matches(token)
        return AccessRight(changes=whole) if whole or read else None

    def open(self, token: str) -> str | None:
        """A new session's id for its cookie; None where the token is none of ours."""
        if self.bearer(token) is None:
            return None
        self._forget()
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = _Session(self._clock.monotonic() + SESSION_S, _digest(token))
        return session

    def find(self, session: str) -> AccessRight | None:
        """What a session's cookie allows."""
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
        """What a form of this session must carry: nobody can make it who does not hold the session and this process's key."""
        return hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()

    def is_field(self, session: str, given: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.field(session).encode(), given.encode("utf-8", "replace"))

    async def fail(self) -> None:
        """Wait for the turn of a failed login: one a second for all callers together, and never a lock-out."""
        now = self._clock.monotonic()
        self._next_failure = max(self._next_failure, now) + _FAILURE_S
        await asyncio.sleep(self._next_failure - now)

    def _forget(self) -> None:
        now = self._clock.monotonic()
        over = [key for key, session in self._sessions.items() if session.ends <= now]
        for key in over or ([next(iter(self._sessions))] if len(self._sessions) >= _MOST_SESSIONS else []):
            del self._sessions[key]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
