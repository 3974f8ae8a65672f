"""The state folder's rules, and how many connections a file limit leaves."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bothost.errors import ConfigError
from bothost.host.process_setup import connections, state_folder


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
        assert told == f"[host] state: uid {uid} may not write into {name}, which belongs to uid {folder.stat().st_uid}"


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
        "import os, sys; print(prepare_process(), resource.getrlimit(resource.RLIMIT_NOFILE)[0],"
        " oct(os.umask(0)), sys.getswitchinterval())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, env=os.environ)
    assert run.stdout.split() == ["900", "900", "0o77", "0.001"]
