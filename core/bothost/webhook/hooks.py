"""Find the hook of an address below a bot's path, bring the request to it, and bring its answer back."""

from __future__ import annotations

from http.client import responses
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bothost.pipeline.hooks import HookDelivery
from bothost.plugins.http import RawRequest, ResponseMessage
from bothost.webhook import head_checks, routing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tornado.httputil import HTTPHeaders, RequestStartLine

    from bothost.bots.registry import Bot
    from bothost.pipeline.delivery import Outcome
    from bothost.plugins.hook_methods import HookRule

DEEPEST = 16
"""The number of segments below a bot's path that a hook's name may have."""


class HookMatch(NamedTuple):
    """The hook of an address. `rule` is None while its bot is not in service, because its hooks are not known until then."""

    bot: Bot
    name: str
    rule: HookRule | None

    @property
    def allow(self) -> str:
        """Return the methods that the hook takes. GET brings HEAD with it."""
        methods = self.rule.methods if self.rule is not None else ()
        return ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])


def find(by_path: Mapping[str, Bot], target: str) -> HookMatch | None:
    """Return the hook that serves a target. It belongs to the bot with the longest path above the target."""
    path = routing.decoded(target)
    above, _, name = path.rpartition("/")
    for _ in range(DEEPEST):
        # a bot's path stands there with a slash at its end too, and by that `/pay//paid` would be an address of `/pay/paid`
        bot = None if above.endswith("/") else by_path.get(above)
        if bot is not None:
            return _match(bot, name)
        above, slash, last = above.rpartition("/")
        if not slash:
            return None
        name = f"{last}/{name}"
    return None


def _match(bot: Bot, name: str) -> HookMatch | None:
    if not bot.config.enabled or not name:
        return None
    if bot.plugged is None:
        return HookMatch(bot, name, None)
    spec = bot.plugged.hook(name)
    return HookMatch(bot, name, spec.rule) if spec is not None else None


def refusal(match: HookMatch, method: str, announced: int) -> Outcome | None:
    """Return the outcome that a request's head alone decides; None if its body is wanted."""
    if match.rule is None and match.bot.state.word not in ("starting", "elsewhere"):
        return head_checks.BROKEN
    if match.rule is not None and method not in match.allow.split(", "):
        return head_checks.METHOD
    return head_checks.TOO_LARGE if announced > match.bot.config.max_body_bytes else None


class ExchangedRequest(Protocol):
    """The part of a webhook request that an exchange on its connection needs."""

    head: RequestStartLine
    headers: HTTPHeaders | None
    received: float

    @property
    def gone(self) -> bool:
        """Return whether nothing can be written any more."""

    @property
    def peer(self) -> str:
        """Return the sender's address."""

    def respond(self, outcome: Outcome) -> bool:
        """Write an outcome. Return False if it is not certain that anybody reads it."""

    def write_whole(self, head: bytes, body: bytes, word: str) -> None:
        """Write an answer whose head is ready but for the connection's lines."""

    def refuse(self, outcome: Outcome) -> None:
        """Answer a request that its guard does not let in."""


class HookExchange(HookDelivery):
    """One complete request to a hook and its answer, on the connection of a webhook request."""

    def __init__(self, request: ExchangedRequest, match: HookMatch, body: bytes) -> None:
        self.bot = match.bot
        self.is_known = match.rule is not None
        if match.rule is not None:
            self.rule = match.rule
        self._match = match
        self.body = body
        self.request = request

    def resolve(self) -> Outcome | None:
        """See `HookDelivery.resolve`."""
        if self.bot.plugged is None:
            return head_checks.BROKEN
        match = _match(self.bot, self._match.name)
        if match is None or match.rule is None:
            return head_checks.NOT_FOUND
        self.rule, self.is_known = match.rule, True
        return refusal(match, self.request.head.method, 0)

    @property
    def gone(self) -> bool:
        """See `Delivery.gone`."""
        return self.request.gone

    @property
    def received(self) -> float:
        """See `Delivery.received`."""
        return self.request.received

    def raw(self, received: float) -> RawRequest:
        """See `HookDelivery.raw`."""
        request = self.request
        headers = list(request.headers.get_all()) if request.headers is not None else []
        return RawRequest(
            self.rule.name, request.head.method, routing.decoded(request.head.path), request.head.path.partition("?")[2],
            headers, self.body, request.peer, received,
        )  # fmt: skip

    def respond(self, outcome: Outcome) -> bool:
        """See `Delivery.respond`. It serves answers that are given before the pipeline runs."""
        return self.request.respond(outcome)

    def answer(self, message: ResponseMessage, word: str) -> None:
        """See `HookDelivery.answer`."""
        self.request.write_whole(_head(message), message.body, word)

    def refuse(self, outcome: Outcome) -> None:
        """See `HookDelivery.refuse`."""
        self.request.refuse(outcome)


def _head(message: ResponseMessage) -> bytes:
    """Return the head of an answer without the lines that the connection adds.

    `nosniff` keeps browsers from running what a plugin declares as text.
    """
    reason = responses.get(message.status, "Unknown")
    lines = [f"HTTP/1.1 {message.status} {reason}", "X-Content-Type-Options: nosniff"]
    lines += [f"{name}: {value}" for name, value in message.headers]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")
