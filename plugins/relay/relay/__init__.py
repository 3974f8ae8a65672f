"""Hands verified events of Pyrus to any HTTP service, signed with a key of its own, and its answers back.

An existing bot in any language gains verification, once-only, lateness and journal without a rewrite.
"""

from __future__ import annotations

import http.client
import json
from datetime import timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

from bothost import Event, GiveUp, Plugin, Secret, Settings, sign

__all__ = ["Address", "Relay", "Target"]

LARGEST_ANSWER = 4 << 20


class Address:
    """Where the service listens: https, or http on this machine."""

    def __init__(self, text: str, parts: SplitResult) -> None:
        self.text = text
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ValueError, which says what would be right."""
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is not an address; write https://service.example.com/path")
        if parts.username is not None:
            raise ValueError("must not hold a name or a password; the service knows bothost by `key`")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("must be https: events hold an access token; plain http only on this machine")
        return cls(text, parts)

    def __repr__(self) -> str:
        return self.text


class Target(Settings):
    """`url` of the service, `key` to sign with, `answer` how long it may take."""

    url: Address
    key: Secret
    answer: timedelta = timedelta(minutes=10)


class Relay(Plugin[Target]):
    """Plain, so each call has a thread of the bot's own; as many at once as `concurrency` says."""

    def handle(self, event: Event) -> dict[str, Any] | None:
        """POST the event's bytes as Pyrus signed them. Raises GiveUp for a 4xx; anything else is tried again."""
        status, body = self._post(event)
        if 200 <= status < 300:
            return self._reply(body)
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise GiveUp(f"{self.settings.url} refused the event: {status}")
        raise ConnectionError(f"{self.settings.url} answered {status}")

    def _post(self, event: Event) -> tuple[int, bytes]:
        url = self.settings.url
        limit_s = max(min(self.settings.answer.total_seconds(), event.time_left), 0.1)
        kind = http.client.HTTPSConnection if url.secure else http.client.HTTPConnection
        connection = kind(url.host, url.port, timeout=limit_s)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Pyrus-Bot-4",
            "X-Pyrus-Sig": sign(event.body, self.settings.key.reveal()),
            "X-Pyrus-Retry": f"{min(event.attempt, 3)}/3",
            "Idempotency-Key": event.id,
        }
        try:
            connection.request("POST", url.path, event.body, headers)
            answer = connection.getresponse()
            body = answer.read(LARGEST_ANSWER + 1)
        finally:
            connection.close()
        if len(body) > LARGEST_ANSWER:
            raise GiveUp(f"{url} answered with more than {LARGEST_ANSWER >> 20} MB")
        return answer.status, body

    def _reply(self, body: bytes) -> dict[str, Any] | None:
        """What the service says as a reply. What is not a JSON object is no comment either: Pyrus ignores it too."""
        if not body.strip():
            return None
        try:
            reply = json.loads(body)
        except ValueError:
            self.log.warning("%s answered something that is not JSON: nothing is written", self.settings.url)
            return None
        if isinstance(reply, dict):
            return reply
        if reply is not None:
            self.log.warning("%s answered JSON that is not an object: nothing is written", self.settings.url)
        return None
