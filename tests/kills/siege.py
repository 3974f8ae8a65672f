"""Hosts that are killed at any moment under load, and a Pyrus that accounts for each event.

By hand, two hundred kills: BOTHOST_KILLS=200 pytest tests/kills/test_kills_under_load.py -m full -s
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.e2e.site import SECRET, HostSite, free_port
from tests.kills.deaths import DeathBook
from tornado.httpclient import AsyncHTTPClient

from bothost.clock import SystemClock
from bothost.journal import open_journal
from bothost.journal.entry import EntryFilter
from bothost.journal.transitions import DEATHS, KILLED
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.fake_pyrus.server import FakeServer
from bothost.testing.fake_pyrus.webhooks import WebhookRoute, Webhooks, over_http

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bothost.journal.entry import Entry
    from bothost.testing.fake_pyrus.webhooks import AttemptResult, SimulatedRequest

PLUGINS = """
import asyncio, os, pathlib, time
RUNS = os.open(str(pathlib.Path(__file__).parents[1] / "runs"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def begins(event):
    os.write(RUNS, f"{event.task_id} {os.getpid()} {event.rerun or 'first'}\\n".encode())
    return f"reply to {event.task_id}"
async def quick(event):
    return begins(event)
async def slow(event):
    said = begins(event)
    await asyncio.sleep(0.05 + event.task_id % 8 / 16)
    return said
async def late(event):
    said = begins(event)
    await asyncio.sleep(1.1)
    return said
async def crowded(event):
    said = begins(event)
    await asyncio.sleep(0.1)
    return said
def threaded(event):
    said = begins(event)
    time.sleep(0.2)
    return said
async def failing(event):
    said = begins(event)
    if not event.rerun:
        raise RuntimeError("on purpose")
    return said
"""
KINDS = {
    "quick": "", "slow": "", "late": "answer_within = 1s", "crowded": "answer_within = 1s; concurrency = 1", "threaded": "",
    "failing": "",
}  # fmt: skip
PERSON = 99
ROUTE = WebhookRoute(times=(0.0, 2.0, 4.0))
MIX = ("quick", "slow", "late", "quick", "crowded", "threaded", "quick", "failing", "slow", "quick")
IN_FLIGHT_MOST = 40
ABOUT_TO_S = 3.0
"""A claim is in the journal before its run begins; on a busy machine it may be so much earlier."""
STUCK_S = 90.0
"""What was in flight at a death runs one by one, so many deaths leave a long line; but never for so long does nothing of it end."""


@dataclass
class Told:
    """What Pyrus was told of an event."""

    kind: str
    reached: list[AttemptResult] = field(default_factory=list)

    @property
    def promised(self) -> bool:
        """It was acknowledged without its reply."""
        return any(one.status == 200 and one.body == b"{}" for one in self.reached)


class Siege:
    """`hosts` hosts on one journal (`journal`: a PostgreSQL URL; embedded: one host of `processes`). Used on one loop."""

    def __init__(self, folder: Path, seed: int, *, journal: str = "", hosts: int = 1, processes: int = 1) -> None:
        self.rng = Random(seed)
        self.folder = folder
        self.journal = journal
        self.pyrus = FakePyrus(SystemClock())
        self.pyrus.world.strict = False
        self.server = FakeServer(self.pyrus)
        self.client = AsyncHTTPClient(force_instance=True, max_clients=1000)
        self.told: dict[int, Told] = {}
        self.kills = 0
        self.killed: dict[int, float] = {}
        """When each process was killed."""
        self.deaths = DeathBook(journal, folder / "host0" / "state")
        self.durable = bool(journal) or processes > 1
        """Whether a claim is durable before its run."""
        self.wrong: list[str] = []
        self.unbegun: list[float] = []
        """Seconds from a claim to a kill that came before its run began."""
        self.sites = [self._site(number, processes) for number in range(hosts)]
        self.hooks = {kind: self._hooks(kind) for kind in KINDS}

    def _site(self, number: int, processes: int) -> HostSite:
        folder = self.folder / f"host{number}"
        folder.mkdir()
        keys = f"login = bot@siege.example; api_url = {self.server.base_url}; concurrency = 20"
        bots = "\n".join(
            f"{kind}: plugin = {kind}; {keys if 'concurrency' not in more else keys.rpartition(';')[0]}; {more}"
            for kind, more in KINDS.items()
        )
        lines = f"port = {free_port()}\nprocesses = {processes}\n"
        return HostSite(folder, PLUGINS, bots, lines + (f"journal = {self.journal}\n" if self.journal else ""))

    def _hooks(self, kind: str) -> Webhooks:
        account = self.pyrus.world.account_of("bot@siege.example") or self.pyrus.add_bot(
            "bot@siege.example", SECRET, PERSON
        )

        async def send(hook: SimulatedRequest) -> tuple[int, bytes]:
            site = self.rng.choice(self.sites)
            return await over_http(f"http://127.0.0.1:{site.port}/{kind}", self.client)(hook)

        return Webhooks(self.pyrus, account, SECRET, send, ROUTE)

    async def stand(self, kills: int) -> None:
        """Send events all the time, kill so often, let everything come to rest, and judge."""
        await self.begin()
        while self.kills < kills:
            await asyncio.sleep(self.rng.uniform(0.2, 3.0))
            await self.kill_one()
        await self.finish()
        if self.durable:
            await self._judge_deaths()

    async def begin(self) -> None:
        """Start the hosts, and begin to send events."""
        for site in self.sites:
            await asyncio.to_thread(site.start, {"BOTHOST_LOOP": os.environ.get("BOTHOST_SIEGE_LOOP", "asyncio")})
        await self.deaths.open()
        self._sending = asyncio.create_task(self._send())

    async def finish(self, touched: Collection[int] = ()) -> None:
        """Send no more, let everything come to rest, and judge; `touched`: tasks in which an operator acted."""
        self._ends = True
        assert self._sending is not None
        await self._sending
        self._judge(await self._rest(), touched)

    _ends = False
    _sending: asyncio.Task[None] | None = None

    async def kill_one(self) -> None:
        """kill -9 of a host or a worker."""
        await self._kill(self.rng.choice(self.sites))

    async def _send(self) -> None:
        events: set[asyncio.Task[None]] = set()
        number = 1000
        while not self._ends:
            if len(events) < IN_FLIGHT_MOST:
                number += 1
                events.add(event := asyncio.create_task(self._event(MIX[number % len(MIX)], number)))
                event.add_done_callback(events.discard)
            await asyncio.sleep(0.02)
        await asyncio.gather(*events)

    async def _event(self, kind: str, task: int) -> None:
        self.pyrus.add_task(id=task)
        self.pyrus.say(task, "please")
        self.told[task] = Told(kind, await self.hooks[kind].deliver(task))

    async def _kill(self, site: HostSite) -> None:
        """kill -9: a worker of several, or the host with all its processes."""
        assert site.process is not None
        workers = children_of(site.process.pid)
        self.kills += 1
        if len(workers) > 1 and self.rng.random() < 0.7:
            self._end_process(self.rng.choice(workers))
            return
        for process in (site.process.pid, *workers):
            self._end_process(process)
        await asyncio.to_thread(site.wait)
        await asyncio.to_thread(site.start)

    def _end_process(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.killed[pid] = time.time()

    async def _rest(self) -> list[Entry]:
        """The journal when nothing acknowledged is open any more."""
        store = open_journal(
            self.journal, self.sites[0].folder / "state", SystemClock(), claims_first=True, readonly=True
        )
        await store.open()
        try:
            now = asyncio.get_running_loop().time
            fewest, ends = len(self.told) + 1, now() + STUCK_S
            while now() < ends:
                rows = await store.list(EntryFilter(limit=100_000))
                ahead = [row for row in rows if row.state == "running" or (row.state == "ready" and row.door == "api")]
                if not ahead:
                    return list(rows)
                if len(ahead) < fewest:
                    fewest, ends = len(ahead), now() + STUCK_S
                await asyncio.sleep(0.5)
            self.wrong += [f"stuck: {row.id} {row.state} {row.door} {row.error[:80]}" for row in ahead[:5]]
            return list(rows)
        finally:
            await store.close()

    def _judge(self, rows: Sequence[Entry], touched: Collection[int]) -> None:
        comments: dict[int, list[str]] = defaultdict(list)
        for wrote in self.pyrus.comments():
            comments[wrote.task_id].append(wrote.text)
        by_task = {row.task: row for row in rows}
        self.poisoned = [row.task for row in rows if row.error.startswith(KILLED)]
        for task, told in self.told.items():
            wrote, row = comments[task], by_task.get(task)
            if len(wrote) > 1 or any(text != f"reply to {task}" for text in wrote):
                self.wrong.append(f"{told.kind} {task} has the comments {wrote}")
            if told.promised and not wrote and task not in self.poisoned and task not in touched:
                self.wrong.append(f"{told.kind} {task} was acknowledged and has no comment: {row}")
        for task, runs in self.runs().items():
            lives = Counter(pid for pid, _ in runs)
            if max(lives.values()) > 1 and self.told[task].kind != "failing" and task not in touched:
                self.wrong.append(f"{self.told[task].kind} {task} ran twice in one process: {runs}")
            if self.durable and [why for _, why in runs].count("first") > 1:
                self.wrong.append(
                    f"{self.told[task].kind} {task} ran for the first time twice: {runs} {by_task.get(task)}"
                )

    async def _judge_deaths(self) -> None:
        """Each death that counts was a kill, of a process in which the run had begun, or was about to."""
        began = {(task, int(pid)) for task, runs in self.runs().items() for pid, _ in runs}
        given_up: dict[int, set[str]] = defaultdict(set)
        for death in await self.deaths.all():
            given_up[death.task].add(death.owner)
            killed_at = self.killed.get(death.pid)
            if killed_at is None:
                self.wrong.append(f"a death counts whose process was not killed: {death}")
            elif (death.task, death.pid) not in began:
                self.unbegun.append(round(killed_at - death.claimed, 2))
                if self.unbegun[-1] > ABOUT_TO_S:
                    self.wrong.append(
                        f"a death counts {self.unbegun[-1]} s after the claim, and no run had begun: {death}"
                    )
        self.wrong += [
            f"given up after the deaths of {given_up[task]}" for task in self.poisoned if len(given_up[task]) < DEATHS
        ]

    def runs(self) -> dict[int, list[tuple[str, str]]]:
        """The runs of each task: process and reason."""
        found: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for line in (self.folder / "runs").read_text().splitlines():
            task, pid, why = line.split()
            found[int(task)].append((pid, why))
        return found

    def figures(self) -> dict[str, object]:
        """What happened, for the report."""
        runs = self.runs()
        why = Counter(why for each in runs.values() for _, why in each)
        return {
            "kills": self.kills, "events": len(self.told), "acknowledged": sum(told.promised for told in self.told.values()),
            "comments": len(self.pyrus.comments()), "by the API": sum(wrote.door == "api" for wrote in self.pyrus.comments()),
            "runs": dict(why), "third deaths": len(self.poisoned), "killed between claim and run, s": self.unbegun, "wrong": self.wrong[:10],
        }  # fmt: skip

    async def end(self) -> None:
        """Whatever it takes."""
        if self._sending is not None:
            self._sending.cancel()
        for site in self.sites:
            if site.process is not None:
                workers = children_of(site.process.pid)
                site.end()
                for worker in workers:
                    kill_quietly(worker)
        self.client.close()
        await self.server.refuse()


def children_of(pid: int) -> list[int]:
    """The processes that this one has begun."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def kill_quietly(pid: int) -> None:
    """It may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
