"""Deliver events to a bot as Pyrus does, up to three times, through routers that cut and networks that lose.

A bot's answer is read only within 60 seconds; any 2xx ends the attempts, and a 200 with something in it becomes the bot's
comment (protocol 1.4 and 4.1).
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.pyrus.signature import SIGNATURE_HEADER, sign
from bothost.testing.fake_pyrus.world import ApiRefusal

if TYPE_CHECKING:
    from bothost.testing.fake_pyrus import FakePyrus
    from bothost.testing.fake_pyrus.world import ApiAccount, Json

_ENCODER = msgspec.json.Encoder(decimal_format="number")
READ_S = 60.0
"""The seconds for which Pyrus waits for the answer."""
TIMES = (0.0, 61.0, 122.0)
"""The times of its attempts in seconds after the first one."""


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """One HTTP request to the bot."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The outcome of one attempt: the status that Pyrus saw, and the id of the comment that it wrote; 0 for none."""

    attempt: int
    status: int
    comment_id: int = 0
    body: bytes = b""


Send = Callable[[SimulatedRequest], Awaitable[tuple[int, bytes]]]
"""Sends one request and returns status and body. Raises OSError if there is no answer."""


@dataclass(frozen=True, slots=True)
class WebhookRoute:
    """The behaviour of the network between Pyrus and the bot."""

    times: Sequence[float] = TIMES
    cut_s: float = 0.0
    """The time after which a router answers 503 itself and closes the bot's connection; 0 if there is no router."""
    lost: frozenset[int] = frozenset()
    """The attempts whose response does not reach Pyrus."""
    dropped: frozenset[int] = frozenset()
    """The attempts that do not reach the bot."""
    of: str = "3"
    """The part behind the slash of X-Pyrus-Retry; empty for no header at all."""
    new_token: bool = True
    """True if each attempt brings a fresh token."""
    read_s: float = READ_S
    """The seconds for which Pyrus waits for an answer."""


class Webhooks:
    """Delivers events of a fake Pyrus by `send`."""

    def __init__(
        self, pyrus: FakePyrus, account: ApiAccount, key: str, send: Send, route: WebhookRoute | None = None
    ) -> None:
        self._pyrus = pyrus
        self._account = account
        self._key = key
        self._send = send
        self._route = route or WebhookRoute()

    async def deliver(self, task_id: int, event: str = "comment") -> list[AttemptResult]:
        """Deliver a task's newest comment until the bot has answered 2xx or the attempts are used up; return each outcome."""
        began = self._pyrus.clock.monotonic()
        token = self._pyrus.world.issue_token(self._account)
        task = copy.deepcopy(self._pyrus.task(task_id))
        reached: list[AttemptResult] = []
        for attempt, at in enumerate(self._route.times, start=1):
            pause_s = began + at - self._pyrus.clock.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            if self._route.new_token and attempt > 1:
                token = self._pyrus.world.issue_token(self._account)
            reached.append(await self._attempt(self.hook(task, event, token, attempt)))
            if 200 <= reached[-1].status < 300:
                break
        return reached

    def hook(self, task: Json, event: str, token: str, attempt: int) -> SimulatedRequest:
        """Return the request of one attempt."""
        body = {
            "event": event,
            "access_token": token,
            "task_id": task["id"],
            "user_id": self._account.person["id"],
            "bot_settings": "",
            "task": task,
        }
        signed = _ENCODER.encode(body)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Pyrus-Bot-4",
            SIGNATURE_HEADER: sign(signed, self._key),
        }
        if self._route.of:
            headers["X-Pyrus-Retry"] = f"{attempt}/{self._route.of}"
        return SimulatedRequest(signed, headers, attempt)

    async def _attempt(self, hook: SimulatedRequest) -> AttemptResult:
        if hook.attempt in self._route.dropped:
            return AttemptResult(hook.attempt, 0)
        read_s = self._route.read_s
        limit_s = min(read_s, self._route.cut_s) if self._route.cut_s else read_s
        try:
            async with asyncio.timeout(limit_s):
                status, body = await self._send(hook)
        except TimeoutError:
            return AttemptResult(hook.attempt, 503 if limit_s < read_s else 0)
        except OSError:
            return AttemptResult(hook.attempt, 0)
        if hook.attempt in self._route.lost:
            return AttemptResult(hook.attempt, 0)
        return AttemptResult(hook.attempt, status, self._written(hook, status, body), body)

    def _written(self, hook: SimulatedRequest, status: int, body: bytes) -> int:
        if status != 200:
            return 0
        try:
            comment = self._pyrus.take_response(self._account, json.loads(hook.body)["task_id"], body)
        except ApiRefusal:
            return 0  # because no document says that Pyrus reports it
        return int(comment["id"]) if comment else 0


def over_http(url: str, client: Any, read_s: float = READ_S) -> Send:
    """Return a function that sends by a Tornado client (`AsyncHTTPClient`) to a bot's URL, and waits so long for the answer."""

    async def send(hook: SimulatedRequest) -> tuple[int, bytes]:
        from tornado.httpclient import HTTPClientError

        try:
            response = await client.fetch(
                url,
                method="POST",
                body=hook.body,
                headers=dict(hook.headers),
                raise_error=False,
                request_timeout=read_s + 1,
            )
        except HTTPClientError as error:
            raise ConnectionError(str(error)) from None
        return response.code, response.body

    return send
