"""One run of `bothost dev`: a host on loopback, a fake Pyrus beside it, and an eye on the files."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer

from bothost.background import BackgroundTasks
from bothost.cli.dev.page import application
from bothost.cli.dev.source import DAY_S, DevSource, prepared
from bothost.cli.dev.world import DevBot, DevPyrus, TimelineLog
from bothost.clock import SystemClock
from bothost.testing.fake_pyrus.server import PREFIX, FakeServer
from bothost.testing.fake_pyrus.webhooks import READ_S, over_http

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bothost.config import ConfigReading, LogLevel
    from bothost.host.serve import ServingAddresses

LOOK_S = 0.25
"""The seconds between two looks at the files. A change counts when two looks agree."""


@dataclass(slots=True)
class DevSession:
    """The parts beside the host. `say` tells the author, in the terminal."""

    path: Path
    reading: ConfigReading
    api_port: int
    page_port: int
    say: Callable[[str], None]
    debug: bool = False
    log_level: LogLevel | None = None
    source: DevSource = field(init=False)
    _tasks: BackgroundTasks = field(default_factory=BackgroundTasks)

    def __post_init__(self) -> None:
        self.source = DevSource(self.path, f"http://127.0.0.1:{self.api_port}{PREFIX}", self.debug, self.log_level)
        self.reading = prepared(self.reading, self.source)

    async def __call__(self, serving: ServingAddresses) -> int:
        """Begin once the host serves; see `host.serve.WhenServing`."""
        pyrus = DevPyrus(SystemClock())
        logging.getLogger("bothost").addHandler(TimelineLog(pyrus))
        FakeServer(pyrus, port=self.api_port)
        self._meet(pyrus, serving.public[0])
        HTTPServer(application(pyrus)).listen(self.page_port, "127.0.0.1")
        self._tasks.spawn(self._watch(pyrus, serving.public[0]))
        self.say(
            f"Pyrus is played at http://127.0.0.1:{self.page_port}   (the bots: {', '.join(sorted(pyrus.bots)) or 'none'})"
        )
        if serving.operator:
            self.say(f"operator's page: {serving.operator[0]}  (its token: bothost token)")
        saved = "saved code takes a restart" if self.debug else "a saved file is in effect for the next delivery"
        self.say(f"{saved}    stop: Ctrl+C")
        return 0

    def _meet(self, pyrus: DevPyrus, address: str) -> None:
        """Let Pyrus know the bots of the present reading, and where each is called."""
        for name, bot in self.reading.bots.items():
            if bot.secrets and bot.enabled:
                key = bot.secrets[0].decode()
                known = pyrus.bots.get(name)
                account = pyrus.add_bot(bot.login, key, known.account.person["id"] if known else None)
                account.person["first_name"] = name
                read_s = DAY_S if self.debug else READ_S
                send = over_http(f"{address}{bot.path}", AsyncHTTPClient(), read_s)
                pyrus.admit(DevBot(name, account, key, send, read_s=read_s))

    async def _watch(self, pyrus: DevPyrus, address: str) -> None:
        """Have the host reload when a file was saved; two looks must agree, because editors write in steps."""
        before = loaded = await asyncio.to_thread(self.source.digest, self.reading)
        while True:
            await asyncio.sleep(LOOK_S)
            now = await asyncio.to_thread(self.source.digest, self.reading)
            if now == before and now != loaded:
                loaded = now
                self.reading = await asyncio.to_thread(self.source.read)
                self._meet(pyrus, address)
                os.kill(os.getpid(), signal.SIGHUP)
            before = now
