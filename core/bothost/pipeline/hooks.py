"""Take requests to the hooks of bots: check the guard, then answer while the caller waits, or journal and answer 202.

Nothing of a request is parsed before its guard has passed. An accepted request is an entry that runs as parked events do.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING

import msgspec

from bothost.background import reserve, watch
from bothost.bots.queue import QueueTicket
from bothost.errors import JournalAway, RequestRefused
from bothost.journal.data import quoted
from bothost.journal.entry import Entry
from bothost.pipeline.context import limit_of
from bothost.pipeline.delivery import NOTHING, UNAVAILABLE, Outcome
from bothost.plugins.event import RunContext
from bothost.plugins.guards import FunctionGuard, passes, without_secret
from bothost.plugins.hook_methods import pointed_key
from bothost.plugins.http import ResponseMessage
from bothost.runners import Admission, HookRun, broken

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from bothost.bots.registry import Bot
    from bothost.pipeline.context import PipelineContext
    from bothost.plugins.hook_methods import HookRule
    from bothost.plugins.http import RawRequest
    from bothost.pyrus_client.api import Pyrus
    from bothost.runners import RunEnded, RunFailure, RunResult

log = logging.getLogger("bothost.hooks")

MOST_WAITING_BYTES = 64 << 20
"""The most bytes of bodies that may wait for a permit of one bot."""
ADMIT_S = 10.0
"""The seconds that the plugin's functions may take to say whether a request may come in."""
LOOK_S = 0.05
"""The seconds between two looks whether a starting bot has its plugin."""
LONGEST_ID = 1000
"""The longest id. A longer key stands in the entry's id as its digest."""


class HookDelivery:
    """One complete request to a hook; it can wait with deliveries while the host starts.

    No `ABC`, because every delivery is asked whether it is one, and of an `ABC` this is asked in Python.
    """

    bot: Bot
    """Whose path it came by."""
    rule: HookRule
    """The rule of the hook, once that is known."""
    is_known: bool
    """True if the rule is known. It is not while the bot's plugin is still being loaded."""
    body: bytes
    secret_index = 0
    attempt = ""
    trace = ""

    @property
    @abstractmethod
    def gone(self) -> bool:
        """Return whether its connection is known to be closed."""

    @property
    @abstractmethod
    def received(self) -> float:
        """Return the time when its headers were read, by the monotonic clock."""

    @abstractmethod
    def raw(self, received: float) -> RawRequest:
        """Return the request as it came; `received` is in epoch seconds."""

    @abstractmethod
    def resolve(self) -> Outcome | None:
        """Find the hook of a bot that is loaded by now; return the answer if there is none for the request."""

    @abstractmethod
    def respond(self, outcome: Outcome) -> bool:
        """Write an outcome as a delivery's, once; False if no connection was open any more."""

    @abstractmethod
    def answer(self, message: ResponseMessage, word: str) -> None:
        """Write the response, once. `word` is the outcome for logs and metrics."""

    @abstractmethod
    def refuse(self, outcome: Outcome) -> None:
        """Refuse it as a delivery is refused: counted, logged, answered."""


REFUSED = Outcome(403, NOTHING, "refused-guard")


@dataclass(slots=True)
class _HookCall:
    """One request with what its stages need."""

    delivery: HookDelivery
    request: RawRequest
    id: str
    is_answered: bool = False


class Hooks:
    """Takes requests to hooks; each is answered once, at once or later."""

    def __init__(
        self,
        context: PipelineContext,
        pyrus_for: Callable[[Bot], Pyrus],
        begin_due: Callable[[], None],
    ) -> None:
        self._context = context
        self._pyrus_for = pyrus_for
        self._begin_due = begin_due
        self._draining = False
        self._pending: set[asyncio.Event] = set()
        """The events that end the waiting of requests for a permit."""
        self.serving: set[asyncio.Task[None]] = set()
        """Requests that are not answered yet."""

    def receive(self, delivery: HookDelivery) -> None:
        """Check the guard, then accept or answer; while the bot starts, wait for its plugin as deliveries do."""
        if delivery.is_known:
            self._check(delivery)
        else:
            self._spawn(self._check_when_loaded(delivery))

    async def _check_when_loaded(self, delivery: HookDelivery) -> None:
        clock, bot = self._context.clock, delivery.bot
        until = delivery.received + bot.config.answer_within_s
        size = len(delivery.body)
        if bot.queue.waiting_bytes + size > MOST_WAITING_BYTES:
            delivery.refuse(UNAVAILABLE)
            return
        bot.queue.waiting_bytes += size
        while bot.state.word == "starting" and clock.monotonic() < until and not self._draining:  # noqa: ASYNC110 - see below
            await asyncio.sleep(LOOK_S)  # the state is set in many places, and this wait is rare
        bot.queue.waiting_bytes -= size
        refusal = delivery.resolve()
        if refusal is not None:
            delivery.refuse(refusal)
        else:
            self._check(delivery)

    def _check(self, delivery: HookDelivery) -> None:
        request = delivery.raw(self._context.now())
        guard = delivery.rule.guard
        if not isinstance(guard, FunctionGuard) and not passes(guard, request, self._context.now()):
            self._refuse(delivery)
            return
        call = _HookCall(delivery, request, f"{delivery.bot.name}:0:request:{token_hex(8)}")
        self._spawn(self._serve(call), lambda done: self._answer_after_fault(call, done))

    def _spawn(self, work: Coroutine[object, object, None], *after: Callable[[asyncio.Task[None]], None]) -> None:
        task = reserve(asyncio.get_running_loop().create_task(work))
        self.serving.add(task)
        for one in (self.serving.discard, watch, *after):
            task.add_done_callback(one)

    def _answer_after_fault(self, call: _HookCall, done: asyncio.Task[None]) -> None:
        """Answer 500 where a fault of bothost, which `watch` logs, would leave the caller waiting."""
        if not done.cancelled() and done.exception() is not None and not call.is_answered:
            self._say(call, 500, "failed")

    def drain(self) -> None:
        """Begin nothing more. Requests that wait for a permit are answered 503, and runs go on."""
        self._draining = True
        for event in self._pending:
            event.set()

    def cut(self) -> None:
        """End the runs that are left at the end of a drain."""
        for task in self.serving:
            task.cancel()

    async def _serve(self, call: _HookCall) -> None:
        delivery, rule = call.delivery, call.delivery.rule
        if delivery.bot.runner is None or self._draining:
            self._say(call, 503, "unavailable")
            return
        admission = await self._admitted(call)
        if admission is None:
            return
        if not admission.passes:
            self._refuse(delivery)
        elif admission.refused:
            self._say(call, 400, "bad-request", error=admission.refused)
        elif rule.accepts:
            await self._accept(call, admission.key)
        elif delivery.bot.state.broken or not delivery.bot.state.serves:
            self._say(call, 503, "unavailable")
        else:
            await self._answer(call)

    async def _admitted(self, call: _HookCall) -> Admission | None:
        """Return the judgement of a request, with its key; None if it was answered already."""
        rule = call.delivery.rule
        if not rule.asks:
            if not rule.pointer:
                return Admission(passes=True)
            try:
                return Admission(passes=True, key=pointed_key(rule, call.request.body))
            except RequestRefused as error:
                return Admission(passes=True, refused=str(error))
        with _busy(call.delivery.bot):
            ran = await self._work(call, HookRun(call.request, admits=True), ADMIT_S, _no_permit)
        if ran.failure is not None:
            self._failed(call, ran.failure)
            return None
        admission = msgspec.msgpack.decode(ran.reply, type=Admission)
        if admission.passes and rule.pointer:
            try:
                return Admission(passes=True, key=pointed_key(rule, call.request.body))
            except RequestRefused as error:
                return Admission(passes=True, refused=str(error))
        return admission

    async def _accept(self, call: _HookCall, key: str) -> None:
        """Journal the request, then answer 202; the same key again is answered with the same id and runs no second time."""
        context, bot, rule = self._context, call.delivery.bot, call.delivery.rule
        now = context.now()
        entry = Entry(
            id=entry_id(bot.name, rule.name, key), bot=bot.name, kind="request", state="ready", door="api", due=now,
            created=now, updated=now, limit_s=limit_of(bot.config) if context.journal.claims_first else 0.0,
        )  # fmt: skip
        secrets = bot.plugged.secrets if bot.plugged is not None else ()
        content = msgspec.msgpack.encode(without_secret(rule.guard, call.request, secrets))
        try:
            row = await context.journal.put(entry, content)
        except JournalAway as error:
            log.warning("hook %s: the journal is away: %s", rule.name, error, extra={"bot": bot.name})
            self._say(call, 503, "unrecorded")
            return
        body = msgspec.json.encode({"id": row.id})
        word = "accepted" if row is entry else "repeat"
        self._answered(call, ResponseMessage(202, [("Content-Type", "application/json")], body), word)
        self._begin_due()

    async def _answer(self, call: _HookCall) -> None:
        """Run the handler while the caller waits, with a permit of the bot."""
        bot = call.delivery.bot
        size = len(call.request.body)
        if bot.queue.waiting_bytes + size > MOST_WAITING_BYTES:
            self._say(call, 503, "busy")
            return
        ticket = await self._permit(bot, size)
        if ticket is None or call.delivery.gone or bot.runner is None:
            if ticket is not None:
                ticket.leave()
            self._say(call, 503, "busy")
            return
        try:
            ran = await self._run(call, ticket)
        except asyncio.CancelledError:
            self._say(call, 503, "unavailable")
            return
        if ran.failure is not None:
            self._failed(call, ran.failure)
        else:
            self._answered(call, msgspec.msgpack.decode(ran.reply, type=ResponseMessage), "answered")

    async def _permit(self, bot: Bot, size: int) -> QueueTicket | None:
        """Wait for a permit as long as a delivery waits for its answer, and return its ticket; None if there was none."""
        granted = asyncio.Event()
        ticket = QueueTicket(None, granted.set)
        bot.queue.waiting_bytes += size
        self._pending.add(granted)
        try:
            bot.queue.enter(ticket)
            async with asyncio.timeout(bot.config.answer_within_s):
                await granted.wait()
        except TimeoutError:
            pass
        finally:
            self._pending.discard(granted)
            bot.queue.waiting_bytes -= size
            if not ticket.has_permit:
                ticket.leave()
        return ticket if ticket.has_permit else None

    async def _run(self, call: _HookCall, ticket: QueueTicket) -> RunResult:
        bot, context = call.delivery.bot, self._context
        began = context.clock.monotonic()
        bot.busy += 1

        def ended(returned: bytes = b"{}") -> None:
            del returned
            # without it a new instance of the plugin has taken over, and the permit was given back then
            if ticket.has_permit:
                bot.busy -= 1
                ticket.free_permit()

        ran = await self._work(call, HookRun(call.request, answers=True), bot.config.timeout_s, ended)
        failed = ran.failure is not None and ran.failure.why != "refused"
        context.responses.count.run(bot.name, context.clock.monotonic() - began, failed)
        return ran

    async def _work(self, call: _HookCall, given: HookRun, limit_s: float, ended: RunEnded) -> RunResult:
        """Call the plugin and return the result, also a failed one where no thread, process or memory was available."""
        bot = call.delivery.bot
        assert bot.runner is not None
        try:
            return await bot.runner.work(given, self._run_context(call, limit_s), limit_s, ended)
        except Exception as error:  # around the runner's machinery: the caller gets an answer and the permit comes back
            log.exception("the hook %s could not be run", call.delivery.rule.name, extra={"bot": bot.name})
            ended()
            return broken(bot.name, error)

    def _run_context(self, call: _HookCall, limit_s: float) -> RunContext:
        bot, clock = call.delivery.bot, self._context.clock
        return RunContext(
            id=call.id,
            bot=bot.name,
            attempt=1,
            rerun="",
            deadline=clock.now() + timedelta(seconds=limit_s),
            clock=clock,
            user_id=bot.user_id,
            pyrus=self._pyrus_for(bot),
            store=bot.plugged.store if bot.plugged is not None else None,
        )

    def _failed(self, call: _HookCall, failure: RunFailure) -> None:
        if failure.why == "refused":
            self._say(call, 400, "bad-request", error=failure.text)
            return
        log.error("%s", failure.text, extra={"bot": call.delivery.bot.name, "traceback": failure.trace})
        self._say(call, 500, "failed")

    def _refuse(self, delivery: HookDelivery) -> None:
        self._context.responses.count.hook(delivery.bot.name, delivery.rule.name, REFUSED.word)
        delivery.refuse(REFUSED)

    def _say(self, call: _HookCall, status: int, word: str, error: str = "") -> None:
        body = msgspec.json.encode({"error": error or word.replace("-", " ")})
        self._answered(call, ResponseMessage(status, [("Content-Type", "application/json")], body), word)

    def _answered(self, call: _HookCall, message: ResponseMessage, word: str) -> None:
        delivery, context = call.delivery, self._context
        bot, rule = delivery.bot.name, delivery.rule.name
        word = "gone" if delivery.gone else word
        call.is_answered = True
        delivery.answer(message, word)
        context.responses.count.hook(bot, rule, word)
        ms = round((context.clock.monotonic() - delivery.received) * 1000, 1)
        level = logging.INFO if message.status < 500 else logging.WARNING
        extra = {"bot": bot, "hook": rule, "outcome": word, "status": message.status, "ms": ms}
        log.log(level, "hook", extra=extra)


def entry_id(bot: str, hook: str, key: str) -> str:
    """Return the id of an accepted request. The same key gives the same id."""
    shown = quoted(key)
    if len(shown) > LONGEST_ID:
        shown = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{bot}:0:hook:{quoted(hook)}:{shown}"


@contextmanager
def _busy(bot: Bot) -> Iterator[None]:
    """Keep a reload from closing the runner while the plugin's code is asked."""
    bot.busy += 1
    try:
        yield
    finally:
        bot.busy -= 1


def _no_permit(returned: bytes = b"{}") -> None:
    """Nothing waits for the end of an admission."""
    del returned
