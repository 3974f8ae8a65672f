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
import asyncio, os, pathlib, time
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
def charge(event, inside):
    note(f"charges-{event.bot}-{event.task_id}")
    if inside and not event.rerun:
        (HERE / f"charged-{event.bot}-{event.task_id}").write_text("yes")
        return time.sleep(3600)
    return 7
async def charge_slowly(event, inside):
    note(f"charges-{event.bot}-{event.task_id}")
    if inside and not event.rerun:
        (HERE / f"charged-{event.bot}-{event.task_id}").write_text("yes")
        await asyncio.sleep(3600)
    return 7
class Charging(Plugin):
    async def handle(self, event):
        found = await event.once("charge", lambda: charge_slowly(event, event.comment.text == "inside"))
        if not event.rerun:
            (HERE / f"charged-{event.bot}-{event.task_id}").write_text("yes")
            await asyncio.sleep(3600)
        return f"charged {found}"
class PlainCharging(Plugin):
    def handle(self, event):
        found = event.once("charge", lambda: charge(event, event.comment.text == "inside")).wait()
        if not event.rerun:
            (HERE / f"charged-{event.bot}-{event.task_id}").write_text("yes")
            time.sleep(3600)
        return f"charged {found}"
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


CUTS = [("after", 5, 1), ("inside", 6, 2)]
"""Where the host is killed, in which task, and how often the call is made then."""


@pytest.mark.parametrize("journal", ["sqlite", pytest.param("postgres", marks=pytest.mark.full)])
def test_a_host_that_is_killed_calls_again_only_what_was_cut_in_the_middle(
    tmp_path: Path, request: pytest.FixtureRequest, journal: str
) -> None:
    shared = f"journal = {request.getfixturevalue('postgres').new_database()}\n" if journal == "postgres" else ""
    plugins = {"loop": "Charging", "thread": "PlainCharging", "process": "Charging"}
    bots = "\n".join(f"{run}: plugin = {plugin}; run = {run}; concurrency_each = 2" for run, plugin in plugins.items())
    site = HostSite(tmp_path, PLUGINS, bots, shared)
    site.start()
    try:
        for run in plugins:
            for text, task, _ in CUTS:
                site.deliver_later(run, task, 1, text=text)
        for run in plugins:
            for _, task, _ in CUTS:
                site.wrote(f"charged-{run}-{task}")
        site.tell(signal.SIGKILL)
        site.wait()
        site.start()
        for run in plugins:
            for text, task, charges in CUTS:
                assert site.deliver(run, task, 1, "2/3", text=text).text == "charged 7"
                assert (tmp_path / f"charges-{run}-{task}").read_text().split() == ["called"] * charges
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
