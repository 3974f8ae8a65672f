"""Jobs in a real host: in loop, thread and process bots, over two workers, over kill -9 and another host."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.e2e.site import HostSite

if TYPE_CHECKING:
    from pathlib import Path

PLUGINS = """
import asyncio, os, pathlib, time
HERE = pathlib.Path(os.environ["NOTES"])
def note(job):
    with (HERE / f"job-{job.key}").open("a") as file:
        file.write(f"{time.time()} {job.rerun or 'first'}\\n")
class Later(Plugin):
    async def handle(self, event):
        await self.jobs.add("later", after=event.comment.text, key=str(event.task_id))
    @job("later")
    async def later(self, job):
        note(job)
        if job.key == "66" and not job.rerun:
            await asyncio.sleep(3600)
class PlainLater(Plugin):
    def handle(self, event):
        self.jobs.add("later", after=event.comment.text, key=str(event.task_id)).wait()
    @job("later")
    def later(self, job):
        note(job)
"""


def ran(folder: Path, key: int) -> list[list[str]]:
    path = folder / f"job-{key}"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("run", ["loop", "thread", "process"])
def test_a_job_runs_once_over_two_workers(tmp_path: Path, run: str) -> None:
    plugin = "PlainLater" if run == "thread" else "Later"
    site = HostSite(tmp_path, PLUGINS, f"one: plugin = {plugin}; run = {run}", "processes = 2\n")
    site.start({"NOTES": str(tmp_path)})
    try:
        for task in range(1, 6):
            assert site.deliver("one", task, task, text="1s").status == 200
        site.until(lambda: all(ran(tmp_path, task) for task in range(1, 6)))
        assert site.deliver("one", 9, 9, text="1h").status == 200
        assert [len(ran(tmp_path, task)) for task in range(1, 6)] == [1] * 5
        listed = site.command("deliveries", "list", "--bot", "one", "--kind", "job")
        assert sorted(row["state"] for row in listed) == ["answered"] * 5 + ["parked"]
        assert {row["kind"] for row in site.command("deliveries", "list", "--bot", "one")} == {"job", "delivery"}
    finally:
        site.end()


def test_a_killed_host_runs_its_jobs_again_at_the_next_start(tmp_path: Path) -> None:
    site = HostSite(tmp_path, PLUGINS, "one: plugin = Later")
    site.start({"NOTES": str(tmp_path)})
    try:
        site.deliver("one", 66, 1, text="0s")
        site.deliver("one", 5, 2, text="1s")
        site.until(lambda: ran(tmp_path, 66))
        site.tell(signal.SIGKILL)
        site.wait()
        time.sleep(1)
        site.start({"NOTES": str(tmp_path)})
        site.until(lambda: ran(tmp_path, 5) and len(ran(tmp_path, 66)) == 2)
        assert [why for _, why in ran(tmp_path, 66)] == ["first", "crash"]
        assert [why for _, why in ran(tmp_path, 5)] == ["first"]
    finally:
        site.end()
