"""Serve the operator's page of a host: make its parts and its listener, and report to the process that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from bothost import __version__
from bothost.background import BackgroundTasks, PeriodicJob
from bothost.config import page_by_tls
from bothost.host import listeners
from bothost.host.presence import LOOK_S as PRESENCE_S
from bothost.host.presence import Presence
from bothost.host.workers.metrics import QUESTION, WorkerMetrics
from bothost.host.workers.waiting import WaitingEvents
from bothost.operator import access_token, page
from bothost.operator.failure_hook import find_hook
from bothost.operator.page.assets import StaticFiles
from bothost.operator.page.host_names import AcceptedHostNames
from bothost.operator.page.refusal_tail import RefusalTail
from bothost.operator.page.sessions import Sessions
from bothost.operator.service import HostView, Operations, PluginView, report
from bothost.operator.trouble_hook import GROUP, TroubleWatch
from bothost.plugins import loading
from bothost.telemetry.metrics.prometheus import Exposition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from bothost.config import HostConfig
    from bothost.config.secrets import SecretText
    from bothost.host.process import Host
    from bothost.http_server.server import HttpServer
    from bothost.telemetry.metrics import Metrics, MetricsSnapshot
    from bothost.telemetry.redaction import Scrubber

log = logging.getLogger("bothost.page")

_TOKEN_S = 2.0


@dataclass(frozen=True, slots=True)
class PageInputs:
    """The things that the page shows besides the host itself."""

    metrics: Metrics
    scrubber: Scrubber
    dropped: Callable[[], int]
    """Returns the number of log lines that were dropped so far."""
    environment: Callable[[], Mapping[str, str]]
    """Returns the environment of a command that the page starts."""


class OperatorPage:
    """One process's part in the page. Worker 0 (or the only process) serves it; the others answer its questions."""

    def __init__(self, host: Host, told: PageInputs) -> None:
        self._host = host
        self._told = told
        self._beats: list[PeriodicJob] = []
        self._tail = RefusalTail(told.scrubber.scrub)
        self._server: HttpServer | None = None
        self._sessions: Sessions | None = None
        self._presence = Presence(host, told.metrics)
        self._tasks = BackgroundTasks()

    def start(self) -> None:
        """Answer the siblings, and listen if this process has the operator's sockets."""
        host = self._host
        lines = WaitingEvents(host.pipeline.poller, host.siblings)
        if host.siblings is not None:
            host.siblings.answers[QUESTION] = self._answer
        self._beats.append(PeriodicJob(PRESENCE_S, self._presence.look, host.resources.loops, "presence"))
        if not host.plan.sockets.operator:
            return
        config = self._config()
        self._sessions = Sessions(self._token(), config.operator_read_token, host.resources.clock)
        self._tail.start()
        self._beats.append(PeriodicJob(_TOKEN_S, self._look_at_token, host.resources.loops, "token"))
        tls = listeners.tls(config) if page_by_tls(config) else None
        self._server = page.serve(
            self._page_context(self._sessions, lines, secure=tls is not None),
            host.plan.sockets.operator,
            host.resources.clock,
            tls,
        )

    async def stop(self) -> None:
        """Serve no more."""
        for beat in self._beats:
            beat.stop()
        await self._tasks.stop()
        self._tail.close()
        if self._host.phase == "draining":
            await self._presence.end()
        if self._server is not None:
            await self._server.leave(0.0)

    def _page_context(self, sessions: Sessions, lines: WaitingEvents, *, secure: bool) -> page.PageContext:
        host = self._host
        config = host.plan.host
        gather = self._alone if host.siblings is None else WorkerMetrics(host.siblings, self._report).gather
        host_view = HostView(
            bots=lambda: tuple(host.service),
            reading=lambda: host.reading,
            gather=gather,
            phase=lambda: host.phase,
            plugins=_installed,
            receive=host.receive,
            journal_bytes=partial(_journal_bytes, config),
            waiting=lines.waiting,
            cancel=lines.cancel,
            listener=lambda: host.listener.trouble or "ok",
            kept=lambda: host.reloader.problems,
            loops_down=host.loops_down,
        )
        operations = Operations(host_view, host.resources.journal, host.resources.clock, __version__)
        self._watch_trouble(operations)
        return page.PageContext(
            operations=operations,
            sessions=sessions,
            names=AcceptedHostNames([config.operator_address], config.operator_hosts),
            files=StaticFiles.installed(),
            exposition=Exposition(operations.host, host.resources.clock),
            tail=self._tail,
            scrub=self._told.scrubber.scrub,
            cookie=f"bothost-{_port(host)}",
            secure=secure,
            metrics_open=config.metrics_open,
            version=__version__,
            public_path=config.public_path,
        )

    def _watch_trouble(self, operations: Operations) -> None:
        """Begin to call the hook for bots in trouble, if [host] on_trouble names one."""
        host = self._host
        hook, problem = find_hook(host.plan.host.on_trouble, host.resources.clock, self._told.environment, GROUP)
        if problem:
            log.error("[host] on_trouble: %s", problem)
        if hook is not None:
            place = f"{socket.gethostname()}:{host.plan.host.state}"
            watch = TroubleWatch(hook, operations, host.resources.journal, place)
            self._tasks.spawn(host.resources.loops.keep("on_trouble", watch.run))

    async def _report(self) -> MetricsSnapshot:
        told = self._told
        snapshot = await report(tuple(self._host.service), told.metrics)
        snapshot.log_dropped = told.dropped()
        snapshot.loop_restarts = dict(self._host.resources.loops.restarts)
        reloader = self._host.reloader
        snapshot.reloads = {"done": reloader.count - reloader.failed, "refused": reloader.failed}
        return snapshot

    async def _alone(self) -> Sequence[MetricsSnapshot]:
        return [await self._report()]

    async def _answer(self) -> AsyncIterator[bytes]:
        for piece in (await self._report()).pieces():
            yield msgspec.msgpack.encode(piece)
            await asyncio.sleep(0)

    def _token(self) -> SecretText:
        """Return the configured token, else the made one. A new one is printed only if a person reads the output."""
        config = self._config()
        if config.operator_token is not None:
            return config.operator_token
        token, made = access_token.ensure(config.state)
        self._told.scrubber.add(token.reveal())
        if made:
            place = access_token.path_of(config.state)
            log.warning("a token for the operator's page was made: %s (`bothost token` shows it)", place)
            if sys.__stderr__ is not None and sys.__stderr__.isatty():
                print(f"\n  operator's token: {token.reveal()}\n", file=sys.__stderr__, flush=True)
        return token

    def _look_at_token(self) -> None:
        """End the sessions of tokens that were replaced, because `bothost token --new` and a reload change them beside us."""
        config = self._config()
        try:
            token = config.operator_token or access_token.stored(config.state)
        except OSError:
            return
        if token is not None and self._sessions is not None:
            if not self._sessions.knows(token):
                self._told.scrubber.add(token.reveal())
            self._sessions.change_tokens(token, config.operator_read_token)

    def _config(self) -> HostConfig:
        return self._host.reading.host or self._host.plan.host


def _installed() -> Sequence[PluginView]:
    """Every plugin that an installed package offers."""
    views = []
    for found in loading.find().values():
        problem = f"{' and '.join((found.distribution, *found.rivals))} both offer it" if found.rivals else ""
        views.append(PluginView(found.name, found.distribution, found.version, problem))
    return views


def _journal_bytes(config: HostConfig) -> int | None:
    """Return what the embedded journal takes on disk, with the bodies beside it."""
    if config.journal:
        return None
    total = 0
    for path in (*config.state.glob("journal*"), config.state / "bodies"):
        for file in path.rglob("*") if path.is_dir() else (path,):
            with contextlib.suppress(OSError):  # a write-ahead log comes and goes
                total += file.stat().st_size
    return total


def _port(host: Host) -> int:
    name = host.plan.sockets.operator[0].getsockname()
    return int(name[1]) if isinstance(name, tuple) else 0
