"""Two hosts share a journal in PostgreSQL behind nginx; one is killed while both work, and nobody notices."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.deploy.front import event
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
