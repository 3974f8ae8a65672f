"""Let a test use a bot: deliver to it, run its timers, look at its plugin."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bothost.errors import BodyRefused
from bothost.pipeline.event_table import base_of
from bothost.plugins.event import Event, RunContext
from bothost.plugins.explained import explained_methods
from bothost.plugins.jobs import Jobs
from bothost.pyrus.envelope import decode, event_key
from bothost.pyrus.signature import SIGNATURE_HEADER, sign
from bothost.testing import checks
from bothost.testing.answer import Answer
from bothost.testing.factories import body as body_of
from bothost.testing.factories import encode
from bothost.testing.hook_calls import HookAnswer, HookCallContent
from bothost.testing.memory_http import MemoryConnection, RequestHead
from bothost.testing.people import BotItself
from bothost.testing.sent_deliveries import DeliverySender

if TYPE_CHECKING:
    import asyncio

    from bothost.bots.registry import Bot
    from bothost.plugins.jobs import Job
    from bothost.runners import RunFailure
    from bothost.testing.harness_state import HarnessState
    from bothost.testing.host import HarnessSection
    from bothost.testing.memory_http import WrittenResponse
    from bothost.testing.recording import WatchedRunner

ATTEMPTS = 3
ANSWER_SLACK_S = 60.0


@explained_methods
class Pending:
    """A delivery that may not have its answer yet; see `HarnessBot.begin`."""

    def __init__(self, bot: HarnessBot, wire: MemoryConnection, body: bytes, since: int) -> None:
        self._bot = bot
        self._wire = wire
        self._body = body
        self._since = since
        """The number of the log book's first line that belongs to this delivery."""

    @property
    def answered(self) -> bool:
        """Return whether the answer is there."""
        return self._wire.done.done()

    def hang_up(self) -> None:
        """Close the sender's connection, so that no answer reaches it."""
        self._wire.close()

    def answer(self) -> Answer:
        """Move the clock as far as needed, and return the answer. Raises AssertionError for a reply that Pyrus would refuse."""
        bot = self._bot
        wire = self._wire

        async def done() -> None:
            await wire.done

        if not self.answered:
            bot.state.turn(done(), limit_s=bot.bot.config.answer_within_s + ANSWER_SLACK_S)
        if bot.refused:
            raise AssertionError(bot.refused.pop(0))
        return Answer(wire.done.result(), lambda: bot.failure_of(self._body), lambda: bot.log(self._since))


@explained_methods
class HarnessBot:
    """A bot under test, as `bothost.bot(…)` returns it.

    `plugin` is the instance (or function) that answers, and `person` is the bot in Pyrus.
    """

    def __init__(
        self,
        state: HarnessState,
        served: tuple[Bot, WatchedRunner],
        origin: tuple[Any, HarnessSection],
        person: Mapping[str, Any],
    ) -> None:
        self.state = state
        self.bot, self.runner = served
        self.origin = origin
        """The arguments that it was made of. A restart puts it into service again with them."""
        self.person = dict(person)
        self.refused: list[str] = []
        """The reasons why Pyrus would refuse replies, of which the test has not been told yet."""
        self._last: tuple[bytes, int] | None = None

    @property
    def name(self) -> str:
        """Return the section's name."""
        return self.bot.name

    @property
    def plugin(self) -> Any:
        """Return the plugin's instance, to look at its state."""
        assert self.bot.plugged is not None
        return self.bot.plugged.instance

    def deliver(self, of: Mapping[str, Any] | bytes, attempt: int | str | None = 1) -> Answer:
        """Deliver a task, a body or bytes, signed, and return the answer.

        `attempt` becomes `X-Pyrus-Retry: n/3`; a string is sent as it is, None not at all.
        """
        return self.begin(of, attempt).answer()

    def redeliver(self) -> Answer:
        """Deliver the same event as the next attempt, as Pyrus does after 61 s without a good answer."""
        body, attempt = self._need_last()
        return self.deliver(body, attempt + 1)

    def begin(self, of: Mapping[str, Any] | bytes, attempt: int | str | None = 1, *, hang_up: bool = False) -> Pending:
        """Deliver, and run everything that is due at this instant. The answer may come later (`.answer()`).

        With `hang_up` the sender closes its connection as soon as it has sent, so that no answer reaches it.
        """
        if isinstance(attempt, bool) or not isinstance(attempt, int | str | None):
            checks.wrong("attempt", attempt, "a number, a text such as 2/3, or None")
        body = self.as_body(of)
        self._last = (body, attempt if isinstance(attempt, int) else 1)
        headers = {SIGNATURE_HEADER: sign(body, self.bot.config.secrets[0]), "User-Agent": "Pyrus-Bot-4"}
        if attempt is not None:
            headers["X-Pyrus-Retry"] = f"{attempt}/{ATTEMPTS}" if isinstance(attempt, int) else attempt
        return self.send(body, headers, hang_up=hang_up)

    def send(self, body: bytes, headers: Mapping[str, str], *, hang_up: bool = False) -> Pending:
        """Post bytes with these headers and no others, for requests that Pyrus would never make."""
        host, side = self.state.host, self.state.side
        sent = side.send(DeliverySender(self.name, self.person, self.bot.config.secrets[0].decode()), body)

        def read(done: asyncio.Future[WrittenResponse]) -> None:
            why = side.read(sent, done.result()) if sent is not None else ""
            if why:
                self.refused.append(
                    f"Pyrus would refuse the reply of {self._handler_of(body)}: {why}\nthe reply: {done.result().body.decode()}"
                )

        async def start() -> MemoryConnection:
            wire = MemoryConnection()
            wire.cut = hang_up
            wire.post(host.front, RequestHead(self.bot.config.path, headers), body)
            wire.done.add_done_callback(read)
            return wire

        since = len(self.state.book.lines)
        return Pending(self, self.state.turn(start()), body, since)

    def tick(self, timer: str) -> None:
        """Run a timer now. Raises AssertionError from the exception that it raised."""
        before = len(self.runner.runs)
        self.state.turn(self.state.host.tick(self.bot, timer))
        for run in self.runner.runs[before:]:
            if run.id.startswith(f"timer:{timer}:") and run.ran.failure is not None:
                raise AssertionError(f"{timer} failed: {run.ran.failure.text}") from run.ran.failure.error

    def hook(  # noqa: PLR0913 - the author's API names each
        self,
        name: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "",
        sign: bool = True,
    ) -> HookAnswer:
        """Make a request to a hook, signed by its guard, and return its answer. The run of an accepted request has ended then.

        The content is `json`, or `form` and `files={"file": ("name.pdf", b"…")}`, or `body`. `sign=False` shows nothing to
        the guard. Raises TypeError for content that no request could have.
        """
        content = HookCallContent(json, form, files, body, query, headers)
        spec = self.bot.plugged.hook(name) if self.bot.plugged is not None else None
        rule = spec.rule if spec is not None else None
        state, host = self.state, self.state.host
        guard = rule.guard if rule is not None and sign else None
        asked, sent, made = content.request(guard, host.clock.epoch())
        target = f"{self.bot.config.path}/{name}" + (f"?{asked}" if asked else "")
        head = RequestHead(
            target, sent, checks.text("method", method) or (rule.methods[0] if rule is not None else "POST")
        )

        async def call() -> WrittenResponse:
            wire = MemoryConnection()
            wire.post(host.front, head, made)
            return await wire.done

        return HookAnswer(state.turn(call(), limit_s=self.bot.config.timeout_s + ANSWER_SLACK_S))

    def jobs(self) -> tuple[Job, ...]:
        """Return the jobs that wait, by their time."""

        async def listed() -> tuple[Job, ...]:
            store = self.bot.plugged.store if self.bot.plugged is not None else None
            assert store is not None
            return await Jobs(store.data, store.call_loop, frozenset()).list()

        return tuple(sorted(self.state.turn(listed()), key=lambda job: job.due))

    def as_body(self, of: Mapping[str, Any] | bytes) -> bytes:
        """Return the body that would be posted.

        Bytes stay as they are, a body is encoded, and a task gets an envelope with this bot's id and token.
        """
        if isinstance(of, bytes):
            return of
        if not isinstance(of, Mapping):
            checks.wrong("what is delivered", of, "a task(…), a body(…) or bytes")
        if "task" in of or "task_id" in of:
            return encode(of)
        return encode(body_of(self._addressed(of), user_id=self.person["id"], access_token=self.token))

    @property
    def token(self) -> str:
        """Return the access token that deliveries carry."""
        return f"test-token-{self.name}"

    def log(self, since: int = 0) -> str:
        """Return the log lines of this bot and of the host, from a line on."""
        return "\n".join(self.state.book.of(self.name, since))

    def failure_of(self, body: bytes) -> RunFailure | None:
        """Return the failure of a delivered event's newest run; None if it did not fail."""
        try:
            key = event_key(self.name, decode(body))
        except BodyRefused:
            return None
        newest = next((run for run in reversed(self.runner.runs) if base_of(run.id) == key), None)
        return newest.ran.failure if newest is not None else None

    def _handler_of(self, body: bytes) -> str:
        """Name the handler that answers a body, with its file and line."""
        plugged, time = self.bot.plugged, self.state.time
        assert plugged is not None
        context = RunContext("", self.name, 1, "", time.now(), time, self.person["id"], None)
        call = plugged.handler_for(Event(decode(body), context)).call
        code = getattr(inspect.unwrap(getattr(call, "__func__", call)), "__code__", None)
        name = getattr(call, "__qualname__", repr(call))
        return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name

    def _need_last(self) -> tuple[bytes, int]:
        assert self._last is not None, "nothing was delivered yet: redeliver() repeats the last deliver()"
        return self._last

    def _addressed(self, value: Any) -> Any:
        """Return the value with this bot in the place of "the bot that gets the task"."""
        if isinstance(value, BotItself):
            return self.person
        if isinstance(value, Mapping):
            return {key: self._addressed(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._addressed(item) for item in value]
        return value
