"""Readiness, life signs and sockets from a service manager; against a real datagram socket and a real exec."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from bothost.host.sockets import bind_tcp
from bothost.host.systemd import Notifier, take_sockets


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_gets_what_is_said_and_children_cannot_speak_for_us(tmp_path, abstract):
    address = f"@bothost-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
        notifier = Notifier.take(env)
        assert env == {"HOME": "/"}
        assert notifier.watchdog_s == 30.0
        assert notifier.say("READY=1", "STATUS=serving 3 bots")
        assert manager.recv(100) == b"READY=1\nSTATUS=serving 3 bots"


def test_without_a_manager_nothing_is_said():
    assert Notifier.take({}).say("READY=1") is False
    assert Notifier("/nowhere/at/all").say("READY=1") is False


def test_a_watchdog_meant_for_another_process_is_not_ours():
    assert Notifier.take({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watchdog_s == 0.0


CHILD = """
import os, json
os.environ["LISTEN_PID"] = os.environ["LISTEN_PID"] or str(os.getpid())
from bothost.host.systemd import take_sockets
taken = take_sockets(os.environ)
print(json.dumps([
    {name: [each.getsockname()[1] for each in those] for name, those in taken.items()},
    [os.get_inheritable(each.fileno()) for those in taken.values() for each in those],
    sorted(name for name in os.environ if name.startswith("LISTEN_")),
]))
"""


def ask_child(env: dict[str, str], sockets: list[socket.socket]) -> str:
    """Run the child with these sockets as descriptors 3, 4 …; by way of high ones, for any may stand on 3 or 4 already."""
    high = " ".join(f"{103 + at}<&{each.fileno()}" for at, each in enumerate(sockets))
    low = " ".join(f"{3 + at}<&{103 + at} {103 + at}<&-" for at in range(len(sockets)))
    run = subprocess.run(
        ["bash", "-c", f'exec {high}; exec {low}; exec "$@"', "bash", sys.executable, "-c", CHILD],
        env=os.environ | env, pass_fds=[each.fileno() for each in sockets], capture_output=True, check=True, text=True,
    )  # fmt: skip
    return run.stdout


def test_passed_sockets_are_taken_by_name_and_not_passed_on():
    sockets = [*bind_tcp("127.0.0.1", 0), *bind_tcp("127.0.0.1", 0)]
    ports = [each.getsockname()[1] for each in sockets]
    env = {"LISTEN_PID": "", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "operator:public"}
    try:
        told = ask_child(env, sockets)
    finally:
        for each in sockets:
            each.close()
    assert told.strip() == f'[{{"public": [{ports[1]}], "operator": [{ports[0]}]}}, [false, false], []]'


def test_sockets_meant_for_another_process_are_left_alone():
    env = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "public"}
    assert take_sockets(env) == {"public": [], "operator": []}
    assert env == {}
