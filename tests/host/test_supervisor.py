"""A supervisor and its workers, as real processes on a real socket."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bothost.host.sockets import bind_tcp

CREW = Path(__file__).parents[1] / "programs" / "crew.py"


class Site:
    """A running crew: asks it over its public socket, reads what its manager is told."""

    def __init__(self, folder: Path, count: int, *arguments: str, watchdog_s: float = 0.0) -> None:
        self.count = count
        (self.socket,) = bind_tcp("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        env = os.environ | {"NOTIFY_SOCKET": str(folder / "notify")}
        if watchdog_s:
            env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.log = (folder / "log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, str(CREW), str(count), str(self.socket.fileno()), *arguments],
            pass_fds=[self.socket.fileno()],
            env=env,
            stderr=self.log,
        )

    def told(self, seconds: float = 20.0) -> str:
        """The manager's next message."""
        ready, _, _ = select.select([self.manager], [], [], seconds)
        return self.manager.recv(1000).decode() if ready else ""

    def ask(self, what: str = "") -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(what.encode() + b"\n")
            return connection.makefile().read()

    def pids(self) -> dict[int, int]:
        """Number → pid of the workers, as far as they answer now."""
        found: dict[int, int] = {}
        for _ in range(200):
            if len(found) == self.count:
                break
            number, pid, _ = self.ask().split()
            found[int(number)] = int(pid)
        return found

    def all_said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def wait_for(self, text: str) -> None:
        """Until the log says so."""
        for _ in range(2000):
            if text in self.all_said():
                return
            assert self.process.poll() is None, self.all_said()
            threading.Event().wait(0.01)
        pytest.fail(f"never said {text!r}: {self.all_said()}")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.socket.close()
        self.manager.close()
        self.log.close()


@pytest.fixture
def crew(tmp_path):
    started: list[Site] = []

    def start(count: int, *arguments: str, watchdog_s: float = 0.0) -> Site:
        started.append(Site(tmp_path, count, *arguments, watchdog_s=watchdog_s))
        return started[-1]

    yield start
    for site in started:
        site.end()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_manager_hears_of_readiness_when_every_worker_is_ready(crew):
    site = crew(3)
    assert site.told() == "READY=1\nSTATUS=serving with 3 processes"
    assert sorted(site.pids()) == [0, 1, 2]
    assert site.ask("env") == ""


def test_worker_0_alone_has_the_operators_socket(crew):
    site = crew(2)
    site.told()
    answers = {site.ask() for _ in range(200)}
    assert {(answer.split()[0], answer.split()[2]) for answer in answers} == {("0", "1"), ("1", "0")}


def test_a_dead_worker_comes_back_and_the_others_go_on(crew):
    site = crew(2)
    site.told()
    before = site.pids()
    os.kill(before[1], signal.SIGKILL)
    site.wait_for("worker 1 ended: SIGKILL; started again in 0.2 s")
    assert int(site.ask().split()[1]) == before[0]
    while len(after := site.pids()) < 2:
        pass
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_worker_that_cannot_live_is_started_ever_more_rarely(crew):
    site = crew(1, "--no-such-thing")
    site.told()
    for pause in ("0.2", "0.5", "1.0"):
        os.kill(site.pids()[0], signal.SIGKILL)
        site.wait_for(f"again in {pause} s")
        while not re.search(r"started, pid \d+\n\Z", site.all_said()):
            threading.Event().wait(0.01)


def test_a_worker_asks_its_siblings_and_gets_all_parts(crew):
    site = crew(3)
    site.told()
    pids = site.pids()
    for _ in range(20):
        told, count, restarts = re.fullmatch(r"(\[.*\]) (\d) (\{.*\})", site.ask("siblings")).groups()
        asked = ({0, 1, 2} - {int(each[1:].split(":")[0]) for each in re.findall(r"'\d:\d+", told)}).pop()
        assert told == str([f"{number}:{pid}" for number, pid in sorted(pids.items()) if number != asked])
        assert count == "4"
        assert restarts == ("{'0': 0, '1': 0, '2': 0}" if asked == 0 else "{}")


def test_sigterm_ends_all_and_the_exit_code_is_0(crew):
    site = crew(2)
    site.told()
    pids = site.pids()
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(10) == 0
    assert site.told(0.1) == "STOPPING=1"
    assert not any(alive(pid) for pid in pids.values())


def test_a_worker_that_does_not_end_is_killed_in_the_end(crew):
    site = crew(1, "deaf")
    site.told()
    pid = site.pids()[0]
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(10) == 1
    assert not alive(pid)


def test_workers_end_with_a_supervisor_that_was_killed(crew):
    site = crew(2)
    site.told()
    pids = site.pids()
    site.process.kill()
    site.process.wait()
    for _ in range(500):
        if not any(alive(pid) for pid in pids.values()):
            break
        time.sleep(0.01)
    assert not any(alive(pid) for pid in pids.values())


def test_the_watchdog_hears_nothing_while_a_worker_is_frozen(crew):
    site = crew(2, "alive", watchdog_s=0.6)
    while not site.told().startswith("READY=1"):
        pass
    assert site.told() == "WATCHDOG=1"
    pid = site.pids()[1]
    os.kill(pid, signal.SIGSTOP)
    quiet = 0
    for _ in range(10):
        quiet = quiet + 1 if not site.told(0.4) else 0
        if quiet == 3:
            break
    assert quiet == 3
    os.kill(pid, signal.SIGCONT)
    assert site.told() == "WATCHDOG=1"
