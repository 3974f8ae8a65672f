"""The state folder's rules, and how many connections a file limit leaves."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bothost.errors import ConfigError
from bothost.host.process_setup import connections, state_folder
from bothost.host.sockets import bind_tcp
from bothost.text import user_name


def test_a_missing_state_folder_is_made_for_its_owner_alone(tmp_path):
    state_folder(tmp_path / "a" / "state")
    assert stat.S_IMODE((tmp_path / "a" / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_state_folder_that_others_may_write_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match=r"\[host\] state: others may write into .*: chmod 700"):
        state_folder(tmp_path)


def test_a_state_folder_that_others_may_read_becomes_the_owners_alone(tmp_path):
    tmp_path.chmod(0o755)
    state_folder(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_state_folder_that_this_user_may_not_write_is_refused_and_names_both_users():
    # outside tmp_path, whose parents only their owner may pass
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o500)
        code = (
            "import os, pathlib, sys; from bothost.errors import ConfigError; from bothost.host.process_setup import state_folder\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"
            "try: state_folder(pathlib.Path(sys.argv[1]))\n"
            "except ConfigError as error: print(os.geteuid(), error)"
        )
        run = subprocess.run([sys.executable, "-c", code, name], capture_output=True, check=True, text=True)
        uid, _, told = run.stdout.strip().partition(" ")
        ours, owner = user_name(int(uid)), user_name(folder.stat().st_uid)
        assert told == (
            f"[host] state: {ours} may not write into {name}, which belongs to {owner}: start the host as {owner}, or chmod 700 {name}"
        )


def test_a_file_in_place_of_the_state_folder_is_an_error(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match="cannot be made: File exists"):
        state_folder(tmp_path / "state")


def test_the_file_limit_leaves_room_for_what_is_no_connection():
    assert connections(None, 65536) == 65336
    assert connections(12, 65536) == 12
    assert connections(None, 256) == 200


def test_a_host_raises_its_soft_file_limit_to_the_hard_one():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 900))\n"
        "from bothost.host.process_setup import prepare_process\n"
        "import gc, os, sys; print(prepare_process(), resource.getrlimit(resource.RLIMIT_NOFILE)[0],"
        " oct(os.umask(0)), sys.getswitchinterval(), gc.get_threshold()[0])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, env=os.environ)
    assert run.stdout.split() == ["900", "900", "0o77", "0.001", "5000"]


def test_a_host_keeps_the_memory_of_large_bodies_for_the_next_ones():
    code = (
        "import resource; from bothost.host.process_setup import prepare_process\n"
        "prepare_process()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def take(): return [b'x' * 150_000 for _ in range(40)] and faults()\n"
        "before = faults(); first = take(); print(first - before, take() - first)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    first, second = map(int, run.stdout.split())
    assert second * 10 < first, "the second time no page comes from the kernel"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_takes_no_state_folder_of_another_user(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to nobody: start the host as nobody"):
        state_folder(state)


@pytest.mark.parametrize("words", [["serve"], ["deliveries", "list"], ["hosts"]])
def test_a_state_folder_on_a_read_only_file_system_is_called_that(tmp_path, words):
    """`unshare` gives the command mounts of its own."""
    ini = tmp_path / "bots.ini"
    ini.write_text("[host]\nport = 0\noperator_port = 0\n")
    ini.chmod(0o600)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "journal.db").touch(0o600)
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, str(state), sys.executable, "-m", "bothost", *words]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "state" in done.stderr
    assert "its file system is read-only: mount it writable" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_journal_on_a_full_disk_is_called_that(tmp_path):
    """SQLite calls it a disk I/O error where its shared memory finds no room."""
    script = 'mount -t tmpfs -o size=32k,mode=0700 tmpfs "$0" && exec "$@"'
    opened = (
        "import asyncio, pathlib, sys; from bothost.clock import SystemClock; from bothost.errors import JournalAway\n"
        "from bothost.journal.sqlite.journal import SqliteJournal\n"
        "journal = SqliteJournal(pathlib.Path(sys.argv[1]), SystemClock(), claims_first=False)\n"
        "try: asyncio.run(journal.open())\n"
        "except JournalAway as error: print(error)\n"
    )
    command = ["unshare", "-rm", "sh", "-c", script, str(tmp_path), sys.executable, "-c", opened, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == f"{tmp_path}/journal.db: database or disk is full\n", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["operator-token", "journal.db", "bodies"])
def test_a_planted_file_of_another_user_is_refused(tmp_path, name):
    (tmp_path / name).write_text("planted")
    os.chown(tmp_path / name, 65534, 65534)
    with pytest.raises(ConfigError, match=f"{name} belongs to nobody"):
        state_folder(tmp_path)


@pytest.mark.parametrize("name", ["journal.db", "host-lock", "operator-token"])
def test_a_link_in_place_of_a_file_is_refused_and_its_target_is_left_alone(tmp_path, name):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / name).symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match="is a link to"):
        state_folder(tmp_path / "state")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("address", ["*", "::", ""])
def test_all_addresses_are_those_of_both_families(address):
    sockets = bind_tcp(address, 0)
    try:
        families = {one.family for one in sockets}
        assert socket.AF_INET in families
        assert len({one.getsockname()[1] for one in sockets}) == 1
    finally:
        for one in sockets:
            one.close()


def test_an_address_that_the_machine_lacks_is_left_out_while_another_can_be_bound(monkeypatch):
    """A container's /etc/hosts names ::1 for localhost where there is no IPv6; 192.0.2.1 is nobody's address."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keys: found)
    (one,) = bind_tcp("localhost", 0)
    assert one.getsockname()[0] == "127.0.0.1"
    one.close()
    del found[1]
    with pytest.raises(OSError, match="cannot listen on localhost"):
        bind_tcp("localhost", 0)
