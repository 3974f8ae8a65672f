"""Reload bots.ini: rebuild the bots whose sections changed and swap them in, or keep the old ones and say why."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Protocol

from bothost.background import BackgroundTasks
from bothost.bots.queue import BotQueue
from bothost.bots.registry import Bot, Registry
from bothost.errors import ConfigError, PluginError
from bothost.plugins.discovery import newer_than, upgrade_note
from bothost.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bothost.background import SupervisedLoops
    from bothost.bots.lifecycle import BotLifecycle
    from bothost.bots.registry import Service
    from bothost.config import BotConfig, ConfigReading, HostConfig

log = logging.getLogger("bothost.reload")

LOOK_S = 1.0
LAST_RUN_S = 0.2
"""The interval at which a replaced bot is looked at until its last run has ended."""
MOST_NAMES = 100
"""The number of bots that one log line names."""
NOTHING = "nothing has changed"
NOT_RESTARTED = "not restarted: "
"""Begins what a process says when a bot did not come into service anew."""
LIVE = frozenset({"operator_token", "operator_read_token", "public_url", "path", "port_from_env", "log_level"})
"""The fields of [host] that a reload applies. A change of any other is logged, because it takes a restart."""


class ConfigSource(Protocol):
    """The source of readings: bots.ini and the files it names."""

    def read(self) -> ConfigReading:
        """Read everything now."""

    def digest(self, reading: ConfigReading) -> str:
        """Compute the present digest of a reading. Asked each second."""


class Reloader:
    """Swaps changed bots in. `fresh` gets each accepted reading, because TLS and hidden secrets depend on it too."""

    def __init__(
        self,
        source: ConfigSource,
        reading: ConfigReading,
        service: Service,
        lifecycle: BotLifecycle,
        fresh: Callable[[ConfigReading], None],
        loops: SupervisedLoops,
    ) -> None:
        self._source = source
        self.reading = reading
        """The last one that was accepted."""
        self._service = service
        self._lifecycle = lifecycle
        self._fresh = fresh
        self._lock = asyncio.Lock()
        self._loops = loops
        self._tasks = BackgroundTasks()
        self._spawn = self._tasks.spawn
        self.problems: dict[str, str] = {}
        """The reason for each bot whose newest section is not in service. The empty name stands for the file or [host]."""
        self.changes = ""
        """What the last reload did to which bots; "" before the first."""
        self.retiring: set[Bot] = set()
        """Bots that were replaced or removed and are not closed yet."""
        self.restarts: dict[str, tuple[str, str]] = {}
        """Each bot's newest restart on request: the request, and what came of it."""
        self.count = 0
        self.failed = 0

    def start(self) -> None:
        """Begin to look each second."""
        self._spawn(self._loops.keep("reload", self._look))

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.stop()

    @property
    def busy(self) -> bool:
        """Return whether a reload is under way."""
        return self._lock.locked()

    def now(self) -> None:
        """Reload because of SIGHUP or an operator, even if the file seems cut off."""
        self._spawn(self.reload(asked=True))

    def restart(self, name: str, request: str) -> None:
        """Restart a bot because of an operator. `restarts` then tells what came of it."""
        self._spawn(self._restart(name, request))

    async def _restart(self, name: str, request: str) -> None:
        told = await self._opened_anew(name)
        self.restarts[name] = (request, told)
        log.warning("restart: %s", told, extra={"bot": name, "by": request.partition(" ")[2]})

    async def _opened_anew(self, name: str) -> str:
        """Put a new instance of the bot's plugin in place of the old one; return what came of it.

        Where the new one does not open, the old one stays, unless the two may not overlap.
        """
        async with self._lock:
            present = self._service.registry.by_name
            old = present.get(name)
            if old is None:
                return f"{NOT_RESTARTED}this process has no such bot"
            if old.state.word in ("off", "config error", "quarantined"):
                return f"{NOT_RESTARTED}it is {old.state.word}: {old.state.reason}"
            config = self.reading.bots.get(name, old.config)
            if name in self.reading.bots:
                self.problems.pop(name, None)
            bot = await self._make(config, old)
            if bot is old:
                return f"{NOT_RESTARTED}the old instance stays, because a new one does not open: {self.problems[name]}"
            runs = old.busy
            by_name = {**present, name: bot}
            registry = Registry(_on_free_paths(list(by_name.values()), self.problems))
            first = self._install(registry, self.reading, last_runs_s=self._last_runs_s(old)).get(name)
        if first is not None:
            await first
        if bot.state.word not in ("active", "paused"):
            return f"{NOT_RESTARTED}it is {bot.state.word}: {bot.state.reason}"
        rest = f"; what ran ({runs}) ends on the old instance" if runs and config.overlap else ""
        return ("restarted" if bot.state.word == "active" else "restarted, and still paused") + rest

    async def _look(self) -> None:
        """Look each second. Two looks must agree, so that a half-written file is not read."""
        before = self.reading.digest
        refused = ""
        while True:
            await asyncio.sleep(LOOK_S)
            now = await asyncio.to_thread(self._source.digest, self.reading)
            if now == before and now not in (self.reading.digest, refused):
                await self.reload(asked=False)
                refused = now if self.reading.digest != now else ""
            before = now

    async def reload(self, *, asked: bool) -> None:
        """Read again and swap in the good sections. Unless it was asked for, keep out a file that was cut off or has vanished."""
        async with self._lock:
            new = await asyncio.to_thread(self._source.read)
            if self._cut_off(new, asked=asked):
                return
            self.count += 1
            self.problems = {}
            problems = [str(problem) for problem in new.problems]
            for problem in problems:
                log.error("%s", problem)
            if problems:
                self.problems[""] = "; ".join(problems)
            self._tell_of_host(self.reading.host, new.host)
            self._fresh(new)
            before = self._service.registry
            await self._swap(new)
            self.reading = new
            if self.problems:
                self.failed += 1
            self._tell_of_bots(before, self._service.registry)
            await self._tell_of_versions()

    def _cut_off(self, new: ConfigReading, *, asked: bool) -> bool:
        lost = self.reading.sections - new.sections
        whole = lost <= 0 or (lost * 2 < self.reading.sections and (new.ends or not self.reading.ends))
        if new.found and (asked or whole):
            return False
        what = f"lost {lost} sections, as a file does that was cut off" if new.found else new.unread
        what, way = (
            what.removesuffix("; name another file with --config"),
            "send SIGHUP if the new one is intended",
        )
        self.problems[""] = f"bots.ini {what}: kept out"
        self.changes = NOTHING
        log.error("bots.ini %s: the old configuration stays in use%s", what, f"; {way}" if new.found else "")
        self.count += 1
        self.failed += 1
        return True

    def _tell_of_bots(self, before: Registry, now: Registry) -> None:
        """Log what the reload did to which bots. A removed bot is a warning, because nothing answers its deliveries now."""
        added = [name for name in now.by_name if name not in before.by_name]
        removed = [name for name in before.by_name if name not in now.by_name]
        changed = [name for name, bot in now.by_name.items() if before.by_name.get(name, bot) is not bot]
        kept = [name or "[host]" for name in self.problems]
        said = [("changed", changed), ("added", added), ("removed", removed), ("kept as they were", kept)]
        parts = [f"{word}: {_names(names)}" for word, names in said if names]
        self.changes = "; ".join(parts) or NOTHING
        log.info("reloaded: %s; %s", counted(len(now.by_name), "bot"), self.changes)
        if removed:
            log.warning("removed from bots.ini, so their deliveries get 404: %s", _names(removed))

    async def _tell_of_versions(self) -> None:
        """Warn of plugins that are installed in another version, because a reload does not take that up."""
        running = {bot.config.plugin: bot.plugged.version for bot in self._service if bot.plugged is not None}
        for name, installed in (await asyncio.to_thread(newer_than, running)).items():
            log.warning("plugin %s: %s", name, upgrade_note(installed, running[name]))

    def _tell_of_host(self, old: HostConfig | None, new: HostConfig | None) -> None:
        if old is None or new is None or old == new:
            return
        names = [one.name for one in fields(new) if getattr(old, one.name) != getattr(new, one.name)]
        wanted = [name.removesuffix("_s") for name in names if name not in LIVE]
        if wanted:
            log.warning("[host] %s: the change needs a restart", ", ".join(wanted))

    async def _swap(self, new: ConfigReading) -> None:
        """Build the changed bots, then put a whole new registry into service."""
        present = self._service.registry.by_name
        changed = [config for config in new.bots.values() if self._is_new(present.get(config.name), config)]
        made = await asyncio.gather(*(self._make(config, present.get(config.name)) for config in changed))
        by_name = dict(zip((config.name for config in changed), made, strict=True))
        bots = [by_name.get(name) or present[name] for name in new.bots]
        bots += self._broken(new)
        self._install(Registry(_on_free_paths(bots, self.problems)), new)

    def _last_runs_s(self, bot: Bot) -> float:
        """Return how long the runs of a bot that is restarted may go on. Only a process can be ended with what runs in it."""
        host = self.reading.host
        return host.drain_s if host is not None and bot.config.run == "process" else math.inf

    def _install(
        self, registry: Registry, reading: ConfigReading, *, last_runs_s: float = math.inf
    ) -> dict[str, asyncio.Future[None]]:
        """Put a registry into service and retire the bots that it replaces; return the first tries to open new bots."""
        old, self._service.registry = self._service.registry, registry
        self._lifecycle.swapped()
        closing: dict[str, asyncio.Task[None]] = {}
        for name, bot in old.by_name.items():
            if registry.by_name.get(name) is not bot:
                self._lifecycle.stop_trying(bot)
                self.retiring.add(bot)
                closing[name] = self._tasks.begin(
                    self._retire(bot, removed=name not in registry.by_name, within_s=last_runs_s)
                )
        firsts: dict[str, asyncio.Future[None]] = {}
        for bot in registry.by_name.values():
            if old.by_name.get(bot.name) is not bot and bot.runner is None:
                first = self._begin(bot, reading, None if bot.config.overlap else closing.get(bot.name))
                if first is not None:
                    firsts[bot.name] = first
        return firsts

    def _is_new(self, present: Bot | None, config: BotConfig) -> bool:
        if present is None or present.state.word == "config error":
            return True
        if present.plugged is None and present.state.word == "plugin error":
            return True
        return bool(present.config.differs(config))

    async def _make(self, config: BotConfig, old: Bot | None) -> Bot:
        """Make a bot of the new section. Returns the old one if the plugin does not open with it."""
        bot = Bot(config, old.queue if old is not None else BotQueue(0))
        if old is not None:
            bot.user_id, bot.login = old.user_id, config.login or old.login
            bot.old_secret_at = old.old_secret_at
            if len(old.config.secrets) > len(config.secrets):
                last = f"last used {old.old_secret_at:%Y-%m-%d %H:%M:%S} UTC" if old.old_secret_at else "never used"
                log.info("old_secret is no longer accepted: %s", last, extra={"bot": config.name})
        if (
            old is None
            or old.runner is None
            or not config.enabled
            or not config.overlap
            or not self._lifecycle.takes(bot)
        ):
            return bot
        try:
            bot.plugged, bot.runner = await self._lifecycle.load(bot)
        except (PluginError, ConfigError) as error:
            self.problems[config.name] = str(error)
            log.error("keeps its old version: %s", error, extra={"bot": config.name})
            return old
        self._lifecycle.replace(bot)
        return bot

    def _broken(self, new: ConfigReading) -> Iterable[Bot]:
        """Yield the bots of wrong sections: the old version if there is one, else a stub whose path answers 503."""
        registry = self._service.registry.by_name
        for name, problems in new.broken.items():
            why = "; ".join(str(problem) for problem in problems)
            self.problems[name] = why
            old = registry.get(name)
            if old is not None and old.runner is not None:
                log.error("keeps its old version: %s", why, extra={"bot": name})
                yield old
            elif name in new.stubs:
                log.error("%s", why, extra={"bot": name})
                yield Bot(new.stubs[name], old.queue if old is not None else BotQueue(0))

    def _begin(self, bot: Bot, new: ConfigReading, before: asyncio.Task[None] | None) -> asyncio.Future[None] | None:
        """Bring a bot into service; with `before`, once its predecessor is closed, whose port or lock its plugin needs.

        Return the future of its first try; None if it is not to serve.
        """
        if bot.name in new.broken:
            self._lifecycle.disable(bot, "config error", self.problems[bot.name])
        elif not bot.config.enabled:
            self._lifecycle.disable(bot, "off", "enabled = no")
        elif not self._lifecycle.keeps_out(bot):
            return self._lifecycle.start(bot, before)
        return None

    async def _retire(self, bot: Bot, *, removed: bool, within_s: float) -> None:
        """Close a replaced or removed bot after its last run, or after so long. Parked events of a removed bot stay in the journal.

        A thread past its time keeps no permit from the bot that took over: it may never end.
        """
        time = asyncio.get_running_loop().time
        until = time() + within_s
        while bot.busy and time() < until:
            if bot.runner is not None:
                bot.runner.release()
            await asyncio.sleep(LAST_RUN_S)
        if removed:
            self._lifecycle.remove(bot.name)
            log.info("removed from bots.ini: closed", extra={"bot": bot.name})
        await self._lifecycle.dismiss(bot)
        self.retiring.discard(bot)


def _names(names: Sequence[str]) -> str:
    """Join names for a log line."""
    rest = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _on_free_paths(bots: list[Bot], problems: dict[str, str]) -> list[Bot]:
    """Leave out bots whose path another bot has, because an old version may hold a path that the new file gives away."""
    taken: dict[str, str] = {}
    kept = []
    for bot in sorted(bots, key=lambda one: one.name in problems):
        other = taken.setdefault(bot.config.path, bot.name)
        if other == bot.name:
            kept.append(bot)
        else:
            log.error("taken out of service: [bot:%s] has its path now", other, extra={"bot": bot.name})
    return kept
