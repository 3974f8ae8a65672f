"""Two hosts share a journal in PostgreSQL behind nginx; one is killed while both work, and nobody notices."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException

import pytest
from tests.deploy.front import event
from tests.e2e.site import free_port
from tests.postgres_server import PostgresServer, find_binaries

pytestmark = pytest.mark.full

COUNT = """
import asyncio, os, pathlib
RUNS = pathlib.Path(__file__).parents[1] / "runs"
async def count(event):
    with RUNS.open("a") as file:
        file.write(f"{event.task_id} {os.getpid()}\\n")
    await asyncio.sleep(0.2)
    return f"answer to {event.task_id}"
"""
TASKS = 120


@pytest.fixture
def database():
    if find_binaries() is None:
        pytest.skip("needs PostgreSQL: apt install postgresql")
    server = PostgresServer()
    server.start()
    yield server.new_database()
    server.close()


def test_a_host_that_is_killed_takes_no_event_with_it(make_host, nginx, database, tmp_path):
    hosts = [
        make_host(COUNT, "one: plugin = count", f"journal = {database}\nxheaders = yes\n").start() for _ in range(2)
    ]
    front = nginx(
        "nginx-two-hosts.conf", {f"10.0.0.{11 + n}:8080": f"127.0.0.1:{host.port}" for n, host in enumerate(hosts)}
    )
    answered = threading.Semaphore(0)

    def deliver(task: int) -> list[tuple[int, str]]:
        told = []
        for attempt in ("1/3", "2/3", "3/3"):
            answer = front.deliver("/one", event(task), attempt)
            told.append((answer.status, answer.text if answer.status == 200 else ""))
            if answer.status == 200:
                break
        answered.release()
        return told

    with ThreadPoolExecutor(16) as senders:
        coming = {task: senders.submit(deliver, task) for task in range(1, TASKS + 1)}
        for _ in range(TASKS // 4):
            answered.acquire()
        hosts[0].tell(signal.SIGKILL)
        told = {task: found.result() for task, found in coming.items()}

    killed = str(hosts[0].process.pid)
    assert {task: answers for task, answers in told.items() if answers != [(200, f"answer to {task}")]} == {}
    runs: dict[str, list[str]] = {}
    for line in (tmp_path / "runs").read_text().splitlines():
        task, pid = line.split()
        runs.setdefault(task, []).append(pid)
    again = {task: pids for task, pids in runs.items() if len(pids) > 1}
    # only what ran on the killed host when it was killed ran a second time, on the other one
    assert all(pids[0] == killed and len(pids) == 2 and pids[1] != killed for pids in again.values())
    assert len(again) <= 8
    assert len(runs) == TASKS
    share = Counter(pids[0] for pids in runs.values())
    assert share[killed] > TASKS // 16


SLOW = """
import asyncio, os, pathlib, time
RUNS = pathlib.Path(__file__).parents[1] / "runs"
def note(word, event):
    with RUNS.open("a") as file:
        file.write(f"{time.monotonic()} {word} {event.task_id} {os.getpid()}\\n")
class slow(Plugin):
    def open(self):
        with RUNS.with_name("opened").open("a") as file:
            file.write(f"{os.getpid()}\\n")
    async def handle(self, event):
        note("begins", event)
        await asyncio.sleep(0.1)
        while event.task_id > 1000 and not RUNS.with_name("open").exists():
            await asyncio.sleep(0.01)
        note("ends", event)
        return "done"
"""
EVENTS = 48


def test_concurrency_counts_the_runs_of_all_workers_of_all_hosts_also_when_one_is_killed(make_host, database, tmp_path):
    bots = "one: plugin = slow; concurrency = 4; order = none; login = bot@one.example"
    hosts = [make_host(SLOW, bots, f"journal = {database}\nprocesses = 2\n") for _ in range(2)]
    runs_file = tmp_path / "runs"
    runs_file.touch()
    for host in hosts:
        host.launch()
    for host in hosts:
        host.said("all 2 workers serve")
        host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    opened_by = tmp_path / "opened"
    # a worker serves before its plugins have opened, and one that is killed then never opens the bot
    hosts[0].until(lambda: opened_by.exists() and len(opened_by.read_text().split()) == 4)

    def deliver(task: int) -> int:
        for attempt in ("1/3", "2/3", "3/3"):
            with suppress(OSError, HTTPException):  # the worker was killed
                answer = hosts[task % 2].deliver("one", task, 1, attempt)
                if answer.status == 200:
                    return answer.status
        return 0

    with ThreadPoolExecutor(24) as senders:
        coming = [senders.submit(deliver, task) for task in range(1, EVENTS + 1)]
        hosts[0].until(lambda: len(runs_file.read_text().splitlines()) > EVENTS // 2)
        pids = [int(line["message"].rpartition(" ")[2]) for line in hosts[0].lines() if " started" in line["message"]]
        os.kill(pids[0], signal.SIGKILL)
        killed_at = time.monotonic()
        assert {found.result() for found in coming} == {200}
        # the permits of the killed worker come back: four run at once again, and wait for each other
        coming = [senders.submit(deliver, 1001 + number) for number in range(8)]
        hosts[0].until(lambda: sum(int(task) > 1000 for _, task in _open(runs_file)) == 4)
        (tmp_path / "open").touch()
        assert {found.result() for found in coming} == {200}
    runs = _runs(runs_file, killed_at)
    assert len({task for task, _, _, _ in runs}) == EVENTS + 8
    assert max(sum(begins <= moment < ends for _, _, begins, ends in runs) for _, _, moment, _ in runs) == 4
    assert len({pid for _, pid, _, _ in runs}) >= 2  # which worker takes a connection is the kernel's choice
    # a restart closes and opens the bot in each of the four processes, from whichever host it is asked
    # the fifth to have opened it is the successor of the killed one, for which nobody waits
    hosts[0].until(lambda: len(opened_by.read_text().split()) == 5)
    opened = Counter(opened_by.read_text().split())
    done = hosts[1].command("restart", "one")
    assert (list(done["done"].values()), done["behind"]) == (["restarted"] * 4, [])
    again = Counter(opened_by.read_text().split()) - opened
    assert again == Counter({pid: 1 for pid in opened if int(pid) != pids[0]})
    assert [host.stop() for host in hosts] == [0, 0]


def _open(path):
    """Process and task of each run that has begun and not ended."""
    words = [line.split() for line in path.read_text().splitlines()]
    ended = {(pid, task) for _, word, task, pid in words if word == "ends"}
    return {(pid, task) for _, word, task, pid in words if word == "begins"} - ended


def _runs(path, killed_at):
    """Task, process, begin and end of each run; one without an end was killed."""
    begun, runs = {}, []
    for line in path.read_text().splitlines():
        moment, word, task, pid = line.split()
        if word == "begins":
            begun[task, pid] = float(moment)
        else:
            runs.append((task, pid, begun.pop((task, pid)), float(moment)))
    return runs + [(task, pid, moment, killed_at) for (task, pid), moment in begun.items()]


MENDED = """
import pathlib
HERE = pathlib.Path(__file__).parent
class works(Plugin):
    async def open(self):
        if not (HERE / "mended").exists():
            raise OSError("the other side is down")
    async def handle(self, event):
        return "well"
"""


def test_hosts_that_share_a_journal_tell_of_a_troubled_bot_once(make_host, database, tmp_path):
    told, hook = tmp_path / "told", tmp_path / "hook.sh"
    told.touch()
    hook.write_text(f"#!/bin/sh\ncat >> {told}; echo >> {told}\n")
    hook.chmod(0o755)
    keys = f"journal = {database}\non_trouble = {hook}\n"
    well, broken = (
        make_host(MENDED, "one: plugin = works", f"{keys}operator_port = {free_port()}\n") for _ in range(2)
    )
    (well.folder / "mended").touch()
    well.start()
    broken.start()
    broken.until(lambda: told.read_text())
    # what one host is in, the other one is not: it must not say that all is well, again and again
    # its plugin is tried again after five seconds, and each host looks every two
    (broken.folder / "mended").touch()
    broken.until(lambda: len(told.read_text().splitlines()) > 1)
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(one["bot"], one["trouble"], one["back"]) for one in lines] == [
        ("one", "plugin error", False),
        ("one", "plugin error", True),
    ]
    assert [host.stop() for host in (well, broken)] == [0, 0]
