"""A load that is checked: `python -m tests.load.load --seconds 300` sends 300 deliveries a second to 100 bots and accounts for
each event. The same for an hour, with the host's growth: soak.py.

Eighty bots answer at once; ten take 0.2 to 0.9 s; five answer late, through a fake Pyrus; five fail, each event once or always.
What was not answered in time, of whichever bot, must be posted once.
One delivery in ten is sent twice at the same moment; what is answered 500 or 503 comes again as the next attempt, and one
event in twenty comes once more after its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.site import SECRET, HostSite

from bothost.clock import SystemClock
from bothost.pipeline.attempts import APART_S
from bothost.pyrus.signature import sign
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer

PLUGINS = """
import asyncio
async def quick(event):
    return f"reply to {event.task_id}"
async def slow(event):
    await asyncio.sleep(0.2 + event.task_id % 8 / 10)
    return f"reply to {event.task_id}"
async def late(event):
    await asyncio.sleep(2.5)
    return f"reply to {event.task_id}"
async def failing(event):
    if event.task_id % 2 or event.attempt == 1:
        raise RuntimeError("on purpose")
    return f"reply to {event.task_id}"
"""
KINDS = ("quick",) * 80 + ("slow",) * 10 + ("late",) * 5 + ("failing",) * 5
FIRST_BOT_ID = 100
"""Each bot is a person of its own, with a rate limit of its own."""
RETRY_AFTER_S = 1.0
DELIVERIES_OF_AN_EVENT = 1.2
"""With duplicates, retries and repeats."""
REUSED_S = 10.0
"""A connection that was idle for longer is not used again: the host closes it one day."""


@dataclass(frozen=True)
class Mix:
    """Which bots there are, in turn, and what is sent to them."""

    kinds: tuple[str, ...] = KINDS
    first: int = 1
    """The first event's number; its comment's id is ten times that."""
    text_bytes: dict[str, int] = field(default_factory=dict)
    """How long a comment's text is, by kind of bot."""

    def kind(self, number: int) -> tuple[int, str]:
        """The bot of an event and its kind; neighbours go to different ones."""
        bot = number * 7 % len(self.kinds)
        return bot, self.kinds[bot]


@dataclass
class Tally:
    """What became of the events."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    quick_s: list[float] = field(default_factory=list)
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    late: set[int] = field(default_factory=set)
    sent: int = 0

    def report(self, seconds: float) -> dict[str, object]:
        """Figures, rounded."""
        half = [each for each in self.memory_mb if each[0] >= seconds / 2] or self.memory_mb
        slope = statistics.linear_regression(*zip(*half, strict=True)).slope if len(half) > 1 else 0.0
        cuts = statistics.quantiles(self.quick_s, n=100)
        return {
            "deliveries": self.sent, "per second": round(self.sent / seconds), "events": dict(self.outcomes), "wrong": self.wrong[:5],
            "quick bots ms p50 p95 p99": [round(cuts[at] * 1000, 1) for at in (49, 94, 98)],
            "memory MB at half, at end": [round(half[0][1], 1), round(half[-1][1], 1)],
            "MB per hour in the second half": round(slope * 3600, 1), "files at most": max(self.files, default=0),
        }  # fmt: skip


class Load:
    """The sender's side, with the fake Pyrus that takes late replies."""

    def __init__(self, host: HostSite, pyrus: FakePyrus, mix: Mix | None = None) -> None:
        self.host = host
        self.pyrus = pyrus
        self.mix = mix or Mix()
        self.tally = Tally()
        self.idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def run(self, seconds: float, rate: float) -> None:
        """Send at the rate, whatever the answers do; return when each event has its outcome."""
        began = time.monotonic()
        events: set[asyncio.Task[None]] = set()
        watching = asyncio.create_task(self.watch(began))
        number = self.mix.first
        while (now := time.monotonic() - began) < seconds:
            while number < self.mix.first + now * rate / DELIVERIES_OF_AN_EVENT:
                event = asyncio.create_task(self.event(number))
                events.add(event)
                event.add_done_callback(events.discard)
                number += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*events)
        await self.late_ones()
        watching.cancel()
        for _since, _reader, writer in self.idle:
            writer.close()

    async def event(self, number: int) -> None:
        """One event through all its attempts."""
        bot, kind = self.mix.kind(number)
        self.pyrus.add_task(id=number)
        for attempt in (1, 2, 3):
            twice = number % 10 == 0
            began = time.monotonic()
            answers = await asyncio.gather(*(self.deliver(bot, number, attempt) for _ in range(1 + twice)))
            took_s = time.monotonic() - began
            if kind == "quick":
                self.tally.quick_s.append(took_s)
            # a sender that stood still for a second in between has sent two attempts, and the second one succeeds
            if len(set(answers)) > 1 and not (kind == "failing" and took_s > APART_S):
                self.tally.wrong.append(f"{kind} {number}: one event got {answers}")
            status, body = answers[0]
            if status == 200:
                break
            await asyncio.sleep(RETRY_AFTER_S)
        if number % 20 == 3 and status == 200:
            again = await self.deliver(bot, number, attempt + 1)
            if again != (status, body):
                self.tally.wrong.append(f"{kind} {number}: {status} {body!r}, and then {again}")
        self.settle(kind, number, status, body)

    def settle(self, kind: str, number: int, status: int, body: bytes) -> None:
        """Compare the last answer with what this bot was to do."""
        right = json.dumps({"text": f"reply to {number}"}, separators=(",", ":")).encode()
        fails = kind == "failing" and number % 2 == 1
        if fails and status == 500:
            self.tally.outcomes["failed by its own fault"] += 1
        elif (status, body) == (200, b"{}") and not fails:
            self.tally.late.add(number)
        elif (status, body) == (200, right) and not fails and kind != "late":
            self.tally.outcomes["answered at once"] += 1
        else:
            self.tally.wrong.append(f"{kind} {number}: {status} {body!r}")

    async def late_ones(self) -> None:
        """Until each late reply is a comment, once; at most a minute."""
        ends = time.monotonic() + 60
        while True:
            texts = Counter(wrote.text for wrote in self.pyrus.comments())
            missing = [number for number in self.tally.late if not texts[f"reply to {number}"]]
            if not missing or time.monotonic() > ends:
                break
            await asyncio.sleep(0.2)
        self.tally.outcomes["answered late"] = len(self.tally.late) - len(missing)
        self.tally.wrong += [f"late {number}: never posted" for number in missing]
        self.tally.wrong += [f"{text!r} was posted {times} times" for text, times in texts.items() if times > 1]

    async def deliver(self, bot: int, number: int, attempt: int) -> tuple[int, bytes]:
        """One signed delivery on a kept connection."""
        self.tally.sent += 1
        kind = self.mix.kinds[bot]
        task = {
            "id": number,
            "comments": [
                {
                    "id": number * 10,
                    "text": "x" * self.mix.text_bytes.get(kind, 900),
                    "author": {"id": 7, "type": "user"},
                }
            ],
        }
        body = json.dumps({
            "event": "comment", "access_token": self.token, "task_id": number, "user_id": FIRST_BOT_ID + bot, "task": task,
        }).encode()  # fmt: skip
        head = (
            f"POST /b{bot} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\nX-Pyrus-Retry: {attempt}/3\r\n"
            f"X-Pyrus-Sig: {sign(body, SECRET)}\r\n\r\n"
        )
        reader, writer = await self.connection()
        writer.write(head.encode() + body)
        told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        size = int(told.lower().partition("content-length: ")[2].partition("\r\n")[0])
        answer = await reader.readexactly(size)
        self.idle.append((time.monotonic(), reader, writer))
        return int(told.split()[1]), answer

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The one that was used last, or a new one."""
        while self.idle and self.idle[0][0] < time.monotonic() - REUSED_S:
            self.idle.pop(0)[2].close()
        if self.idle:
            return self.idle.pop()[1:]
        return await asyncio.open_connection("127.0.0.1", self.host.port)

    async def watch(self, began: float) -> None:
        """Memory and open files of the host, each second."""
        assert self.host.process is not None
        proc = Path(f"/proc/{self.host.process.pid}")
        while True:
            pages = int((proc / "statm").read_text().split()[1])
            self.tally.memory_mb.append((time.monotonic() - began, pages * 4096 / 1e6))
            self.tally.files.append(len(list((proc / "fd").iterdir())))
            await asyncio.sleep(1)

    token = ""


def login_of(bot: int) -> str:
    """The bot's own."""
    return f"bot{bot}@load.example"


def add_bots(pyrus: FakePyrus, kinds: tuple[str, ...]) -> None:
    """Let the fake Pyrus know them."""
    for at in range(len(kinds)):
        pyrus.add_bot(login_of(at), SECRET, FIRST_BOT_ID + at)


def sections(kinds: tuple[str, ...], api_url: str, keys: str) -> str:
    """The bots, as `HostSite` takes them. What fails at once is never late, or the host would run it again by itself."""
    return "\n".join(
        f"b{at}: plugin = {kind}; login = {login_of(at)}; api_url = {api_url}; answer_within = {'25s' if kind == 'failing' else '2s'}; {keys}"
        for at, kind in enumerate(kinds)
    )


def measured(seconds: float, rate: float) -> tuple[Tally, dict[str, object]]:
    """Run it; the tally and its figures."""

    async def work(folder: Path) -> Load:
        pyrus = FakePyrus(SystemClock())
        pyrus.world.strict = False
        add_bots(pyrus, KINDS)
        server = FakeServer(pyrus)
        bots = sections(KINDS, server.base_url, "concurrency = 100")
        host = HostSite(folder, PLUGINS, bots)
        try:
            await asyncio.to_thread(host.start)
            load = Load(host, pyrus)
            await load.run(seconds, rate)
        finally:
            host.end()
            await server.refuse()
        return load

    with tempfile.TemporaryDirectory(prefix="bothost-load-") as folder:
        load = asyncio.run(work(Path(folder)))
    return load.tally, load.tally.report(seconds)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.load")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--rate", type=float, default=300)
    options = parser.parse_args()
    _tally, figures = measured(options.seconds, options.rate)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
