"""Bring bots into service and set their states: active, tried again, paused, stuck. Only this module sets `bot.state`."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, cast

from bothost.background import reserve, watch
from bothost.bots.registry import BotState
from bothost.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

    from bothost.bots.queue import PermitShare
    from bothost.bots.registry import Bot, Word
    from bothost.clock import Clock
    from bothost.plugins.loading import LoadedPlugin
    from bothost.runners import Runner

    Load = Callable[[Bot], Awaitable[tuple[LoadedPlugin, Runner]]]
    """Load a bot's plugin and open its runner. Raises PluginError and ConfigError."""

log = logging.getLogger("bothost.bots")

PLACE_S = 1.0
"""How often a process looks whether it may open a bot that another process of the host has."""
RETRY_S = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""The pauses between tries to bring a plugin into service. The last one repeats for ever."""


class BotLifecycle:
    """Opens bots and sets their states. A queue gives permits only while its bot is active, so that events wait."""

    def __init__(
        self,
        load: Load,
        clock: Clock,
        in_service: Callable[[], None] = lambda: None,
        share_of: Callable[[Bot], PermitShare | None] = lambda _bot: None,
        takes: Callable[[Bot], bool] = lambda _bot: True,
    ) -> None:
        """`in_service` is called when a bot has begun to serve, so that its timers and polling are looked at. `share_of` gives
        a bot's share of the permits that all processes count together.

        `takes` takes a bot for this process, and returns False while another process of the host has it (`per_host = one`).
        """
        self._share_of = share_of
        self._load = load
        self.takes = takes
        self._clock = clock
        self._in_service = in_service
        self._base: dict[str, BotState] = {}
        """The state that each bot would have if nobody had paused it."""
        self._lost: dict[str, BotState] = {}
        """The states of bots that could not be brought into service, so that a reload's new try is not logged anew."""
        self._paused: dict[str, BotState] = {}
        self._openings: dict[Bot, asyncio.Task[None]] = {}
        self._since: dict[str, tuple[Word, float]] = {}
        """The time since when each bot has been in its last state other than starting."""
        self._halted = False
        self._stuck: set[str] = set()

    def start(self, bot: Bot, before: asyncio.Task[None] | None = None) -> asyncio.Future[None]:
        """Begin to bring a bot into service, and go on trying. The future is done after the first try, failed or not.

        With `before`, the first try waits until that has ended.
        """
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stop_trying(bot)
        self._set(bot, "starting")
        self._begin(bot, self._open(bot, first, before=before))
        return first

    def stop_trying(self, bot: Bot) -> None:
        """Cancel the bot's opening if one is under way."""
        opening = self._openings.pop(bot, None)
        if opening is not None:
            opening.cancel()

    def _begin(self, bot: Bot, opening: Coroutine[object, object, None]) -> None:
        task = self._openings[bot] = reserve(asyncio.get_running_loop().create_task(opening))
        task.add_done_callback(watch)
        task.add_done_callback(lambda done: self._openings.get(bot) is done and self._openings.pop(bot))

    def fail(self, bot: Bot, error: PluginError | ConfigError) -> None:
        """Take a bot out of service because it does not work, and try again to bring it into service."""
        if self._base[bot.name].word in ("active", "stuck"):
            self.stop_trying(bot)
            self._disable_for_now(bot, error)
            self._begin(bot, self._open(bot, asyncio.get_running_loop().create_future(), after_s=RETRY_S[0]))

    async def load(self, bot: Bot) -> tuple[LoadedPlugin, Runner]:
        """Load and open a bot that replaces another, once. Raises PluginError and ConfigError."""
        return await self._load(bot)

    def swapped(self) -> None:
        """Have the timers of a new registry's bots looked at."""
        self._in_service()

    def replace(self, bot: Bot) -> None:
        """Put a loaded bot into service in place of the one of the same name."""
        if not self.keeps_out(bot):
            self._set(bot, "active")

    def keeps_out(self, bot: Bot) -> bool:
        """Return whether the bot stays quarantined as its predecessor was. Only an operator ends a quarantine."""
        base = self._base.get(bot.name)
        if base is None or base.word != "quarantined" or bot.config.run != "process":
            return False
        self._show(bot)
        return True

    async def dismiss(self, bot: Bot) -> None:
        """Take a bot out of service; called after its last run."""
        opening = self._openings.pop(bot, None)
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        if bot.runner is not None:
            await bot.runner.close()

    def disable(self, bot: Bot, word: Word, reason: str) -> None:
        """Take the bot out of service for a wrong section, a quarantined child or `enabled = no`."""
        self.stop_trying(bot)
        self.forget(bot.name)
        self._set(bot, word, reason)

    @property
    def paused(self) -> frozenset[str]:
        """Return the bots that are paused, also those that would not serve without the pause."""
        return frozenset(self._paused)

    def forget(self, name: str) -> None:
        """Forget why a bot was out of service, because it is out of service for another reason."""
        self._lost.pop(name, None)

    def remove(self, name: str) -> None:
        """Forget a bot that is no more: one of that name which is added later begins anew."""
        self.forget(name)
        for kept in (name, f"paused {name}"):
            self._since.pop(kept, None)

    @property
    def times(self) -> Mapping[str, tuple[Word, float]]:
        """Return since when each bot has been in its state, and under `paused NAME` since when it has been paused."""
        return self._since

    def restore_times(self, times: Mapping[str, tuple[str, float]]) -> None:
        """Take over what `times` was before a restart. A bot that comes into the same state again has been in it all along."""
        self._since |= {name: (cast("Word", word), since) for name, (word, since) in times.items()}

    def pause(self, bots: Iterable[Bot], reasons: Mapping[str, str]) -> None:
        """Pause exactly the bots that `reasons` names."""
        for bot in bots:
            reason = reasons.get(bot.name)
            held = self._paused.get(bot.name)
            if reason is None:
                self._since.pop(f"paused {bot.name}", None)
                if held is None:
                    continue
                del self._paused[bot.name]
                log.warning("resumed", extra={"bot": bot.name})
            elif held is None or held.reason != reason:
                now: tuple[Word, float] = ("paused", self._clock.now().timestamp())
                _, since = self._since.setdefault(f"paused {bot.name}", now)
                self._paused[bot.name] = BotState("paused", reason, since)
                log.warning("paused: %s", reason, extra={"bot": bot.name})
            else:
                continue
            self._show(bot)

    def quarantine(self, bot: Bot, reason: str) -> None:
        """Take a bot out of service until an operator resumes it, because its process died too often."""
        self._set(bot, "quarantined", reason)
        log.error("quarantined: %s; `bothost resume %s` tries it again", reason, bot.name, extra={"bot": bot.name})

    def look_for_stuck(self, bots: Iterable[Bot]) -> None:
        """Mark bots whose permits are all held by threads past their time. Cheap if no bot has all permits taken."""
        for bot in bots:
            held = bot.queue.held  # first, because most bots have no run under way, and there may be ten thousand
            if (held and held >= bot.config.permits) or (self._stuck and bot.name in self._stuck):
                self._look_whether_stuck(bot)

    def _look_whether_stuck(self, bot: Bot) -> None:
        base = self._base.get(bot.name)
        if base is None or bot.runner is None or base.word not in ("active", "stuck"):
            return
        places = bot.runner.held()
        if len(places) >= bot.config.permits:
            if base.word == "active":
                self._stuck.add(bot.name)
                self._set(bot, "stuck", _stuck_because(bot, places))
                log.error("stuck: %s", bot.state.reason, extra={"bot": bot.name})
        elif base.word == "stuck":
            self._stuck.discard(bot.name)
            self._set(bot, "active")
            log.warning("no longer stuck", extra={"bot": bot.name})

    def halt(self, bots: Iterable[Bot]) -> None:
        """Begin nothing new from now on. Waiting events stay where they are.

        A bot without a login goes on with last attempts: no later process could post their replies.
        """
        self._halted = True
        for bot in bots:
            if bot.can_log_in:
                bot.queue.resize(0)

    async def _open(
        self, bot: Bot, first: asyncio.Future[None], after_s: float = 0.0, before: asyncio.Task[None] | None = None
    ) -> None:
        tries = 0
        if before is not None:
            await asyncio.wait({before})
        if after_s:
            await asyncio.sleep(after_s)
            tries = 1
        if not await self._has_place(bot, first):
            return
        while not await self._try(bot, tries):
            _settle(first)
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1
        _settle(first)

    async def _has_place(self, bot: Bot, first: asyncio.Future[None]) -> bool:
        """Stand by until this process may open the bot. Returns False where the bot is out of service by then."""
        if self.takes(bot):
            return True
        self._set(bot, "elsewhere", "another process of this host has it")
        _settle(first)
        while not self.takes(bot):  # noqa: ASYNC110 - the end of another process is no event of this loop
            await asyncio.sleep(PLACE_S)
        if self._base[bot.name].word != "elsewhere":
            return False
        log.warning("this process has the bot now, because the one that had it has ended", extra={"bot": bot.name})
        self._set(bot, "starting")
        return True

    async def _try(self, bot: Bot, tries: int) -> bool:
        before_it = bot.runner
        try:
            bot.plugged, bot.runner = await self._load(bot)
        except (PluginError, ConfigError) as error:
            self._disable_for_now(bot, error)
            return False
        except Exception as error:  # around the loop that brings a bot into service: no thread or memory for it now
            log.error("a fault of bothost at the opening of the bot", exc_info=error, extra={"bot": bot.name})
            self._disable_for_now(bot, PluginError(f"[bot:{bot.name}] could not be opened: {error!r}"))
            return False
        self._set(bot, "active")
        if before_it is not None:
            await before_it.close()
        if self._lost.pop(bot.name, None) is not None:
            log.warning("in service again, at try %d", tries + 1, extra={"bot": bot.name})
        return True

    def _disable_for_now(self, bot: Bot, error: PluginError | ConfigError) -> None:
        before = self._lost.get(bot.name)
        trace = "\n".join(getattr(error, "__notes__", ()))
        self._set(bot, "plugin error" if isinstance(error, PluginError) else "config error", str(error), trace)
        now = self._base[bot.name]
        if before is not None and (before.word, before.reason) == (now.word, now.reason):
            self._base[bot.name] = before
            self._show(bot)
            return
        self._lost[bot.name] = now
        extra = {"bot": bot.name, "traceback": trace}
        log.error("%s; tried again in %.0f s", error, RETRY_S[0], extra=extra)

    def _state(self, word: Word, reason: str, trace: str = "") -> BotState:
        return BotState(word, reason, self._clock.now().timestamp(), trace)

    def _set(self, bot: Bot, word: Word, reason: str = "", trace: str = "") -> None:
        base = self._base.get(bot.name)
        if base is None or (base.word, base.reason) != (word, reason):
            self._base[bot.name] = self._state(word, reason, trace)
            known = self._since.get(bot.name)
            if known is not None and known[0] == word:
                # another reason, or a new try at a reload: it has been in this state all along
                self._base[bot.name] = BotState(word, reason, known[1], trace)
            elif word != "starting":
                self._since[bot.name] = (word, self._base[bot.name].since)
        self._show(bot)

    def _show(self, bot: Bot) -> None:
        base = self._base.get(bot.name)
        if base is None:
            return
        paused = self._paused.get(bot.name)
        bot.state = paused if paused is not None and (base.serves or base.word == "starting") else base
        serves = bot.state.word in ("active", "stuck") and not (self._halted and bot.can_log_in)
        bot.queue.resize(bot.config.permits if serves else 0, self._share_of(bot))
        if serves:
            self._in_service()


def _stuck_because(bot: Bot, places: Sequence[str]) -> str:
    """Return how many runs are past which limit, where their threads stand, and what to do."""
    where = ", ".join(f"{count} at {place}" for place, count in Counter(places).most_common())
    return (
        f"every permit ({len(places)}) is held by a run past timeout = {bot.config.timeout_s:g}s ({where}): a thread cannot be "
        f"stopped; `bothost restart {bot.name}` goes on without it; give the handler a time limit of its own or the bot run = process"
    )


def _settle(first: asyncio.Future[None]) -> None:
    if not first.done():
        first.set_result(None)
