"""A real host whose page is asked over real sockets: its loop runs in a thread, the test asks from outside."""

from __future__ import annotations

import asyncio
import http.client
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bothost.clock import SystemClock
from bothost.config import read
from bothost.host.assembly import make_host
from bothost.host.listeners import ListeningSockets
from bothost.host.process import HostPlan
from bothost.host.serve import IniFile
from bothost.host.sockets import bind_tcp
from bothost.host.systemd import Notifier
from bothost.journal.entry import Entry
from bothost.telemetry.redaction import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from bothost.host.process import Host

TOKEN = "operator-token-0123456789"
READ_TOKEN = "reading-token-0123456789"
SECRET = "VtBOEesdOnIcqGaWQeFkWFqyzgdt2PGs"
OTHER_SECRET = "H0xU9uxdN37IjcAqf2pzeqoo5FqdtoHX"
INI = f"""\
[host]
operator_token = {TOKEN}
operator_read_token = {READ_TOKEN}
operator_hosts = ops.example.com pager.example.com:9000
public_url = https://bots.example.com
drain = 1s

[bot:autoreply]
plugin = autoreply
secret = {SECRET}

[bot:lost]
plugin = nowhere
secret = {OTHER_SECRET}
api_key = key-of-another-service-12345

[bot:wrong]
plugin = autoreply
secret = short
timeout = 5
"""
BODY = '{"event":"comment","task_id":5,"access_token":"-","task":{"id":5,"text":"<script>alert(1)</script>\u202e"}}'


def wait_for(done: Callable[[], bool]) -> None:
    """Until the host has done it."""
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")

    def field(self) -> str:
        """The XSRF field of the first form."""
        found = re.search(r'name="_xsrf" value="([0-9a-f]+)"', self.text)
        return found[1] if found else ""


@dataclass
class Site:
    """A host, where its page listens, and a way onto its loop."""

    folder: Path
    ini: str = INI
    port: int = 0
    public_port: int = 0
    host: Host = field(init=False)
    cookie: str = ""
    clock: SystemClock = field(default_factory=SystemClock)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def start(self, *, waits: bool = True, patience_s: float = 20) -> Site:
        """Return when deliveries run; else as soon as the page is there."""
        self._waits = waits
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(patience_s)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the host's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def ask(self, method: str, path: str, body: str | bytes | None = None, **headers: str) -> Answer:
        """One request; headers' underscores are dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """As the whole token's holder."""
        return self.ask("GET", path, Authorization=f"Bearer {TOKEN}", **headers)

    def log_in(self, token: str = TOKEN) -> str:
        """The cookie of a new session."""
        answer = self.ask("POST", "/login", urlencode({"token": token}))
        assert answer.status == 303
        return answer.headers["Set-Cookie"].partition(";")[0]

    def put(self, cookie: str, path: str, form: dict[str, str | list[str]] | None = None, **headers: str) -> Answer:
        """A change as a browser asks for it."""
        field = self.ask("GET", "/", Cookie=cookie).field()
        headers.setdefault("Sec_Fetch_Site", "same-origin")
        return self.ask("POST", path, urlencode({"_xsrf": field, **(form or {})}, doseq=True), Cookie=cookie, **headers)

    def keep(self, **changes: Any) -> Entry:
        """An entry in the journal."""
        now = time.time()
        values: dict[str, Any] = {
            "id": "autoreply:5:comment:7", "bot": "autoreply", "task": 5, "turn": "5", "state": "answered", "runs": 1,
            "answer": b'{"text":"Hello"}', "delivered": True, "status": 200, "created": now, "updated": now, "seen": 1,
            "seen_at": now, "ms": 12.5, "version": "1.0",
        }  # fmt: skip
        body = changes.pop("body", BODY.encode())
        entry = Entry(**(values | changes))
        assert self.do(self.host.resources.journal.save(entry, body))
        return entry

    def failed(self, number: int = 7, **changes: Any) -> Entry:
        """A delivery that failed."""
        error = "autoreply raised ZeroDivisionError: division by zero (rules.py:5)\nTraceback (most recent call last):\n  <b>"
        values = {"state": "failed", "answer": None, "error": error, "status": 500, "failed": True}
        return self.keep(id=f"autoreply:{number}:comment:{number}", task=number, turn=str(number), **(values | changes))

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        path = self.folder / "bots.ini"
        path.write_text(self.ini, "utf-8")
        path.chmod(0o600)
        reading = read(path, {})
        assert reading.host is not None
        reading.host.state.mkdir(0o700, exist_ok=True)
        sockets = ListeningSockets(bind_tcp("127.0.0.1", 0), bind_tcp("127.0.0.1", 0))
        self.public_port, self.port = (each[0].getsockname()[1] for each in (sockets.public, sockets.operator))
        self.host = make_host(
            HostPlan(reading, reading.host, sockets, 1024, Notifier(), IniFile(path)), self.clock, Scrubber()
        )
        starting = asyncio.ensure_future(self.host.start(self._stop.set))
        if self._waits:
            await starting
            while any(bot.state.word == "starting" for bot in self.host.service):
                await asyncio.sleep(0.01)
        ready.set()
        await self._stop.wait()
        starting.cancel()
        await self.host.stop(asyncio.Event())
