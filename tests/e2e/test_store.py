"""The store and `once` in a real host: in loop, thread and process bots, over two workers, over kill -9, by hand."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.e2e.site import HostSite

if TYPE_CHECKING:
    from pathlib import Path

PLUGINS = """
import asyncio, os, pathlib
HERE = pathlib.Path(__file__).parent
class Counting(Plugin):
    async def handle(self, event):
        await self.store.update("list", lambda seen: [*seen, event.task_id], [])
        return str(await self.store.add("events"))
class PlainCounting(Plugin):
    def handle(self, event):
        self.store.update("list", lambda seen: [*seen, event.task_id], []).wait()
        return str(self.store.add("events").wait())
def note(name):
    with (HERE / name).open("a") as file:
        file.write("called ")
    return 7
class Charging(Plugin):
    async def handle(self, event):
        if event.comment.text == "inside":
            found = await event.once("charge", lambda: self.cut(event))
        else:
            found = await event.once("charge", lambda: note("charges"))
        if not event.rerun:
            (HERE / "charged").write_text("yes")
            await asyncio.sleep(3600)
        return f"charged {found}"
    async def cut(self, event):
        note("charges")
        if not event.rerun:
            (HERE / "charged").write_text("yes")
            await asyncio.sleep(3600)
        return 7
async def failing(event):
    return await event.once("set", lambda: {1})
"""


@pytest.mark.parametrize("run", ["loop", "thread", "process"])
def test_every_way_to_run_counts_in_one_store_over_two_workers(tmp_path: Path, run: str) -> None:
    plugin = "PlainCounting" if run == "thread" else "Counting"
    site = HostSite(tmp_path, PLUGINS, f"one: plugin = {plugin}; run = {run}", "processes = 2\n")
    site.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            said = sorted(int(one.text) for one in pool.map(lambda task: site.deliver("one", task, task), range(1, 21)))
        assert said == list(range(1, 21))
        assert site.command("store", "get", "one", "events") == 20
        assert sorted(site.command("store", "get", "one", "list")) == list(range(1, 21))
    finally:
        site.end()


@pytest.mark.parametrize(("text", "charges"), [("after", 1), ("inside", 2)])
@pytest.mark.parametrize("run", ["loop", "process"])
def test_a_host_that_is_killed_calls_again_only_what_was_cut_in_the_middle(
    tmp_path: Path, run: str, text: str, charges: int
) -> None:
    site = HostSite(tmp_path, PLUGINS, f"one: plugin = Charging; run = {run}")
    site.start()
    try:
        site.deliver_later("one", 5, 1, text=text)
        site.wrote("charged")
        site.tell(signal.SIGKILL)
        site.wait()
        site.start()
        assert site.deliver("one", 5, 1, "2/3", text=text).text == "charged 7"
        assert (tmp_path / "charges").read_text().split() == ["called"] * charges
    finally:
        site.end()


def test_an_operator_reads_changes_exports_and_imports(tmp_path: Path) -> None:
    site = HostSite(
        tmp_path, PLUGINS, "one: plugin = Counting\ntwo: plugin = Counting\nbad: plugin = failing; run = process"
    )
    site.start()
    try:
        assert site.deliver("one", 5, 1).text == "1"
        assert site.command("store", "set", "one", "events", "41")["state"] == "set"
        assert site.deliver("one", 6, 2).text == "42"
        site.command("store", "set", "one", "sum", '{"$":"decimal","v":"1.50"}')
        rows = site.command("store", "list", "one")
        assert [(row["key"], row["value"]) for row in rows] == [
            ("events", 42),
            ("list", [5, 6]),
            ("sum", {"$": "decimal", "v": "1.50"}),
        ]
        assert len(site.command("store", "list", "one", "--prefix", "s")) == 1
        (tmp_path / "values.json").write_text(json.dumps(rows))
        site.command("store", "import", "two", str(tmp_path / "values.json"))
        assert site.command("store", "list", "two") == rows
        assert site.command("store", "delete", "two", "sum")["state"] == "deleted"
        assert site.command("store", "delete", "two", "sum", code=1)["state"] == "was not there"
        assert site.command("store", "get", "two", "sum", code=1) is None
        for wrong in ("nonsense", '{"$":"decimal","v":"x"}', '{"$":"what","v":1}'):
            site.command("store", "set", "one", "a", wrong, code=2)
        assert site.deliver("bad", 5, 1).status == 500
        assert "a set cannot be stored" in site.said("a set cannot be stored")["message"]
        told = site.command("rehearse", "one", code=1)
        assert [event["now"]["text"] for event in told["events"]] == ["43", "43"]
        assert site.command("store", "get", "one", "events") == 42
    finally:
        site.end()
