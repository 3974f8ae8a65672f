"""A host's life as its users see it: start, stop, restart, with real processes, sockets and journal."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.e2e.site import SECRET, delivery, free_socket

GREET = """
async def greet(event):
    return f"hello {event.task.author.email}"
"""
SLOW = """
import asyncio, pathlib, time
HERE = pathlib.Path(__file__).parent
async def slow(event):
    (HERE / f"began-{event.task_id}").write_text(event.rerun or "first")
    await asyncio.sleep(1.0)
    return "done at last"
def deaf(event):
    (HERE / f"began-{event.task_id}").write_text(event.rerun or "first")
    time.sleep(30)
    return "never in time"
async def stubborn(event):
    (HERE / f"began-{event.task_id}").write_text(event.rerun or "first")
    while True:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            pass
async def aside(event):
    (HERE / f"began-{event.task_id}").write_text(event.rerun or "first")
    await asyncio.to_thread(time.sleep, 30)
async def sleepy(event):
    (HERE / f"began-{event.task_id}").write_text(event.rerun or "first")
    await asyncio.sleep(30 if not event.rerun else 0)
    (HERE / f"ended-{event.task_id}").write_text(event.rerun or "first")
"""


def test_a_host_answers_and_stops_at_once_when_nothing_runs(site):
    host = site(GREET, "one: plugin = greet").start()
    answer = host.deliver("one", comment=1)
    assert (answer.status, answer.text) == (200, "hello a@example.com")
    began = time.monotonic()
    assert host.stop() == 0
    assert time.monotonic() - began < 1.5
    assert stat.S_IMODE((host.folder / "state").stat().st_mode) == 0o700
    (line,) = [line for line in host.lines() if line["message"] == "delivery"]
    assert (line["bot"], line["task"], line["attempt"], line["outcome"], line["status"]) == (
        "one",
        5,
        1,
        "replied",
        200,
    )
    log = host.log.read_text()
    assert SECRET not in log
    assert "token-of-the-event" not in log


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.full)])
def test_sigterm_lets_what_runs_be_answered(site, loop):
    host = site(SLOW, "one: plugin = slow").start({"BOTHOST_LOOP": loop})
    later = host.deliver_later("one")
    host.wrote("began-5")
    host.tell()
    assert later.result().text == "done at last"
    assert host.wait() == 0


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.full)])
@pytest.mark.parametrize("plugin", ["deaf", "stubborn", "aside"])
def test_a_stop_ends_within_its_drain_whatever_a_handler_does(site, plugin, loop):
    host = site(SLOW, f"one: plugin = {plugin}; login = bot@example.com", "drain = 1s").start({"BOTHOST_LOOP": loop})
    later = host.deliver_later("one")
    host.wrote("began-5")
    began = time.monotonic()
    assert host.stop() == 0
    assert time.monotonic() - began < 3.0
    answer = later.result()
    assert (answer.status, answer.body) == (200, b"{}")


def test_what_a_drain_cut_runs_again_after_the_restart_and_knows_why(site):
    host = site(SLOW, "one: plugin = sleepy; login = bot@example.com", "drain = 300ms").start()
    later = host.deliver_later("one")
    assert host.wrote("began-5") == "first"
    assert host.stop() == 0
    assert (later.result().status, later.result().body) == (200, b"{}")
    host.start()
    assert host.wrote("ended-5") == "drain"
    assert host.stop() == 0


def test_with_late_retry_a_cut_run_is_503_and_pyruss_next_attempt_runs_it(site):
    host = site(SLOW, "one: plugin = sleepy; late = retry", "drain = 300ms").start()
    later = host.deliver_later("one", comment=4)
    host.wrote("began-5")
    assert host.stop() == 0
    assert later.result().status == 503
    host.start()
    assert host.deliver("one", comment=4, attempt="2/3").status == 200
    assert host.wrote("ended-5") == "drain"


def test_a_second_signal_skips_the_wait(site):
    host = site(SLOW, "one: plugin = sleepy; login = bot@example.com", "drain = 30s").start()
    later = host.deliver_later("one")
    host.wrote("began-5")
    host.tell()
    # while it drains it still listens
    assert host.deliver("one", task=6).status == 200
    began = time.monotonic()
    host.tell()
    assert host.wait() == 0
    assert time.monotonic() - began < 2.5
    assert later.result().body == b"{}"


def test_a_delivery_during_the_drain_is_taken_and_run_after_the_restart(site):
    host = site(
        SLOW, "one: plugin = slow; login = bot@example.com\nother: plugin = sleepy; timeout = 1s", "drain = 10s"
    ).start()
    later = host.deliver_later("one")
    host.wrote("began-5")
    host.tell()
    host.said("draining")
    answer = host.deliver("one", task=6, comment=60)
    assert (answer.status, answer.body) == (200, b"{}")
    assert later.result().text == "done at last"
    assert host.wait() == 0
    assert not (host.folder / "began-6").exists()
    host.start()
    assert host.wrote("began-6") == "first"


def test_sigint_stops_as_sigterm_does(site):
    host = site(GREET, "one: plugin = greet").start()
    host.tell(signal.SIGINT)
    assert host.wait() == 0


def test_a_repeat_is_answered_from_the_journal_across_a_restart(site):
    host = site(GREET, "one: plugin = greet").start()
    assert host.deliver("one", comment=9).text == "hello a@example.com"
    host.stop()
    host.start()
    answer = host.deliver("one", comment=9, attempt="2/3")
    assert (answer.text, answer.headers.get("X-Bothost")) == ("hello a@example.com", "repeat")


def test_broken_bots_say_why_and_hurt_no_other(site):
    plugins = (
        GREET
        + "\nclass Rules(Settings):\n    limit: int\nclass Strict(Plugin[Rules]):\n    def handle(self, event): ...\n"
    )
    bots = "good: plugin = greet\nabsent: plugin = gret\nwrong: plugin = Strict; limit = many\nshort: plugin = greet; secret = short"
    host = site(plugins, bots).start()
    assert host.deliver("good").status == 200
    assert [host.deliver(name).status for name in ("absent", "wrong", "short")] == [503, 503, 503]
    assert host.said("'gret'")["bot"] == "absent"
    assert "did you mean" in host.said("'gret'")["message"]
    assert host.said("limit")["bot"] == "wrong"
    assert host.said("16 characters")["bot"] == "short"


def test_a_bot_that_is_switched_off_is_404(site):
    host = site(GREET, "one: plugin = greet; enabled = no\ntwo: plugin = greet").start()
    assert (host.deliver("one").status, host.deliver("two").status) == (404, 200)


@pytest.mark.parametrize(
    ("host_keys", "arrange", "text"),
    [
        (
            "state = open",
            lambda folder: (folder / "open").mkdir() or (folder / "open").chmod(0o777),
            "others may write",
        ),
        ("port = {taken}", lambda folder: None, "cannot listen on 127.0.0.1:"),
        ("certfile = absent.pem\nkeyfile = absent.key", lambda folder: None, "absent.pem"),
        ("processes = 2\ncertfile = absent.pem\nkeyfile = absent.key", lambda folder: None, "absent.pem"),
        ("prot = 8080", lambda folder: None, "prot"),
    ],
    ids=["state", "port", "certificate", "several processes", "key"],
)
def test_what_stands_in_the_way_of_a_start_is_said_and_ends_it(site, host_keys, arrange, text):
    taken = free_socket()
    host = site(GREET, "one: plugin = greet", host_keys.format(taken=taken.getsockname()[1]))
    arrange(host.folder)
    host.launch()
    assert host.wait() == 1
    taken.close()
    assert text in host.log.read_text()


def test_a_unix_socket_is_served_with_0660_and_removed_at_the_end(site):
    host = site(GREET, "one: plugin = greet", "unix_socket = run.sock").start()
    path = host.folder / "run.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert host.said("serves 1 bot")["message"].endswith(f" on unix:{path}")
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(path))
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    client.close()
    assert host.stop() == 0
    assert not path.exists()


def test_a_service_manager_hears_of_readiness_life_and_the_end(site):
    host = site(GREET, "one: plugin = greet")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(host.folder / "notify"))
        manager.settimeout(20)
        host.start({"NOTIFY_SOCKET": str(host.folder / "notify"), "WATCHDOG_USEC": "300000"})
        told = set()
        while not {"READY=1", "WATCHDOG=1"} <= told:
            told.add(manager.recv(1000).decode().split("\n")[0])
        host.tell()
        while "STOPPING=1" not in told:
            told.add(manager.recv(1000).decode().split("\n")[0])
        host.wait()


class Load:
    """Deliveries without end, from several threads, each on a connection of its own or on one that is kept."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self.port = port
        self.served = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._numbers = iter(range(1, 1_000_000))
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        from bothost.pyrus.signature import sign

        while not self._stop.is_set():
            number = next(self._numbers)
            body = delivery(number, number)
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("POST", "/one", body, {"X-Pyrus-Sig": sign(body, SECRET)})
                answer = connection.getresponse()
                answer.read()
                connection.close()
                if answer.status != 200:
                    self.failures.append(f"{answer.status}")
            except OSError as error:
                self.failures.append(repr(error))
            self.served += 1

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.full
def test_restarts_with_a_passed_socket_refuse_no_connection(site):
    held = free_socket()
    # without a login its deliveries would get 503 during a drain, so that Pyrus comes again with a token
    host = site(GREET, "one: plugin = greet; login = bot@7d985af9-b222-482f-928b-acf1ac50fddf")
    host.start_passed(held)
    load = Load(held.getsockname()[1])
    for _ in range(2):
        before = load.served
        while load.served < before + 50:
            time.sleep(0.01)
        assert host.stop() == 0
        host.start_passed(held)
    before = load.served
    while load.served < before + 50:
        time.sleep(0.01)
    load.end()
    print(f"3 restarts: {load.served} deliveries, {len(load.failures)} failed")
    held.close()
    assert load.failures == []


def test_several_processes_share_a_port_and_a_dead_one_is_replaced(site):
    plugins = "import os\nasync def who(event):\n    return str(os.getpid())\n"
    host = site(plugins, "one: plugin = who", "processes = 2")
    host.launch()
    host.said("all 2 workers serve")
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    pids: set[int] = set()
    task = 0
    while len(pids) < 2:
        task += 1
        pids.add(int(host.deliver("one", task=task, comment=task).text))
    os.kill(min(pids), signal.SIGKILL)
    host.said("SIGKILL")
    while len(pids) < 3:
        task += 1
        pids.add(int(host.deliver("one", task=task, comment=task).text))
    assert host.stop() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_restarted_under_load_refuse_no_delivery(site):
    host = site(GREET, "one: plugin = greet; login = bot@example.com", "processes = 2")
    host.launch()
    host.said("all 2 workers serve")
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])

    def have_served(times: int) -> bool:
        return len([line for line in host.lines() if "serves " in line["message"]]) >= times

    # each of them says so after it has told the supervisor: one that is ended in between never would
    host.until(lambda: have_served(2))
    load = Load(host.port)
    for turn in range(4):
        started = [line["message"] for line in host.lines() if "started, pid" in line["message"]]
        pid = int([text for text in started if f"worker {turn % 2} " in text][-1].rpartition(" ")[2])
        os.kill(pid, signal.SIGTERM)
        host.until(lambda: have_served(3 + turn))  # noqa: B023 - it is asked before the next turn
    load.end()
    print(f"4 restarts of workers: {load.served} deliveries, {len(load.failures)} failed")
    assert load.failures == [], [line for line in host.lines() if line.get("status") == 503 or line["level"] != "info"]
    assert load.served > 100
    assert host.stop() == 0


@pytest.mark.full
def test_several_processes_go_on_listening_together_while_the_host_drains(site):
    host = site(SLOW, "one: plugin = sleepy; login = bot@example.com", "processes = 2\ndrain = 3s")
    host.launch()
    host.said("all 2 workers serve")
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    later = [host.deliver_later("one", task=task) for task in (1, 2, 3, 4)]
    for task in (1, 2, 3, 4):
        host.wrote(f"began-{task}")
    host.tell()
    while len([line for line in host.lines() if "draining" in line["message"]]) < 2:
        time.sleep(0.01)
    assert [host.deliver("one", task=task).status for task in range(10, 20)] == [200] * 10
    assert host.wait() == 0
    assert [each.result().body for each in later] == [b"{}"] * 4
    assert not (host.folder / "began-10").exists()


def certificate(folder: Path, name: str) -> None:
    """A certificate for this name, in the files that bots.ini names."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    files = ["-keyout", str(folder / "k.pem"), "-out", str(folder / "c.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)


def name_served(port: int) -> str:
    shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    run = subprocess.run(
        ["openssl", "x509", "-noout", "-subject"], input=shown.encode(), capture_output=True, check=True
    )
    return run.stdout.decode().rpartition("=")[2].strip()


def test_tls_is_served_and_a_reload_brings_the_new_certificate(site):
    host = site(GREET, "one: plugin = greet", "certfile = c.pem\nkeyfile = k.pem")
    certificate(host.folder, "first.example")
    host.start()
    assert re.search(r"https://127\.0\.0\.1:\d+", host.said("serves ")["message"])
    assert name_served(host.port) == "first.example"
    (host.folder / "k.pem").write_text("no key")
    host.tell(signal.SIGHUP)
    host.said("the old certificate stays")
    assert name_served(host.port) == "first.example"
    certificate(host.folder, "second.example")
    host.tell(signal.SIGHUP)
    for _ in range(500):
        if name_served(host.port) == "second.example":
            break
        time.sleep(0.02)
    assert name_served(host.port) == "second.example"


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.full)])
def test_a_bot_in_a_process_of_its_own_that_dies_three_times_is_quarantined_also_after_a_restart(site, loop):
    plugins = GREET + "\nimport os\nasync def exits(event):\n    os._exit(3)\n"
    host = site(plugins, "one: plugin = exits; run = process\nother: plugin = greet").start({"BOTHOST_LOOP": loop})
    for task in (1, 2, 3):
        assert host.deliver("one", task=task).status == 500
    host.said("quarantined: ")
    assert host.deliver("one", task=4).status == 503
    assert host.deliver("other").text == "hello a@example.com"
    host.stop()
    host.start()
    assert host.deliver("one", task=5).status == 503
    assert host.deliver("other", task=6).status == 200
