"""A fake Pyrus on a real socket, in a thread of its own, that delivers to a host over HTTP as Pyrus does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from tests.e2e.site import SECRET, HostSite
from tornado.httpclient import AsyncHTTPClient

from bothost.clock import SystemClock
from bothost.testing.fake_pyrus import ApiAccount, FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer
from bothost.testing.fake_pyrus.webhooks import AttemptResult, WebhookRoute, Webhooks, over_http

R = TypeVar("R")


class Playing:
    """Everything of it runs on its own loop: `do` runs a coroutine there, `look` a function."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.pyrus, self.url = self.do(self._start())

    async def _start(self) -> tuple[FakePyrus, str]:
        pyrus = FakePyrus(SystemClock())
        self._server = FakeServer(pyrus)
        self._client = AsyncHTTPClient(force_instance=True, max_clients=1000)
        return pyrus, self._server.base_url

    def do(self, work: Coroutine[Any, Any, R], seconds: float = 120.0) -> R:
        """Run it on the fake's loop, and wait."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def look(self, at: Any) -> Any:
        """What a function finds there."""

        async def looked() -> Any:
            return at()

        return self.do(looked())

    def bot(self, name: str, person_id: int) -> ApiAccount:
        """A bot's account in Pyrus."""
        return self.look(lambda: self.pyrus.add_bot(f"bot@{name}", SECRET, person_id))

    def hooks(self, host: HostSite, name: str, account: ApiAccount, route: WebhookRoute | None = None) -> Webhooks:
        """Pyrus's deliveries to one bot of a host."""
        url = f"http://127.0.0.1:{host.port}/{name}"
        return Webhooks(self.pyrus, account, SECRET, over_http(url, self._client), route)

    def task(self, **keys: Any) -> int:
        """A new task; its id."""
        return int(self.look(lambda: self.pyrus.add_task(**keys))["id"])

    def say(self, task_id: int, text: str, person: Mapping[str, Any] | None = None) -> None:
        """Somebody comments."""
        self.look(lambda: self.pyrus.say(task_id, text, person))

    def deliver(self, hooks: Webhooks, task_id: int) -> list[AttemptResult]:
        """Deliver what is new in a task, with as many attempts as it takes."""
        return self.do(hooks.deliver(task_id), 240.0)

    def end(self) -> None:
        """Stop serving."""

        async def stop() -> None:
            await self._server.refuse()
            self._client.close()

        self.do(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
