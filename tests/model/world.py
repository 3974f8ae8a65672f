"""One world of the model: Pyrus with its attempts and its API, routers, and processes that die, in virtual time."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from tests.model.plans import BOTS, EventPlan, Odds, draw_events
from tests.model.process import PROCESS, Process, own_tasks
from tests.model.rough import RoughTransport
from tests.model.seen import Line, Run, Seen

from bothost.config import read
from bothost.config.secrets import SecretSources
from bothost.journal.entry import EntryFilter
from bothost.pipeline.drain import drain
from bothost.plugins.discovery import DiscoveredPlugin
from bothost.plugins.loading import PluginResources, load
from bothost.testing.fake_pyrus import FakePyrus
from bothost.testing.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.journal.entry import Entry
    from bothost.pipeline.delivery import Outcome

PAGE = 1000
PYRUS_WAITS_S = 60.0
SECOND_AT_S = 61.0
ACKNOWLEDGED = ("late", "parked", "acknowledged")
TROUBLE_ENDS_S = 600.0
"""After the last event: from then on nothing goes wrong any more, so that everything can come to its end."""


WATCHED = os.environ.get("BOTHOST_MODEL_WATCH", "")
"""The name of an event of which everything is to be printed."""


class World:
    """Plays a number of events to their end, and knows what was seen."""

    def __init__(self, seed: str, folder: Path, events: int, odds: Odds, processes: int = 1) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.odds = odds
        self.folder = folder
        self.clock = VirtualClock()
        self.clock.loop.set_task_factory(own_tasks)
        self.pyrus = FakePyrus(self.clock)
        self.pyrus.world.strict = False
        self.seen = {plan.name: Seen(plan) for plan in draw_events(self.rng, events, odds)}
        self.processes: list[Process | None] = [None] * processes
        self.deaths: list[tuple[float, Process]] = []
        self.drained: dict[Process, None] = {}
        self.lines: dict[Line, None] = {}
        self.troubled = True
        self.forgotten: set[str] = set()
        """Events of which a process died before it had written what it noted: their claim, or how they ended."""
        self.recorded: set[str] = set()
        """Events whose handler returned, durably."""
        self.rows: list[Entry] = []
        """The journal, once everything has come to rest."""
        self.faults: list[str] = []
        self.words: Counter[str] = Counter()

    def tell(self, name: str, what: str) -> None:
        """Print what happens to the watched event."""
        if WATCHED and name in (WATCHED, ""):
            print(f"{self.clock.monotonic():10.3f} {name or '-':6} {what}")

    def transport(self, process: Process) -> RoughTransport:
        return RoughTransport(self, process)

    def play(self) -> list[str]:
        """Everything, from the first event to the end of the last; what was wrong."""
        try:
            self.clock.run(self._play(), limit_s=400_000.0)
        finally:
            for process in self.processes:
                if process is not None:
                    process.end()
            self.clock.loop.close()
        return self.faults

    async def _play(self) -> None:
        self.served = [self._serve(bot) for bot in BOTS]
        for index in range(len(self.processes)):
            await self._start(index)
        plans = [seen.plan for seen in self.seen.values()]
        last_s = max(plan.at_s for plan in plans)
        self.clock.loop.call_later(last_s + TROUBLE_ENDS_S, self._calm_down)
        await asyncio.gather(*(self._send_event(self.seen[plan.name]) for plan in plans))
        await asyncio.sleep(TROUBLE_ENDS_S)
        await self._come_to_rest()
        for process in self.processes:
            if process is not None:
                self._check_queues(process)

    def _calm_down(self) -> None:
        self.troubled = False
        self.pyrus.heal()

    # --- processes

    def _serve(self, bot: Any) -> Any:
        keys = {
            "plugin": "model",
            "secret": f"a-secret-for-the-model-{bot.name}",
            **bot.ini,
            "login": f"bot@{bot.name}",
        }
        ini = self.folder / "bots.ini"
        ini.write_text(f"[bot:{bot.name}]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()))
        reading = read(ini, os.environ)
        assert not reading.all_problems(), reading.all_problems()
        config = reading.bots[bot.name]
        self.pyrus.add_bot(keys["login"], keys["secret"], bot.user_id)
        found = {"model": DiscoveredPlugin("model", lambda: self._handler)}
        plugged = load(
            config, found, PluginResources(self.clock, self.folder, None, SecretSources(self.folder, os.environ))
        )
        return config, plugged

    async def _start(self, index: int) -> None:
        process = Process(self, self.folder / "state", claims_first=len(self.processes) > 1)
        self.processes[index] = process
        starting = process.run(lambda: asyncio.get_running_loop().create_task(process.start(self.served)))
        await asyncio.wait([starting])
        if not process.dead:
            starting.result()
            process.ready = True
            self.tell("", "a process is up")

    def maybe_kill(self, process: Process, chance: float) -> None:
        """Kill it here, with this chance; then nothing after this line happens."""
        if self.troubled and self.rng.random() < chance:
            self.kill(process)
            raise asyncio.CancelledError

    def kill(self, process: Process) -> None:
        """kill -9."""
        if process.dead or process not in self.processes or not self.troubled:
            return
        index = self.processes.index(process)
        self.processes[index] = None
        self.deaths.append((self.clock.monotonic(), process))
        self.tell("", "a process dies")
        process.dead = process.killed = True
        for line in list(self.lines):
            if line.process is process:
                line.cut()
        self.clock.loop.call_soon(process.end)
        self._later(self._come_back(index))

    async def _come_back(self, index: int) -> None:
        await asyncio.sleep(self.rng.choice([0.2, 2.0, 20.0]))
        await self._start(index)

    def _later(self, work: Any) -> None:
        token = PROCESS.set(None)
        try:
            self.clock.loop.create_task(work)
        finally:
            PROCESS.reset(token)

    async def _stop_gently(self, process: Process) -> None:
        """SIGTERM."""
        index = self.processes.index(process)
        self.drained[process] = None
        self.tell("", "a process drains")
        for bot in process.service:
            bot.queue.resize(0)
        await process.run(
            lambda: asyncio.get_running_loop().create_task(
                drain(process.pipeline, self.rng.choice([0.5, 10.0]), asyncio.Event())
            )
        )
        if process.dead:
            return
        self.processes[index] = None
        for line in list(self.lines):
            if line.process is process:
                line.cut()
        await process.run(lambda: asyncio.get_running_loop().create_task(process.pipeline.stop()))
        process.journal._write_noted()
        await process.run(lambda: asyncio.get_running_loop().create_task(process.journal.close()))
        process.dead = True
        for task in list(process.tasks):
            task.cancel()
        await self._come_back(index)

    # --- the plugin

    async def _handler(self, event: Any) -> Any:
        seen = self.seen[event.raw["task"]["text"]]
        process = PROCESS.get()
        assert process is not None
        for other in seen.runs:
            if not other.ended and not other.life.dead:
                self.faults.append(f"{seen.plan.name} runs beside itself")
        run = Run(process, self.clock.monotonic(), event.rerun)
        self._check_rerun(seen, event.id, event.rerun)
        seconds, said = seen.plan.run(len(seen.runs))
        self.tell(
            seen.plan.name,
            f"runs {event.id} attempt {event.attempt} rerun {event.rerun!r} for {seconds:.1f} s, then {said}",
        )
        seen.runs.append(run)
        try:
            await asyncio.sleep(seconds)
            run.said = said
        except asyncio.CancelledError:
            run.said = "cut"
            raise
        finally:
            run.ended = self.clock.monotonic()
            self.tell(seen.plan.name, f"run ended: {run.said}")
        if said == "raise":
            raise ValueError("no")
        return {"text": f"{seen.plan.name} says"} if said == "reply" else None

    def _check_rerun(self, seen: Seen, key: str, rerun: str) -> None:
        """It runs again only where that is allowed, and is told why."""
        if key in self.recorded:
            self.faults.append(f"{seen.plan.name} runs again ({rerun}) although its outcome was recorded")
        if seen.runs and not rerun and key not in self.forgotten:
            self.faults.append(f"{seen.plan.name} runs again and is not told why")

    def name_of(self, entry: Entry) -> str:
        """The event of an entry."""
        if not WATCHED:
            return "?"
        plan = self.seen[WATCHED].plan
        mine = (plan.bot.name, plan.task, plan.comment)
        return WATCHED if (entry.bot, entry.task, entry.comment) == mine else "?"

    def commits(self, entry: Entry) -> None:
        """An entry is durable as it stands."""
        self.tell(
            self.name_of(entry),
            f"written {entry.id} {entry.state} {entry.door} fence {entry.fence} {entry.answer!r} {entry.error[:60]!r}",
        )
        if entry.answer is not None and not entry.failed:
            self.recorded.add(entry.id)

    # --- Pyrus

    async def _send_event(self, seen: Seen) -> None:
        plan, rng = seen.plan, self.rng
        await asyncio.sleep(plan.at_s)
        self._know_task(plan)
        began = self.clock.monotonic()
        for number, at_s in ((1, 0.0), (2, SECOND_AT_S), (3, plan.third_at_s)):
            await asyncio.sleep(max(0.0, began + at_s - self.clock.monotonic()))
            if rng.random() < 0.02 and self.troubled:
                self._end_some_process()
            outcome = await self._attempt(plan, number)
            if outcome is not None:
                self.words[f"{outcome.status} {outcome.word}"] += 1
            if outcome is not None and 200 <= outcome.status < 300:
                self._read(seen, outcome)
                return

    def _end_some_process(self) -> None:
        process = self.rng.choice(self.processes)
        if process is None or not process.ready or process in self.drained:
            return
        if self.rng.random() < self.odds.drain:
            self._later(self._stop_gently(process))
        else:
            self.clock.loop.call_later(self.rng.uniform(0, 40), self.kill, process)

    async def _attempt(self, plan: EventPlan, number: int) -> Outcome | None:
        """One attempt through its router, which may send it twice, if its first connection breaks."""
        rng = self.rng
        header = "" if rng.random() < self.odds.unnumbered else f"{number}/3"
        until = self.clock.monotonic() + min(plan.router_s, PYRUS_WAITS_S)
        if self.troubled and plan.comment and rng.random() < self.odds.doubled:
            first = self._connect(plan, number, header)
            if first is not None:
                await self._wait(first, rng.choice([0.0, 0.3, 3.0]))
                if first.read.done() and first.read.result() is not None:
                    return first.read.result()
                first.cut()
        line = self._connect(plan, number, header)
        if line is None:
            return None
        if self.troubled and rng.random() < self.odds.hung_up:
            until = min(until, self.clock.monotonic() + rng.uniform(0, 40))
        line.lost = self.troubled and rng.random() < self.odds.lost_response
        await self._wait(line, until - self.clock.monotonic())
        line.cut()
        self.tell(plan.name, f"attempt {number} reads {line.read.result()}")
        return line.read.result()

    async def _wait(self, line: Line, seconds: float) -> None:
        await asyncio.wait([line.read], timeout=max(0.0, seconds))

    def _connect(self, plan: EventPlan, number: int, header: str) -> Line | None:
        up = [process for process in self.processes if process is not None and process.ready and not process.dead]
        if not up:
            return None
        process = self.rng.choice(up)
        bot = process.service.find(plan.bot.name)
        assert bot is not None
        line = Line(self, bot, plan.body(number), header, process)
        self.lines[line] = None
        line.read.add_done_callback(lambda _: self.lines.pop(line, None))
        self.tell(plan.name, f"attempt {number} ({header or 'no header'}) connects")
        process.run(process.pipeline.dispatch.receive, line)
        return line

    def _know_task(self, plan: EventPlan) -> None:
        world = self.pyrus.world
        comments = [{"id": plan.comment, "text": plan.name, "author": {"id": 7}}] if plan.comment else []
        known = world.tasks.get(plan.task)
        if known is None:
            world.add_task({"id": plan.task, "text": "a task", "comments": comments})
        else:
            known["comments"].extend(comments)
        account = world.accounts[plan.bot.user_id]
        for number in (1, 2, 3):
            account.tokens.setdefault(plan.token(number), "")

    def _read(self, seen: Seen, outcome: Outcome) -> None:
        if outcome.word in ACKNOWLEDGED:
            seen.door_api = True
        else:
            seen.replied = True
        if outcome.body != b"{}":
            account = self.pyrus.world.accounts[seen.plan.bot.user_id]
            self.pyrus.take_response(account, seen.plan.task, outcome.body)

    # --- the end

    async def _come_to_rest(self) -> None:
        """Until nothing is open any more."""
        for _ in range(200):
            await asyncio.sleep(300)
            if None in self.processes:
                continue
            self.rows = await self._read_journal()
            if not any(row.state in ("ready", "running") for row in self.rows):
                return
        self.faults.append("it does not come to rest")

    async def _read_journal(self) -> list[Entry]:
        process = next(process for process in self.processes if process is not None)
        rows: list[Entry] = []
        page = await process.journal.list(EntryFilter(limit=PAGE))
        while page:
            rows += page
            page = await process.journal.list(EntryFilter(limit=PAGE, before=(page[-1].created, page[-1].id)))
        return rows

    def _check_queues(self, process: Process) -> None:
        for bot in process.service:
            queue = bot.queue
            if queue.held or queue.waiting or queue._turns or queue._ahead or queue.waiting_bytes:
                self.faults.append(f"{bot.name}'s queue is not empty: {queue.held} {queue._turns} {queue._ahead}")
        for tracked in process.pipeline.context.event_table:
            if tracked.open:
                self.faults.append(f"{tracked.entry.id} is still {tracked.phase} with {len(tracked.waiters)} waiting")
