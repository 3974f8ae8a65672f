"""Closed and odd standard streams: each command goes on, and what a host opens never takes their numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

INI = "[host]\nport = 0\noperator_port = 0\n"
PROBE = (
    "import os, sys; from bothost.cli import open_standard_streams as o; o(); sys.stderr.write('x'); print('y'); "
    + ("os.write(9, repr([os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]).encode())")
)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_becomes_dev_null_and_nothing_else(tmp_path, closed):
    command = f'exec {sys.executable} -c "$PROBE" 9>{tmp_path}/seen {closed}'
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "PROBE": PROBE}, check=False, input=b"", capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "seen").read_text().count("/dev/null") == closed.count("&-")


def test_a_host_serves_without_any_standard_stream(tmp_path):
    (tmp_path / "bots.ini").write_text(INI)
    (tmp_path / "bots.ini").chmod(0o600)
    host = subprocess.Popen(
        ["bash", "-c", f"exec {sys.executable} -m bothost serve <&- >&- 2>&-"], cwd=tmp_path, env=os.environ
    )
    try:
        while not (tmp_path / "state" / "journal.db").exists():
            assert host.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                host.wait(0.05)
        assert [os.readlink(f"/proc/{host.pid}/fd/{number}") for number in (0, 1, 2)] == ["/dev/null"] * 3
    finally:
        host.terminate()
        assert host.wait(30) == 0
