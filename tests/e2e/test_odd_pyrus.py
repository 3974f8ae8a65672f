"""A whole host beside a Pyrus whose answers are odd: no event stays open, no task gets a comment twice or none."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.playing import Playing
from tests.e2e.site import HostSite
from tests.pyrus_client.test_odd_answers import ODD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bothost.testing.fake_pyrus.webhooks import AttemptResult, Webhooks

pytestmark = pytest.mark.full

PLUGINS = """
import asyncio
async def late(event):
    await asyncio.sleep(1.1)
    return "late"
async def calls(event):
    try:
        await event.pyrus.comment(event.task_id, "called")
    except CallError as error:
        return type(error).__name__
    return "nothing was odd"
"""
LONG = {name for name in ODD if name.startswith("endless ") or "endless chunk" in name} - {"endless headers"}
"""What only a call's time limit of 30 s ends: with BOTHOST_LONG=1."""
NAMES = [name for name in ODD if name not in LONG or os.environ.get("BOTHOST_LONG")]


class CrookedRoad:
    """Stands before a Pyrus: hands every request on, and once for each of `odd` answers with other bytes instead."""

    def __init__(self, playing: Playing) -> None:
        self._playing = playing
        self._target = int(playing.url.split(":")[2].split("/")[0])
        self.odd: dict[bytes, Any] = {}
        """By the first words of a request, `POST /api/v4/tasks/5/comments`, for one time each."""
        self.tasks: set[asyncio.Task[Any]] = set()
        self._server = playing.do(self._start())
        self.url = playing.url.replace(str(self._target), str(self._server.sockets[0].getsockname()[1]))

    async def _start(self) -> Any:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            while True:
                request = await message(reader)
                true = await self._handed_on(request)
                odd = self.odd.pop(request.rpartition(b" HTTP/1.1\r\n")[0].split(b" HTTP/")[0], true)
                await odd(writer) if callable(odd) else writer.write(odd)
                await writer.drain()
        writer.close()

    async def _handed_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
        writer.write(request)
        try:
            return await message(reader)
        finally:
            writer.close()

    def end(self) -> None:
        async def close() -> None:
            self._server.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        self._playing.do(close())


async def message(reader: asyncio.StreamReader) -> bytes:
    """Read a request or an answer with a length, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
    return head + await reader.readexactly(length)


@pytest.fixture
def playing() -> Iterator[Playing]:
    made = Playing()
    yield made
    made.end()


def deliver_all(playing: Playing, hooks: Webhooks, tasks: list[int]) -> list[AttemptResult]:
    """Deliver an event of each task at the same time; what the last attempts got."""

    async def together() -> list[list[AttemptResult]]:
        return list(await asyncio.gather(*(hooks.deliver(task) for task in tasks)))

    return [attempts[-1] for attempts in playing.do(together())]


def asked(playing: Playing, count: int) -> list[int]:
    """New tasks in each of which somebody has said something."""
    tasks = [playing.task() for _ in range(count)]
    for task in tasks:
        playing.say(task, "please")
    return tasks


def test_no_odd_answer_leaves_an_event_open_or_a_comment_twice(tmp_path: Path, playing: Playing) -> None:
    road = CrookedRoad(playing)
    keys = f"api_url = {road.url}; concurrency = 99"
    bots = f"late: plugin = late; {keys}; answer_within = 1s; login = bot@late\ncalls: plugin = calls; {keys}; run = process"
    site = HostSite(tmp_path, PLUGINS, bots).start()
    try:
        late, calls = (
            playing.hooks(site, name, playing.bot(name, person)) for name, person in (("late", 8001), ("calls", 8002))
        )
        looked, posted, called = (asked(playing, len(NAMES)) for _ in range(3))
        for task, name in zip(looked, NAMES, strict=True):
            road.odd[f"GET /api/v4/tasks/{task}".encode()] = ODD[name]
        for task, name in zip([*posted, *called], [*NAMES, *NAMES], strict=True):
            road.odd[f"POST /api/v4/tasks/{task}/comments".encode()] = ODD[name]
        assert {answer.status for answer in deliver_all(playing, late, [*looked, *posted])} == {200}
        told = [json.loads(answer.body)["text"] for answer in deliver_all(playing, calls, called)]
        assert set(told) == {"CallRefused", "CallUnclear"}
        rows = {row["task"]: row for row in site.until(lambda: settled(site), 60)}
        assert len(rows) == 3 * len(NAMES)
        assert road.odd == {}
        failed = {name for task, name in zip(posted, NAMES, strict=True) if rows[task]["state"] == "failed"}
        assert failed == {"101", "301", "304", "418"}, "an answer that refuses is one for good"
        wrote = playing.look(lambda: Counter(one.task_id for one in playing.pyrus.comments() if one.text == "late"))
        assert wrote == {task: 1 for task, name in zip([*looked, *posted], [*NAMES, *NAMES], strict=True)
                         if rows[task]["state"] == "answered" or task in posted}  # fmt: skip
        assert site.stop() == 0
    finally:
        site.end()
        road.end()


def settled(site: HostSite) -> list[dict[str, Any]]:
    """All rows, once none of them is open."""
    rows: list[dict[str, Any]] = site.command("deliveries", "list", "--limit", "500")
    return rows if {row["state"] for row in rows} <= {"answered", "failed"} else []
