"""What the tests of the state table share: the journal's rows, a journal that can be away, bodies that differ."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bothost.errors import JournalAway
from bothost.journal.entry import Entry, EntryFilter
from bothost.journal.sqlite.clock_steps import _SHIFT
from bothost.testing import Harness, task
from bothost.testing.host import BareHost, PunctualStore

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path


class MoodyStore(PunctualStore):
    """The real journal behind a disk that can be gone, slow, or so slow that what it writes lands when nobody listens any
    more (`unheard`); what is noted while it is gone waits, as in the writer."""

    def _moods(self) -> dict[str, Any]:
        return vars(self).setdefault(
            "moods", {"away": False, "full": False, "slow_s": 0.0, "unheard": False, "held": []}
        )

    def note(self, entry: Entry, body: bytes | None = None) -> None:
        moods = self._moods()
        if moods["away"] or moods["full"]:
            moods["held"].append((Entry(**{name: getattr(entry, name) for name in Entry.__struct_fields__}), body))
        else:
            super().note(entry, body)

    async def _ask(self, work: Callable[[sqlite3.Connection], Any], *, is_whole: bool = False) -> Any:
        await self._mood()
        if self._moods()["full"]:
            raise JournalAway("the disk is full")
        result = await super()._ask(work, is_whole=is_whole)
        if self._moods()["unheard"]:
            raise JournalAway("no answer within 5 s")
        return result

    async def _read(self, question: Callable[[sqlite3.Connection], Any]) -> Any:
        await self._mood()
        return await super()._read(question)

    async def _mood(self) -> None:
        moods = self._moods()
        if moods["slow_s"]:
            await asyncio.sleep(moods["slow_s"])
        if moods["away"]:
            raise JournalAway("the disk is gone")


@dataclass
class Journal:
    """The journal behind a harness."""

    bothost: Harness

    @property
    def journal(self) -> PunctualStore:
        return self.bothost._state.host.journal

    @property
    def folder(self) -> Path:
        return self.bothost._state.host.folder

    def ask(self, work: Any) -> Any:
        return self.bothost._state.turn(work)

    def rows(self, **want: Any) -> list[Entry]:
        """Oldest first."""
        return sorted(
            self.ask(self.journal.list(EntryFilter(limit=1000, **want))), key=lambda row: (row.created, row.id)
        )

    def row(self, **want: Any) -> Entry:
        """The only one."""
        rows = self.rows(**want)
        assert len(rows) == 1, [row.id for row in rows]
        return rows[0]

    def body(self, key: str) -> bytes | None:
        return self.ask(self.journal.body(key))

    def age(self, seconds: float) -> None:
        """Let everything that is planned or kept be so much older, without waiting for it."""
        self.ask(self.journal._ask(lambda connection: connection.execute(_SHIFT, (-seconds, 0.0))))
        self.bothost._state.host.pipeline.context.event_table.shift(-seconds)

    def be(self, *, away: bool = False, full: bool = False, slow_s: float = 0.0, unheard: bool = False) -> None:
        """Let the disk be gone, full (it can be read), slow, or unheard; without arguments it is well again."""
        store = self.journal
        store.__class__ = MoodyStore
        moods = store._moods()
        moods |= {"away": away, "full": full, "slow_s": slow_s, "unheard": unheard}
        held = moods["held"]
        if not (away or full):
            while held:
                entry, body = held.pop(0)
                PunctualStore.note(store, entry, body)


@pytest.fixture
def journal(bothost: Harness) -> Journal:
    return Journal(bothost)


@dataclass
class Calls:
    """A handler that notes its runs and does what the test says: sleeps, then returns or raises."""

    says: Any = "done"
    takes: float = 0.0
    runs: list[tuple[int, str]] = field(default_factory=list)
    """(attempt, rerun) of each."""
    events: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    script: list[Any] = field(default_factory=list)
    """What the next runs say, before `says`: an exception is raised, a number sleeps first and then says `says`."""

    async def __call__(self, event: Any) -> Any:
        self.runs.append((event.attempt, event.rerun))
        self.events.append(event.id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            said: Any = self.script.pop(0) if self.script else self.says
            takes = self.takes
            if isinstance(said, tuple):
                takes, said = said
            await asyncio.sleep(takes)
            if isinstance(said, BaseException):
                raise said
            return said
        finally:
            self.at_once -= 1


def handler_of(calls: Calls) -> Any:
    """A function for `bothost.bot`."""

    async def handler(event: Any) -> Any:
        return await calls(event)

    return handler


@pytest.fixture
def calls() -> Calls:
    return Calls()


def another_token(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "access_token": "a-newer-token"}


def without_event(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "event"}


def comments_turned(body: dict[str, Any]) -> dict[str, Any]:
    task = body["task"]
    return {**body, "task": {**task, "comments": task["comments"][::-1]}}


def reencoded(body: dict[str, Any]) -> bytes:
    return json.dumps(dict(reversed(body.items())), ensure_ascii=True, indent=1).encode()


VARIANTS = [another_token, without_event, comments_turned, reencoded]


class Processes:
    """Two processes on one folder, as far as one loop can show them: claims are durable before the run."""

    def __init__(self, bothost: Harness, plugin: Any, ini: dict[str, Any] | None = None) -> None:
        self.bothost = bothost
        self.bench = bothost._state
        transport = bothost.pyrus.transport()
        self.bench.turn(self.bench.host.stop())
        start = BareHost.started
        self.hosts = [
            self.bench.turn(start(self.bench.time, self.bench.host.folder, transport, claims_first=True)) for _ in "ab"
        ]
        bothost._stack.callback(self.end)
        self.bench.host = self.hosts[0]
        self.bot = bothost.bot(plugin, ini=ini or {})
        self.served = [(self.bot.bot, self.bot.runner), self.bench.turn(self.hosts[1].add(*self.bot.origin))]

    def end(self) -> None:
        """Stop those that are still there: the harness knows only one of them."""
        for host in self.hosts:
            if not host._stopped:
                self.bench.turn(host.stop())

    def at(self, number: int) -> Any:
        """The bot, as this process has it."""
        self.bench.host = self.hosts[number]
        self.bot.bot, self.bot.runner = self.served[number]
        return self.bot

    def abandoned(self, after: str) -> dict[str, Any]:
        """A task whose first attempt the first process has begun, and whose sender has hung up so long ago."""
        of = task()
        self.at(0).begin(of, hang_up=True)
        self.bothost.clock.advance(after)
        return of

    def die(self, number: int) -> None:
        """It ends without a word about what it ran."""
        self.bench.turn(self.hosts[number].stop())
        self.at(1 - number)


@pytest.fixture
def processes(bothost: Harness, calls: Calls) -> Processes:
    return Processes(bothost, handler_of(calls))
