"""Make a test delivery: signed with the bot's secret, verified, and sent through the pipeline as if Pyrus had posted it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bothost.errors import BodyRefused
from bothost.pyrus.samples import sample, with_fresh_ids
from bothost.pyrus.signature import sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.bots.registry import Bot
    from bothost.clock import Clock
    from bothost.pipeline.delivery import Delivery, Outcome

_PYRUS_WAITS_S = 60.0


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The answer to a test delivery. `status` is 0 if none came within the 60 s that Pyrus waits."""

    status: int
    body: bytes
    word: str
    seconds: float
    task: int


class TrialDelivery:
    """A `Delivery` without a connection. Its answer goes to a future."""

    trace = ""
    secret_index = 0
    attempt = "1/3"

    def __init__(self, bot: Bot, body: bytes, received: float) -> None:
        self.bot = bot
        self.body = body
        self.received = received
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def gone(self) -> bool:
        """See `Delivery.gone`."""
        return False

    def respond(self, outcome: Outcome) -> bool:
        """See `Delivery.respond`. False once the page has given up waiting."""
        if self.outcome.done():
            return False
        self.outcome.set_result(outcome)
        return True


def editable(bot: Bot, clock: Clock) -> str:
    """Return the built-in sample as JSON to be edited, of the first form in the bot's list if it has one."""
    form_id = min(bot.config.forms, default=None)
    return json.dumps(sample(clock.now(), _fresh_id(clock), form_id), ensure_ascii=False, indent=2)


async def send(bot: Bot, text: str, receive: Callable[[Delivery], None], clock: Clock) -> TrialResult:
    """Give the task and its newest comment fresh ids, sign, deliver, wait. Raises BodyRefused if it is not a JSON object."""
    body = _fresh(text, _fresh_id(clock))
    encoded = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    if bot.verifier is None:
        raise BodyRefused("the bot has no usable secret: see its section in bots.ini")
    verification = bot.verifier.begin()
    verification.feed(encoded)
    assert verification.check(sign(encoded, bot.config.secrets[0])) is not None
    began = clock.monotonic()
    delivery = TrialDelivery(bot, encoded, began)
    receive(delivery)
    task = body["task_id"] if isinstance(body.get("task_id"), int) else 0
    try:
        async with asyncio.timeout(_PYRUS_WAITS_S):
            outcome = await asyncio.shield(delivery.outcome)
    except TimeoutError:
        delivery.outcome.cancel()
        return TrialResult(0, b"", "none", clock.monotonic() - began, task)
    return TrialResult(outcome.status, outcome.body, outcome.word, clock.monotonic() - began, task)


def _fresh(text: str, fresh_id: int) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BodyRefused(f"this is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BodyRefused("a delivery is a JSON object: { … }")
    return with_fresh_ids(body, fresh_id)


def _fresh_id(clock: Clock) -> int:
    """Return an id that no task of Pyrus has, a new one each millisecond."""
    return 10**14 + int(clock.now().timestamp() * 1000)
