"""Build the stages of an event's life, once for each process, for the host and for the harness."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from bothost.background import BackgroundTasks
from bothost.errors import JournalAway
from bothost.journal.data import JournalData
from bothost.pipeline.context import PipelineContext, limit_of
from bothost.pipeline.dispatcher import Dispatcher
from bothost.pipeline.event_table import EventTable
from bothost.pipeline.filters import EventFilter
from bothost.pipeline.hooks import HookDelivery, Hooks
from bothost.pipeline.journal_poller import JournalPoller
from bothost.pipeline.late_replies import LateReplies
from bothost.pipeline.loop_breaker import LoopBreaker
from bothost.pipeline.polling import Polling
from bothost.pipeline.reply_poster import ReplyPoster
from bothost.pipeline.responses import PipelineMetrics, Responses, Tell
from bothost.pipeline.stored_content import begin_soon
from bothost.pipeline.ticks import Timers
from bothost.pyrus_client.api import Pyrus
from bothost.pyrus_client.client import CallingBot
from bothost.pyrus_client.session import PyrusSession, SessionTerms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bothost.background import SupervisedLoops
    from bothost.bots.registry import Bot, Service
    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.config.values import AccountConfig
    from bothost.journal import Journal
    from bothost.journal.data import BotData
    from bothost.journal.entry import Entry, JournalTiming
    from bothost.pipeline.delivery import Delivery
    from bothost.pipeline.event_table import TrackedEvent
    from bothost.pipeline.runs import Runs
    from bothost.pyrus.rest.requests import ApiRequest, ApiResponse
    from bothost.pyrus_client.client import PyrusClient


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """The resources of a process: time, journal, the client of Pyrus, the counters."""

    clock: Clock
    journal: Journal
    client: PyrusClient
    count: PipelineMetrics
    timing: JournalTiming
    loops: SupervisedLoops
    tell: Tell | None = None
    """Takes the log line of each delivery; None for the logger."""
    hide: Callable[[str], None] = lambda _token: None
    """Told of tokens, which must stand in no log line and no stored traceback."""
    discloses: Callable[[str], bool] = lambda _text: False
    """Tells whether a token or a secret stands in a text that a plugin wants to store."""
    beside: BackgroundTasks = field(default_factory=BackgroundTasks)
    """The tasks that write facts behind."""


REFUSED_LOGIN = "refused-login:"
"""Begins the fact that Pyrus has refused a bot's learnt login, which is its value."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of one process, wired. The maker of the journal opens and closes it."""

    context: PipelineContext
    dispatch: Dispatcher
    runs: Runs
    poller: JournalPoller
    timers: Timers
    polling: Polling
    hooks: Hooks

    def receive(self, delivery: Delivery | HookDelivery) -> None:
        """Take a verified delivery, or a request to a hook. Each is answered once, now or later."""
        if isinstance(delivery, HookDelivery):
            self.hooks.receive(delivery)
        else:
            self.dispatch.receive(delivery)

    async def start(self) -> None:
        """Take over the events in the open journal, and begin the rounds and the ticks."""
        await self.poller.start()
        await self.timers.start()
        await self.polling.start()

    def in_service(self) -> None:
        """Begin the due ticks and the round of polling of a bot that has come into service."""
        self.timers.wake()
        self.polling.wake()

    async def stop(self) -> None:
        """Begin nothing more, because the journal is about to close."""
        await self.polling.stop()
        await self.timers.stop()
        await self.poller.stop()


def build(resources: ProcessResources, service: Service, failed: Callable[[Entry], None] | None = None) -> Pipeline:
    """Return the wired stages. They ask `service` for the present registry, and call `failed` once for each failed event."""
    find_bot, registry = service.find, service.present
    loop_breaker = LoopBreaker(resources.clock)
    context = PipelineContext(
        journal=resources.journal,
        event_table=EventTable(),
        clock=resources.clock,
        responses=Responses(resources.clock, resources.count, resources.tell),
        find_bot=find_bot,
        pyrus_for=partial(pyrus_of_run, resources),
        timing=resources.timing,
        now=resources.journal.now,
        loops=resources.loops,
        loop_breaker=loop_breaker,
        hide=resources.hide,
        failed=failed or (lambda _entry: None),
    )

    def user_of(name: str) -> int | None:
        bot = find_bot(name)
        return bot.user_id if bot is not None else None

    late_replies = LateReplies(context, ReplyPoster(resources.client, resources.journal, user_of))
    event_filter = EventFilter(resources.clock, lambda key, value: learn(resources, key, value))
    dispatch = Dispatcher(context, late_replies, event_filter)
    poller = JournalPoller(context, dispatch.runs, late_replies, registry)

    def session_of(bot: Bot) -> PyrusSession:
        return PyrusSession(resources.client, caller_of(bot.config), SessionTerms())

    polling = Polling(context, registry, event_filter, session_of)
    hooks = Hooks(
        context, lambda bot: pyrus_of_request(resources, bot), lambda: resources.beside.spawn(begin_soon(poller.look))
    )
    return Pipeline(context, dispatch, dispatch.runs, poller, Timers(context, registry), polling, hooks)


def pyrus_of_run(resources: ProcessResources, bot: Bot, tracked: TrackedEvent, ends_at: float) -> Pyrus:
    """Return `event.pyrus` of one run. It uses the event's newest token, then the bot's login, and ends with the run."""
    api_url = tracked.envelope.api_url if tracked.envelope is not None else ""
    return Pyrus(LazySession(resources, bot, tracked, api_url, ends_at), resources.clock)


class LazySession(msgspec.Struct, eq=False):
    """One run's session with Pyrus, made when the first call is sent because most handlers send none."""

    resources: ProcessResources
    bot: Bot
    tracked: TrackedEvent
    api_url: str
    ends_at: float
    session: PyrusSession | None = None

    async def send(self, request: ApiRequest, content: Callable[[], AsyncIterator[bytes]] | None = None) -> ApiResponse:
        """See `api.CallSender`."""
        return await self._there().send(request, content)

    def stream(self, request: ApiRequest) -> AsyncIterator[bytes]:
        """See `api.CallSender`."""
        return self._there().stream(request)

    def _there(self) -> PyrusSession:
        if self.session is None:
            bot, tracked = self.bot, self.tracked
            terms = SessionTerms(
                token=tracked.token,
                api_url=self.api_url,
                user_id=bot.user_id,
                ends_at=self.ends_at,
                trace=tracked.entry.trace,
                key=tracked.entry.id,
            )
            self.session = PyrusSession(self.resources.client, caller_of(bot.config), terms)
        return self.session


def pyrus_of_request(resources: ProcessResources, bot: Bot) -> Pyrus:
    """Return the API for a hook whose caller waits. It uses the bot's login for as long as the run may take."""
    terms = SessionTerms(user_id=bot.user_id, ends_at=resources.clock.monotonic() + bot.config.timeout_s)
    return Pyrus(PyrusSession(resources.client, caller_of(bot.config), terms), resources.clock)


def pyrus_of_bot(client: PyrusClient, config: BotConfig) -> Pyrus:
    """Return `self.pyrus` of a plugin. It uses the bot's login, and its calls belong to no run."""
    accounts = {
        account.name: PyrusSession(client, caller_as(config, account), SessionTerms()) for account in config.accounts
    }
    return Pyrus(PyrusSession(client, caller_of(config), SessionTerms()), client.clock, accounts=accounts)


def caller_as(config: BotConfig, account: AccountConfig) -> CallingBot:
    """Return the value that a bot's calls as another account need."""
    return CallingBot(config.name, account.api_url or config.api_url, account.login, account.keys)


def data_of_bot(resources: ProcessResources, config: BotConfig) -> BotData:
    """Return the part of the journal that belongs to a bot's plugin."""
    return JournalData(resources.journal, config.name, resources.clock, limit_of(config), resources.discloses)


def caller_of(config: BotConfig) -> CallingBot:
    """Return the value that a bot's calls need."""
    return CallingBot(config.name, config.api_url, config.login, config.secrets)


def learn(resources: ProcessResources, key: str, value: str) -> None:
    """Keep a fact of a body, `user:NAME` or `login:NAME`, in the journal and for the calls of this process."""
    kind, _, name = key.partition(":")
    if kind == "login":
        if name in resources.client.refused:
            write_behind(resources, REFUSED_LOGIN + name, None)
        resources.client.learn(name, value)
    write_behind(resources, key, value)


def write_behind(resources: ProcessResources, key: str, value: str | None) -> None:
    """Write a fact to the journal, or remove it (None), without waiting for it."""
    resources.beside.spawn(keep(resources.journal, key, value))


async def keep(journal: Journal, key: str, value: str | None) -> None:
    """Write a learnt fact, or remove it. If the journal is away now, a later body brings it again."""
    try:
        await journal.control(key, value)
    except JournalAway:
        return
