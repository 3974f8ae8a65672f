"""Run one process of a host: start its parts in order, and stop them in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from bothost.background import PeriodicJob
from bothost.bots.lifecycle import BotLifecycle
from bothost.bots.queue import BotQueue
from bothost.bots.registry import Bot, Registry, Service
from bothost.bots.reload import Reloader
from bothost.bots.shared_permits import SharedPermits
from bothost.errors import ConfigError, JournalError
from bothost.host import listeners, state_times
from bothost.host.facts import HostFacts
from bothost.host.handing import HandedRequests
from bothost.host.state_times import StateTimes
from bothost.host.workers.counts import count_together
from bothost.host.workers.loops import SiblingLoops
from bothost.host.workers.places import BotPlaces
from bothost.journal.sqlite.journal import SqliteJournal
from bothost.pipeline.drain import drain
from bothost.pipeline.startup_queue import StartupQueue
from bothost.webhook.listener import webhook_server
from bothost.webhook.refusals import RefusalCounter, Refusals
from bothost.webhook.request import WebhookContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bothost.bots.loader import Loader, ProcessReports
    from bothost.bots.reload import ConfigSource
    from bothost.config import ConfigReading, HostConfig
    from bothost.errors import PluginError
    from bothost.host.listeners import ListeningSockets
    from bothost.host.systemd import Notifier
    from bothost.host.workers.protocol import Worker
    from bothost.host.workers.siblings import Siblings
    from bothost.operator.failure_hook import FailureNotifier
    from bothost.pipeline.assembly import Pipeline, ProcessResources
    from bothost.pipeline.delivery import Delivery
    from bothost.runners import Runner
    from bothost.runners.process.spawner import Spawner
    from bothost.runners.watchdog import Watchdog

log = logging.getLogger("bothost.server")

Phase = Literal["starting", "serving", "draining"]
CLOSE_S = 10.0
"""The most seconds that plugins may take to close, if the drain has left as many."""
ALIVE_S = 1.0
FIRST_S = 2.0
"""How long a worker leaves bots with `per_host = one` to worker 0, which starts at the same time."""
LEAVE_S = 2.0
"""The seconds for a connection that has not asked anything yet, and the margin of a stop beyond `drain`."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The configuration that a process serves, and its sockets."""

    reading: ConfigReading
    host: HostConfig
    sockets: ListeningSockets
    files: int
    notifier: Notifier
    source: ConfigSource
    """The source from which bots.ini is read again."""
    worker: Worker | None = None
    """None if this process is the whole host."""


class PageService(Protocol):
    """Serves or feeds the operator's page in this process."""

    def start(self) -> None:
        """Answer the siblings, and listen if this process has the operator's sockets."""

    async def stop(self) -> None:
        """Stop serving."""


@dataclass(frozen=True, slots=True)
class HostParts:
    """The parts that `assembly` makes beside the pipeline and that start or end with the host."""

    loader: Callable[[ProcessReports], Loader]
    spawner: Spawner
    failures: FailureNotifier
    watchdog: Watchdog
    siblings: Siblings | None
    """None if this process is the whole host."""
    page: Callable[[Host], PageService]
    renew: Callable[[ConfigReading], None]
    """Keeps the secrets of a fresh reading out of logs and children, and logs from its level on."""


class Host:
    """Everything of one process, from sockets to journal. It is made, started and stopped on its loop."""

    def __init__(
        self, plan: HostPlan, resources: ProcessResources, pipeline: Pipeline, service: Service, parts: HostParts
    ) -> None:
        self.plan = plan
        self.resources = resources
        self.pipeline = pipeline
        self.service = service
        self._parts = parts
        self.siblings = parts.siblings
        self.sibling_loops = (
            SiblingLoops(parts.siblings, resources.loops, resources.clock) if parts.siblings is not None else None
        )
        self.controls = HostFacts(pipeline, service, resources.client)
        self._permits = SharedPermits(resources.journal, resources.clock, resources.loops)
        self._began = resources.clock.monotonic()
        self._places = BotPlaces(plan.host.state, plan.worker.number) if plan.worker is not None else None
        self.lifecycle = BotLifecycle(
            parts.loader(self).load, resources.clock, pipeline.in_service, self._permits.share_of, self._takes
        )
        self._handed = (
            HandedRequests(parts.siblings, self._places, pipeline, service) if parts.siblings and self._places else None
        )
        pipeline.context.loop_breaker.pause_watchers.append(self.controls.tell)
        self.phase: Phase = "starting"
        self.refusals = Refusals(resources.clock)
        receive = self._handed.receive if self._handed is not None else pipeline.receive
        self._startup_queue = StartupQueue(receive, pipeline.context.responses, resources.clock.monotonic)
        front = WebhookContext(
            service,
            self._startup_queue,
            RefusalCounter(self.refusals, resources.count).refuse,
            resources.clock,
            listeners.proxies(plan.host),
        )
        self.listener = webhook_server(front, listeners.limits(plan.host, plan.files), listeners.tls(plan.host))
        self._times = StateTimes(resources.journal, self.lifecycle, plan.worker)
        self._beats: list[PeriodicJob] = []
        self.reloader = Reloader(plan.source, plan.reading, service, self.lifecycle, self._take_fresh, resources.loops)
        self._page = parts.page(self)
        self._leaving_page: asyncio.Future[None] | None = None

    async def start(self, orphaned: Callable[[], None]) -> None:
        """Listen at once, open the journal, take over its events, and bring the bots into service.

        Returns when deliveries run. Plugins may still be opening then, and their events wait. `orphaned` is called when the
        supervisor is gone.
        """
        plan, resources = self.plan, self.resources
        self.listener.add_sockets(plan.sockets.public)
        self._beats.append(PeriodicJob(5.0, self.refusals.sweep, resources.loops, "refusals"))
        if plan.notifier.watchdog_s:
            self._beats.append(PeriodicJob(plan.notifier.watchdog_s / 3, lambda: plan.notifier.say("WATCHDOG=1")))
        if self.siblings is not None and self.sibling_loops is not None:
            count_together(self.siblings, self.pipeline.context.loop_breaker, self.service)
            await self.siblings.connect(orphaned)
            if self._handed is not None:
                self._beats.append(self._handed.begin())
            self._beats.append(PeriodicJob(ALIVE_S, self.sibling_loops.tell, resources.loops, "siblings"))
            self._beats.append(PeriodicJob(ALIVE_S, partial(self.siblings.say, "alive")))
        self._page.start()
        await self._open_journal()
        self._permits.start()
        await self.pipeline.start()
        await self._times.restore()
        self._beats.append(PeriodicJob(state_times.LOOK_S, self._times.look, resources.loops, "state times"))
        await self.controls.start(self.lifecycle, self.reloader)
        self.enlist(plan.reading)
        self.reloader.start()
        self._parts.watchdog.start(asyncio.get_running_loop())
        self._startup_queue.let_in()
        self.phase = "serving"
        if self.siblings is not None:
            self.siblings.say("ready")

    def _takes(self, bot: Bot) -> bool:
        """Take a bot with `per_host = one` unless a sibling has it; not while this process stops."""
        places, worker = self._places, self.plan.worker
        if places is None or worker is None or bot.config.per_host == "all" or places.holds(bot.name):
            return True
        # worker 0 goes first, because it serves the page, which shows more of a bot that is there
        first = worker.number == 0 or self.resources.clock.monotonic() - self._began > FIRST_S
        return first and self.phase != "draining" and places.take(bot.name)

    def loops_down(self) -> Mapping[str, str]:
        """Return the loops of this process and its siblings that are down, each with its fault."""
        return {**self.resources.loops.down(), **(self.sibling_loops.down() if self.sibling_loops else {})}

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery that came by no listener, such as the page's test delivery."""
        self._startup_queue.receive(delivery)

    def reload(self) -> None:
        """Read bots.ini again, even if it seems cut off."""
        self.reloader.now()

    @property
    def reading(self) -> ConfigReading:
        """Return bots.ini as it was last accepted."""
        return self.reloader.reading

    def _take_fresh(self, reading: ConfigReading) -> None:
        """Renew the secrets to hide, the level of the log, and the certificate of new connections from the content of its files.

        Other names of certificate files take a restart.
        """
        self._parts.renew(reading)
        try:
            context = listeners.tls(self.plan.host)
        except (OSError, ConfigError) as error:
            log.error("the old certificate stays: %s", error)
            return
        if context is not None:
            self.listener.use_tls(context)

    def enlist(self, reading: ConfigReading) -> None:
        """Set the state of each bot of a reading, and bring those into service that can serve."""
        for warning in reading.warnings:
            log.warning("%s", warning)
        firsts = []
        for bot in self.service:
            if bot.name in reading.broken:
                problems = "; ".join(str(problem) for problem in reading.broken[bot.name])
                log.error("%s", problems, extra={"bot": bot.name})
                self.lifecycle.disable(bot, "config error", problems)
            elif not bot.config.enabled:
                self.lifecycle.disable(bot, "off", "enabled = no")
            elif bot.state.word != "quarantined":
                firsts.append(self.lifecycle.start(bot))
        # the objects that exist now stay, and with 10,000 bots the collector's passes over them cost each delivery a tenth
        self.tried = asyncio.gather(*firsts)
        self.tried.add_done_callback(lambda _done: gc.freeze())

    def places(self) -> list[str]:
        """Return the places of plugins that may hold up a stop. Any thread may call it."""
        return self._parts.watchdog.places()

    def flush(self) -> None:
        """Write the journal's waiting notes, because the process ends at once after this. It blocks, in any thread."""
        journal = self.resources.journal
        if isinstance(journal, SqliteJournal):
            journal.flush()

    def free_ports(self) -> None:
        """Stop listening for Pyrus and for the operator. Open connections are served to their end."""
        self.listener.retire()
        self._leaving_page = asyncio.ensure_future(self._page.stop())

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop by the rule Stop: drain while listening, close the listeners, close plugins, flush the journal."""
        plan, clock = self.plan, self.resources.clock
        plan.notifier.say("STOPPING=1", "STATUS=draining")
        log.info("draining: %d runs are under way", len(self.pipeline.runs.running))
        if await self._others_listen():
            self.listener.retire()
        end = clock.monotonic() + plan.host.drain_s + LEAVE_S
        started, self.phase = self.phase == "serving", "draining"
        self.lifecycle.halt(self.service)
        self._startup_queue.dismiss()
        if started:
            await self.controls.stop()
            await self.reloader.stop()
            self._parts.watchdog.stop()
            await drain(self.pipeline, plan.host.drain_s, hurry)
            if self._handed is not None:
                await self._handed.drain(max(end - LEAVE_S - clock.monotonic(), 0.0), hurry)
        left_s = max(end - clock.monotonic() - 0.3, 0.2)
        await asyncio.gather(self.listener.leave(min(LEAVE_S, left_s)), self._close_plugins(min(CLOSE_S, left_s)))
        self._parts.spawner.close()
        await self._leave_operator(min(LEAVE_S, left_s))
        plan.sockets.close()
        for beat in self._beats:
            beat.stop()
        self.refusals.sweep(everything=True)
        if started:
            await self._permits.stop()
            await self._times.stop()
            await self.resources.journal.close()
        await self.resources.client.close()
        if self.siblings is not None:
            self.siblings.close()

    async def _leave_operator(self, limit_s: float) -> None:
        """Close the page, and give the error hook the rest of the time."""
        await self._page.stop()
        await self._parts.failures.stop(limit_s)

    async def _others_listen(self) -> bool:
        """Return whether only this worker stops. Then its siblings take new deliveries, which here would only be parked."""
        if self.siblings is None:
            return False
        # the supervisor informs its workers before it sends the signal, but the loop gets the signal first
        await asyncio.sleep(0.05)
        return not self.siblings.stopping

    def died(self, name: str) -> None:
        """Tell the siblings that a bot's process has died, because they count deaths together."""
        if self.siblings is not None:
            self.siblings.tell("death", name.encode())

    def quarantine(self, name: str, runner: Runner, reason: str) -> None:
        """Quarantine a bot whose process died too often, over restarts, until an operator resumes it."""
        bot = self.service.find(name)
        if bot is not None and bot.runner is runner:
            self.lifecycle.quarantine(bot, reason)
            self.controls.tell(f"quarantine:{name}", reason)

    def broken(self, name: str, runner: Runner, error: PluginError | ConfigError) -> None:
        """Take a bot out of service until its plugin, which does not open in its process, opens."""
        bot = self.service.find(name)
        if bot is not None and bot.runner is runner:
            self.lifecycle.fail(bot, error)

    async def _open_journal(self) -> None:
        """Try until the journal opens, because another host may still hold it, or a database may be starting."""
        pause_s, told = 0.5, ""
        while True:
            try:
                await self.resources.journal.open()
            except JournalError as error:
                if str(error) != told:
                    log.error("the journal cannot be opened, deliveries wait: %s", error)
                    told = str(error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 5.0)
            else:
                if told:
                    log.warning("the journal is open")
                return

    async def _close_plugins(self, limit_s: float) -> None:
        bots = [bot for bot in {*self.service, *self.reloader.retiring} if bot.runner is not None]
        closings = [asyncio.ensure_future(self.lifecycle.dismiss(bot)) for bot in bots]
        if not closings:
            return
        done, late = await asyncio.wait(closings, timeout=limit_s)
        for bot, closing in zip(bots, closings, strict=True):
            if closing in late:
                log.warning("its close() did not end in time", extra={"bot": bot.name})
                closing.cancel()
            elif closing in done and closing.exception() is not None:
                log.error("its close() failed", exc_info=closing.exception(), extra={"bot": bot.name})
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


def registry_of(reading: ConfigReading) -> Registry:
    """Return the bots of a reading, those of broken sections too, so that their paths answer 503."""
    return Registry(_bots(reading))


def _bots(reading: ConfigReading) -> Iterable[Bot]:
    # a later one takes a path that two have, so a wrong section keeps no right one from its deliveries
    for config in (*reading.stubs.values(), *reading.bots.values()):
        yield Bot(config, BotQueue(0))
