"""Threats of docs/security.md that belong to no one module."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.journal.journals import JournalMaker, make_entry

from bothost.config import read
from bothost.journal import owner_locks
from bothost.pyrus_client.network import Network

TREE = Path(__file__).parents[1]
SECURITY = TREE / "docs" / "security.md"
TESTING = TREE / "docs" / "testing.md"

FORKS = """
import asyncio, os, socket, sys
from pathlib import Path
from bothost.clock import SystemClock
from bothost.host.sockets import bind_tcp
from bothost.journal import owner_locks as owners
from bothost.journal.sqlite.journal import SqliteJournal

folder = Path(sys.argv[1])

async def main():
    (listening,) = bind_tcp("127.0.0.1", 0)
    store = SqliteJournal(folder, SystemClock(), claims_first=True)
    await store.open()
    (owner,) = os.listdir(folder / owners.FOLDER)
    read, write = os.pipe()
    if not os.fork():  # as a plugin may
        held = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
        print([name for name in held if name.startswith(str(folder))], os.readlink(f"/proc/self/fd/{listening.fileno()}"), flush=True)
        os.write(write, b".")
        os.read(read, 0)
        import signal
        signal.pause()
    os.read(read, 1)
    port = listening.getsockname()[1]
    listening.close()
    again = socket.create_server(("127.0.0.1", port), reuse_port=False)  # nobody else listens there
    again.close()
    print(owners.is_dead(folder, owner), flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def test_a_plugins_forked_child_holds_neither_the_journal_nor_the_port(tmp_path):
    state = tmp_path / "state"
    running = subprocess.Popen(
        [sys.executable, "-c", FORKS, str(state)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == "[] /dev/null\n"
        # the host is alive, and known to be
        assert running.stdout.readline() == "False\n"
        running.wait(20)
        # its child lives on and does not keep it alive
        (owner,) = (state / owner_locks.FOLDER).iterdir()
        assert owner_locks.is_dead(state, owner.name)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.stdout.close()
        running.wait(20)


@pytest.mark.parametrize("size", [1, 3000], ids=["small", "large"])
def test_what_was_deleted_from_the_journal_is_gone_from_its_files(tmp_path, size):
    journal = JournalMaker(tmp_path / "state")
    person = "a sentence about a person, which nobody may read after keep. "

    async def keep_and_forget(store) -> None:
        old = time.time() - 3600
        entry = make_entry(1, state="answered", answer=person.encode(), delivered=True, created=old)
        await store.save(entry, person.encode() * size)
        assert holds(person)
        await store.retain({"refunds": 60.0})

    def holds(text: str) -> bool:
        return any(text.encode() in file.read_bytes() for file in journal.folder.rglob("*") if file.is_file())

    journal.run(keep_and_forget)
    assert not holds(person)


def test_the_proxys_password_and_an_accounts_key_are_shown_nowhere(tmp_path):
    password, key = "pass-of-the-proxy", "the key of an account of finance"
    path = tmp_path / "bots.ini"
    path.write_text(
        f"[host]\nport = 1\noperator_port = 0\nproxy = http://user:{password}@127.0.0.1:9\n"
        f"[account:finance]\nlogin = bot@finance\nkey = {key}\nold_key = {key} too\n"
        "[bot:one]\nplugin = autoreply\nsecret = a-secret-of-sixteen-or-more\naccounts = finance\nlogin = bot@one\n"
    )
    path.chmod(0o600)
    reading = read(path, {})
    shown = [repr(reading), repr(reading.host), repr(Network.of(reading.host.proxy))]
    for command in ("check", "doctor"):
        told = [sys.executable, "-m", "bothost", command, "--config", str(path)]
        done = subprocess.run(told, capture_output=True, text=True, check=False, timeout=60)
        shown.append(done.stdout + done.stderr)
    assert "127.0.0.1:9" in shown[-1]
    assert [text for text in shown if password in text or key in text] == []


def test_every_test_that_the_security_page_names_exists():
    named = set(re.findall(r"`(test_\w+)`", SECURITY.read_text("utf-8")))
    assert len(named) > 40
    there = set()
    for folder in ("tests", "plugins"):
        for file in (TREE / folder).rglob("test_*.py"):
            there.update(re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE))
    assert named - there == set()


def test_every_fault_of_the_testing_page_names_tests_that_exist():
    rows = re.findall(r"^\| (?!\*\*)(.+) \| (`[\w/]+\.py::.+) \|$", TESTING.read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 40
    named = [found for _, tests in rows for found in re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)]
    gone = [(file, name) for file, name in named if f"def {name}(" not in (TREE / file).read_text("utf-8")]
    assert gone == []


def test_every_threat_of_the_security_page_names_a_test_or_says_that_it_is_not_stopped():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in SECURITY.read_text("utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| threat ")
    ]
    assert len(rows) > 40
    bare = [
        threat for threat, stops, *shown in rows if not re.search(r"`test_\w+`", "".join(shown)) and "**" not in stops
    ]
    assert bare == []
