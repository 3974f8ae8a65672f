"""SIGTERM ends a host in time, whatever its plugins do meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

PLUGINS = r"""
import asyncio, atexit, ctypes, pathlib, threading, time
HERE = pathlib.Path(__file__).parent
def began():
    (HERE / "began").write_text("yes")
async def endless(event):
    began()
    while True:
        pass                                     # endless-here
async def in_c(event):
    began()
    while True:
        ctypes.CDLL(None).pause()                # in-c-here
async def stubborn(event):
    began()
    while True:
        try:
            await asyncio.sleep(60)
        except BaseException:
            while True:
                pass                             # stubborn-here
def thread(event):
    began()
    while True:
        time.sleep(0.05)                         # thread-here
def at_exit(event):
    atexit.register(time.sleep, 600)
    threading.Thread(target=time.sleep, args=(600,)).start()
    began()
    return "done"
async def takes_signals(event):
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, print, "mine")
    except Exception:
        pass
    began()
    return "done"
async def greet(event):
    return "hello"
"""
NAMES = ("endless", "in_c", "stubborn", "thread", "at_exit", "takes_signals", "greet")
BOTS = "\n".join(f"{name}: plugin = {name}; answer_within = 10s" for name in NAMES)
SLACK_S = 8.0
"""What a busy machine may need beyond what is promised (drain and two seconds)."""


def line_of(mark: str) -> int:
    lines = f"from bothost import *\n{PLUGINS}".splitlines()
    return next(number for number, line in enumerate(lines, start=1) if f"# {mark}" in line)


def host_with(site, bot: str, drain: str = "1s", host: str = "", env=None):
    one = site(PLUGINS, BOTS, f"drain = {drain}\n{host}").start(env)
    one.deliver_later(bot, task=1, comment=1)
    one.wrote("began")
    return one


@pytest.mark.parametrize(
    ("bot", "mark"),
    [("endless", "endless-here"), ("in_c", "in-c-here"), ("stubborn", "stubborn-here")],
)
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=[pytest.mark.full, pytest.mark.alone])])
def test_a_handler_that_never_gives_the_loop_back_is_named_and_ended_with_the_host(site, bot, mark, loop):
    host = host_with(site, bot, env={"BOTHOST_LOOP": loop})
    begun = time.monotonic()
    host.tell()
    assert host.wait(3 + SLACK_S) == 1
    took = time.monotonic() - begun
    print(f"ended after {took:.2f} s with drain = 1s")
    (line,) = [one for one in host.lines() if "the stop is over time" in one["message"]]
    assert f"[bot:{bot}]" in line["message"]
    assert f"handlers.py:{line_of(mark)}" in line["message"] or "handlers.py:" in line["message"]
    # what ran is known, and runs again as after a crash
    host.start()
    (entry,) = host.command("deliveries", "list", "--task", "1")
    assert entry["state"] in ("held", "running", "ready", "failed"), entry
    host.tell(signal.SIGKILL)
    host.wait()


def test_a_thread_that_never_ends_holds_up_no_stop(site):
    host = host_with(site, "thread")
    host.tell()
    assert host.wait(3 + SLACK_S) == 0


def test_what_a_plugin_leaves_for_the_exit_holds_up_no_stop(site):
    host = host_with(site, "at_exit")
    host.tell()
    assert host.wait(3 + SLACK_S) == 0


def test_a_second_signal_ends_a_blocked_host_at_once(site):
    host = host_with(site, "endless", drain="60s")
    host.tell()
    time.sleep(0.2)
    begun = time.monotonic()
    host.tell()
    assert host.wait(SLACK_S) == 1
    print(f"ended {time.monotonic() - begun:.2f} s after the second signal")
    assert any("[bot:endless]" in one["message"] for one in host.lines())


def test_a_plugin_that_takes_the_signals_loses_them_again(site):
    host = host_with(site, "takes_signals")
    host.said("a plugin set signal handlers of its own")
    assert host.stop() == 0


@pytest.mark.full
def test_a_worker_that_is_blocked_ends_with_the_whole_host(site):
    host = site(PLUGINS, BOTS, "drain = 1s\nprocesses = 2\n")
    host.launch()
    host.said("all 2 workers serve", 40)
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    host.deliver_later("endless", task=1, comment=1)
    host.wrote("began")
    host.tell()
    assert host.wait(4 + SLACK_S) in (0, 1)
    assert any("[bot:endless]" in one["message"] for one in host.lines())


def test_workers_free_the_ports_at_once_when_their_supervisor_is_killed(site):
    host = site(PLUGINS, BOTS, "drain = 30s\nprocesses = 2\n")
    host.launch()
    host.said("all 2 workers serve", 40)
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    later = host.deliver_later("thread", task=1, comment=1)
    host.wrote("began")
    host.tell(signal.SIGKILL)
    host.wait()
    for _ in range(500):
        try:
            socket.create_server(("127.0.0.1", host.port)).close()
            break
        except OSError:
            time.sleep(0.02)
    else:
        raise AssertionError("the port is taken still")
    del later
    for line in host.lines():
        if "started, pid" in line["message"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line["message"].rpartition(" ")[2]), signal.SIGKILL)


@pytest.mark.full
def test_the_demo_ends_too(site):
    host = site(PLUGINS, "endless: plugin = endless", "drain = 1s\n")
    host.log = host.folder / "log-demo"
    command = [sys.executable, "-m", "bothost", "demo", "--config", str(host.folder / "bots.ini")]
    with host.log.open("wb") as log:
        host.process = subprocess.Popen(command, env=host.environment(), stdout=log, stderr=log)
    host.wrote("began")
    host.tell(signal.SIGINT)
    assert host.wait(3 + SLACK_S) == 1
    assert "[bot:endless]" in host.log.read_text("utf-8")
