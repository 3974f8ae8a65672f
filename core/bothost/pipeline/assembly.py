"""Builds the stages of an event's life by hand, once for each process: for the host, and for the harness."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bothost.background import watch
from bothost.errors import StoreAway
from bothost.pipeline.acknowledgement import Acks
from bothost.pipeline.context import Means
from bothost.pipeline.dispatcher import Dispatch
from bothost.pipeline.event_table import Ledger
from bothost.pipeline.filters import Sieve
from bothost.pipeline.late_replies import Posts
from bothost.pipeline.loop_breaker import Breaker
from bothost.pipeline.poller import Late
from bothost.pipeline.reply_poster import Poster
from bothost.pipeline.responses import Answers, Count, Tell
from bothost.pipeline.runs import Runs
from bothost.pipeline.timers import Timers
from bothost.pyrus_client.api import Pyrus
from bothost.pyrus_client.client import Caller, Terms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from bothost.bots.registry import Bot, Registry
    from bothost.clock import Clock
    from bothost.config import BotConfig
    from bothost.journal import Store
    from bothost.journal.entry import Entry, Timing
    from bothost.pipeline.event_table import Live
    from bothost.pyrus.rest.requests import Request, Response
    from bothost.pyrus_client.client import Line, PyrusClient


@dataclass(frozen=True, slots=True)
class Ground:
    """What a process brings: time, journal, the way to Pyrus, who counts."""

    clock: Clock
    store: Store
    client: PyrusClient
    count: Count
    timing: Timing
    tell: Tell | None = None
    """Takes the log line of each delivery; None: the logger does."""
    hide: Callable[[str], None] = lambda _token: None
    """Told of tokens, which must stand in no log line and no stored traceback."""


@dataclass(frozen=True, slots=True)
class Core:
    """The stages of one process, wired. The store is opened and closed by whoever made it."""

    means: Means
    dispatch: Dispatch
    runs: Runs
    late: Late
    timers: Timers

    async def start(self) -> None:
        """After the store is open: take over what is there, begin the rounds and the ticks."""
        await self.late.start()
        await self.timers.start()

    async def stop(self) -> None:
        """Before the store closes: begin nothing more."""
        await self.timers.stop()
        await self.late.stop()


def build(ground: Ground, registry: Callable[[], Registry], failed: Callable[[Entry], None] | None = None) -> Core:
    """Wire everything around the registry in service at each moment; `failed` is told once of each failed event."""

    def find_bot(name: str) -> Bot | None:
        return registry().by_name.get(name)

    breaker = Breaker(ground.clock, lambda fact, reason: write_behind(ground, fact, reason))
    means = Means(
        store=ground.store,
        ledger=Ledger(),
        clock=ground.clock,
        answers=Answers(ground.clock, ground.count, ground.tell),
        find_bot=find_bot,
        pyrus_for=lambda bot, live: pyrus_of_run(ground, bot, live),
        timing=ground.timing,
        breaker=breaker,
        hide=ground.hide,
        failed=failed or (lambda _entry: None),
    )

    def user_of(name: str) -> int | None:
        bot = find_bot(name)
        return bot.user_id if bot is not None else None

    ground.client.keep = lambda bot, task, comment: spawn(keep_written(ground, (bot, task, comment)))
    posts = Posts(means, Poster(ground.client, ground.store, ground.clock, user_of))
    runs = Runs(means, posts)
    dispatch = Dispatch(means, runs, Acks(means), Sieve(ground.clock, lambda key, value: learn(ground, key, value)))
    return Core(means, dispatch, runs, Late(means, runs, posts, registry), Timers(means, registry))


def pyrus_of_run(ground: Ground, bot: Bot, live: Live) -> Pyrus:
    """`event.pyrus` of one run: the event's newest token, the bot's own login behind it."""
    return Pyrus(Way(ground, bot, live), ground.clock)


class Way:
    """One run's way to Pyrus, made when the first call is sent: most handlers send none."""

    __slots__ = ("_api_url", "_bot", "_ground", "_line", "_live", "_since")

    def __init__(self, ground: Ground, bot: Bot, live: Live) -> None:
        self._ground = ground
        self._bot = bot
        self._live = live
        self._api_url = live.envelope.api_url if live.envelope is not None else ""
        self._since = ground.clock.epoch()
        self._line: Line | None = None

    async def send(self, request: Request, content: Callable[[], AsyncIterator[bytes]] | None = None) -> Response:
        """See `api.Sender`."""
        return await self._there().send(request, content)

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        """See `api.Sender`."""
        return self._there().stream(request)

    def _there(self) -> Line:
        if self._line is None:
            bot, live = self._bot, self._live
            terms = Terms(
                token=live.token,
                api_url=self._api_url,
                user_id=bot.user_id,
                deadline=datetime.fromtimestamp(self._since + bot.config.timeout_s, UTC),
                trace=live.entry.trace,
                key=live.entry.id,
            )
            self._line = self._ground.client.line(caller_of(bot.config), terms)
        return self._line


def pyrus_of_bot(ground: Ground, config: BotConfig) -> Pyrus:
    """`self.pyrus` of a plugin: calls by the bot's login, in no run's name."""
    return Pyrus(ground.client.line(caller_of(config), Terms()), ground.clock)


def caller_of(config: BotConfig) -> Caller:
    """A bot as its calls need it."""
    return Caller(config.name, config.api_url, config.login, config.secrets)


def learn(ground: Ground, key: str, value: str) -> None:
    """Keep a fact that a body told, `user:NAME` or `login:NAME`, in the journal and for the calls of this process."""
    kind, _, name = key.partition(":")
    if kind == "login":
        ground.client.learn(name, value)
    write_behind(ground, key, value)


def write_behind(ground: Ground, key: str, value: str) -> None:
    """Write a fact to the journal without waiting for it."""
    spawn(keep(ground.store, key, value))


def spawn(work: Coroutine[object, object, None]) -> None:
    """Do it beside everything else."""
    asyncio.get_running_loop().create_task(work).add_done_callback(watch)


async def keep_written(ground: Ground, comment: tuple[str, int, int]) -> None:
    """Write that a handler wrote this comment (bot, task, id) itself; tried until the journal takes it, for nothing teaches
    it again."""
    pause_s = ground.timing.retry_beat_s
    while True:
        with contextlib.suppress(StoreAway):
            await ground.store.wrote(*comment)
            return
        await ground.store.wait_hint(pause_s)
        pause_s = min(pause_s * 2, 60.0)


async def keep(store: Store, key: str, value: str) -> None:
    """Write a learnt fact; a later body teaches it again where the journal is away now."""
    try:
        await store.control(key, value)
    except StoreAway:
        return
