"""Hand requests for a bot with `per_host = one` to the sibling worker that has the bot, and bring its answers back.

A request is verified where it arrives. The sibling runs it as its own: it counts it, logs it, and decides whether the answer
was read by what it hears from here. When the sibling is gone, its requests are taken again, by whoever has the bot then.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from tornado.httputil import HTTPHeaders, RequestStartLine

from bothost.background import BackgroundTasks, PeriodicJob
from bothost.errors import BodyRefused
from bothost.pipeline.delivery import UNAVAILABLE, Outcome
from bothost.pipeline.hooks import HookDelivery
from bothost.pipeline.unread import was_not_read
from bothost.pyrus.envelope import decode, event_key
from bothost.webhook import head_checks, hooks
from bothost.webhook.hooks import HookExchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.bots.registry import Bot, Service
    from bothost.host.workers.places import BotPlaces, PlaceHolder
    from bothost.host.workers.siblings import Siblings
    from bothost.pipeline.assembly import Pipeline
    from bothost.pipeline.delivery import Delivery

AGAIN_S = 1.0
"""When a request is handed again that the other process has not said to have, because it was not listening yet."""
LOOK_S = 0.25
"""How often handed requests are looked at: whether their sender is gone, or the bot is elsewhere now."""
MOST_BYTES = 64 << 20
"""How much of bodies may be handed at a time; beyond, a request is answered 503."""
BEYOND_S = 10.0
"""How much longer than the bot's own limits an answer is waited for."""


class HandedRequest(msgspec.Struct, array_like=True, frozen=True):
    """A request on its way to the worker that has its bot. Without a `method` it is a verified delivery of Pyrus."""

    sender: int
    number: int
    bot: str
    body: bytes
    received: float
    """By the monotonic clock, which the processes of a machine share."""
    secret_index: int = 0
    attempt: str = ""
    trace: str = ""
    method: str = ""
    target: str = ""
    headers: list[tuple[str, str]] = []
    peer: str = ""


class HandedAnswer(msgspec.Struct, array_like=True, frozen=True):
    """The answer on its way back: an outcome, or a whole answer of a hook; without both, that the request was taken."""

    number: int
    outcome: Outcome | None = None
    refused: bool = False
    head: bytes = b""
    body: bytes = b""
    word: str = ""


class HandedFate(msgspec.Struct, array_like=True, frozen=True):
    """Tells what became of a request where it arrived: its sender is `gone`, or its answer was `read` or is `unread`."""

    sender: int
    number: int
    word: str


_REQUEST = msgspec.msgpack.Decoder(HandedRequest)
_ANSWER = msgspec.msgpack.Decoder(HandedAnswer)
_FATE = msgspec.msgpack.Decoder(HandedFate)
_encode = msgspec.msgpack.Encoder().encode


class TakenRequest:
    """A request that a sibling has handed here: a `Delivery`, or what the exchange with a hook needs."""

    def __init__(self, told: HandedRequest, bot: Bot, send: Callable[[HandedAnswer], None]) -> None:
        self.bot = bot
        self.body = told.body
        self.secret_index = told.secret_index
        self.attempt = told.attempt
        self.trace = told.trace
        self.received = told.received
        self.peer = told.peer
        self.head = RequestStartLine(told.method, told.target, "HTTP/1.1")
        headers = HTTPHeaders()
        for name, value in told.headers:
            headers.add(name, value)
        self.headers: HTTPHeaders | None = headers
        self.gone = False
        self._number = told.number
        self._send = send

    def respond(self, outcome: Outcome) -> bool:
        """See `Delivery.respond`. That nobody read the answer is heard later, as a fate."""
        return self._answer(HandedAnswer(self._number, outcome))

    def refuse(self, outcome: Outcome) -> None:
        """See `ExchangedRequest.refuse`."""
        self._answer(HandedAnswer(self._number, outcome, refused=True))

    def write_whole(self, head: bytes, body: bytes, word: str) -> None:
        """See `ExchangedRequest.write_whole`."""
        self._answer(HandedAnswer(self._number, head=head, body=body, word=word))

    def _answer(self, answer: HandedAnswer) -> bool:
        if not self.gone:
            self._send(answer)
        return not self.gone


@dataclass(slots=True)
class PendingRequest:
    """A request of this process that a sibling is to answer."""

    delivery: Delivery | HookDelivery
    until: float
    """When it is answered 503, by the monotonic clock."""
    holder: PlaceHolder | None = None
    """The process that was given it."""
    is_taken: bool = False
    """That process has said that it has it."""
    again_at: float = 0.0
    told_gone: bool = False


class HandedRequests:
    """Both ends of the hand-over in one worker. `receive` takes the place of the pipeline's."""

    def __init__(self, siblings: Siblings, places: BotPlaces, pipeline: Pipeline, service: Service) -> None:
        self._siblings = siblings
        self._places = places
        self._pipeline = pipeline
        self._service = service
        self._clock = pipeline.context.clock
        self._pending: dict[int, PendingRequest] = {}
        self._taken: dict[tuple[int, int], TakenRequest] = {}
        self._numbers = 0
        self._bytes = 0
        self._tasks = BackgroundTasks()
        siblings.hears.update(hand=self._take, handed=self._take_answer, fate=self._hear_fate, fell=self._hear_end)

    def begin(self) -> PeriodicJob:
        """Begin to look after what is handed."""
        return PeriodicJob(LOOK_S, self._look, self._pipeline.context.loops, "handing")

    def receive(self, delivery: Delivery | HookDelivery) -> None:
        """Hand a request to the process that has its bot, or let the pipeline of this one have it."""
        bot = delivery.bot
        if not self._is_elsewhere(bot):
            self._pipeline.receive(delivery)
        elif self._bytes + len(delivery.body) > MOST_BYTES:
            self._turn_away(delivery)
        else:
            limit_s = bot.config.answer_within_s + BEYOND_S
            if isinstance(delivery, HookDelivery):
                limit_s += bot.config.timeout_s
            self._add(PendingRequest(delivery, delivery.received + limit_s))

    async def drain(self, limit_s: float, hurry: asyncio.Event) -> None:
        """Wait for the answers to what was handed; answer 503 to the rest at the end."""
        end = self._clock.monotonic() + limit_s
        while self._pending and not hurry.is_set() and self._clock.monotonic() < end:  # noqa: ASYNC110 - once, at a stop
            await asyncio.sleep(0.05)
        for number in list(self._pending):
            self._turn_away(self._close(number))

    def _turn_away(self, delivery: Delivery | HookDelivery) -> None:
        if isinstance(delivery, HookDelivery):
            delivery.refuse(UNAVAILABLE)
        else:
            self._pipeline.context.responses.give(delivery, UNAVAILABLE, 0, 1)

    def _is_elsewhere(self, bot: Bot) -> bool:
        present = self._service.find(bot.name)
        return present is not None and present.state.word == "elsewhere"

    def _add(self, pending: PendingRequest) -> None:
        self._numbers += 1
        self._pending[self._numbers] = pending
        self._bytes += len(pending.delivery.body)
        self._hand(self._numbers, pending)

    def _hand(self, number: int, pending: PendingRequest) -> None:
        delivery = pending.delivery
        pending.holder, pending.is_taken = self._places.holder(delivery.bot.name), False
        pending.again_at = self._clock.monotonic() + AGAIN_S
        if pending.holder is not None:
            self._siblings.tell("hand", _encode(self._told(number, delivery)), to=pending.holder.number)

    def _told(self, number: int, delivery: Delivery | HookDelivery) -> HandedRequest:
        told = HandedRequest(
            self._siblings.worker.number, number, delivery.bot.name, delivery.body, delivery.received,
            delivery.secret_index, delivery.attempt, delivery.trace,
        )  # fmt: skip
        if not isinstance(delivery, HookExchange):
            return told
        request = delivery.request
        headers = list(request.headers.get_all()) if request.headers is not None else []
        return msgspec.structs.replace(
            told, method=request.head.method, target=request.head.path, headers=headers, peer=request.peer
        )

    def _close(self, number: int) -> Delivery | HookDelivery:
        delivery = self._pending.pop(number).delivery
        self._bytes -= len(delivery.body)
        return delivery

    def _look(self) -> None:
        now = self._clock.monotonic()
        for number, pending in list(self._pending.items()):
            bot = pending.delivery.bot
            if not self._is_elsewhere(bot):
                self._pipeline.receive(self._close(number))
            elif now >= pending.until:
                self._turn_away(self._close(number))
            elif pending.holder != self._places.holder(bot.name) or (not pending.is_taken and now >= pending.again_at):
                self._hand(number, pending)
            elif pending.delivery.gone and not pending.told_gone:
                pending.told_gone = True
                self._tell_fate(pending, number, "gone")

    def _tell_fate(self, pending: PendingRequest, number: int, word: str) -> None:
        if pending.holder is not None:
            fate = HandedFate(self._siblings.worker.number, number, word)
            self._siblings.tell("fate", _encode(fate), to=pending.holder.number)

    def _take(self, data: bytes) -> None:
        """Run what a sibling hands here. It is handed again where this process does not have the bot."""
        told = _REQUEST.decode(data)
        bot, key = self._service.find(told.bot), (told.sender, told.number)
        if bot is None or not self._places.holds(told.bot):
            return
        send = partial(self._send_answer, told.sender)
        send(HandedAnswer(told.number))
        if key in self._taken:
            return
        taken = self._taken[key] = TakenRequest(told, bot, send)
        if not told.method:
            self._pipeline.receive(taken)
            return
        match = hooks.find(self._service.registry.by_path, told.target)
        refusal = hooks.refusal(match, told.method, len(told.body)) if match is not None else head_checks.NOT_FOUND
        if match is None or refusal is not None:
            taken.refuse(refusal or head_checks.NOT_FOUND)
        else:
            self._pipeline.receive(HookExchange(taken, match, told.body))

    def _send_answer(self, to: int, answer: HandedAnswer) -> None:
        self._siblings.tell("handed", _encode(answer), to=to)

    def _take_answer(self, data: bytes) -> None:
        answer = _ANSWER.decode(data)
        pending = self._pending.get(answer.number)
        if pending is None:
            return
        if answer.outcome is None and not answer.head:
            pending.is_taken = True
            return
        delivery = self._close(answer.number)
        read = not delivery.gone
        if answer.outcome is None:
            assert isinstance(delivery, HookExchange)
            delivery.request.write_whole(answer.head, answer.body, answer.word)
        elif answer.refused and isinstance(delivery, HookDelivery):
            delivery.refuse(answer.outcome)
        else:
            read = delivery.respond(answer.outcome)
        self._tell_fate(pending, answer.number, "read" if read else "unread")

    def _hear_fate(self, data: bytes) -> None:
        fate = _FATE.decode(data)
        if fate.word == "gone":
            if (taken := self._taken.get((fate.sender, fate.number))) is not None:
                taken.gone = True
            return
        known = self._taken.pop((fate.sender, fate.number), None)
        if known is not None and fate.word == "unread":
            self._was_not_read(known)

    def _was_not_read(self, taken: TakenRequest) -> None:
        """Have an answer that nobody read count as not delivered; a hook's caller asks again by itself."""
        if not taken.head.method:
            with contextlib.suppress(BodyRefused):  # it was answered 400, and there is no event
                key = event_key(taken.bot.name, decode(taken.body))
                self._tasks.spawn(was_not_read(self._pipeline.context, key))

    def _hear_end(self, data: bytes) -> None:
        """Count what a sibling that has ended was answering with as not read."""
        worker = int(data)
        for key in [key for key in self._taken if key[0] == worker]:
            taken = self._taken.pop(key)
            taken.gone = True
            self._was_not_read(taken)
