"""systemd's own judgement of the unit and the socket, and a host that systemd's own activator starts."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.deploy.front import DEPLOY
from tests.e2e.site import SECRET, free_port

from bothost.config.values import HostConfig

pytestmark = pytest.mark.full

EXPOSURE_AT_MOST = 20
"""systemd's score is 0 (safe) to 100; a service without any hardening has 96."""


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copies of both, with a program that exists here."""
    for name in ("bothost.service", "bothost.socket"):
        text = (DEPLOY / name).read_text().replace("/opt/bothost/bin/bothost", sys.executable)
        tmp_path.joinpath(name).write_text(text.replace("file:///opt/bothost/docs/operator-guide.md", "man:systemd(1)"))
    return tmp_path


def setting(name: str, key: str) -> str:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(DEPLOY / name)
    return next(parser[section][key] for section in parser.sections() if key in parser[section])


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze: apt install systemd")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_the_unit_and_its_socket(units):
    done = analyze("verify", "--recursive-errors=no", units / "bothost.service", units / "bothost.socket")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_units_exposure_is_low(units):
    done = analyze("security", "--offline=yes", f"--threshold={EXPOSURE_AT_MOST}", units / "bothost.service")
    assert done.returncode == 0, done.stdout[-1500:]
    assert re.search(r"Overall exposure level for bothost.service: [\d.]+ OK", done.stdout)


def test_systemd_waits_longer_than_the_host_drains():
    assert int(setting("bothost.service", "TimeoutStopSec")) == HostConfig.__dataclass_fields__["drain_s"].default + 20
    assert setting("bothost.service", "KillMode") == "mixed"
    assert setting("bothost.service", "Type") == "notify"
    assert setting("bothost.service", "UMask") == "0077"
    assert setting("bothost.service", "LimitNOFILE") == "65536"
    assert setting("bothost.socket", "FileDescriptorName") == "public"


def test_a_host_started_by_systemds_activator_serves_on_its_socket_and_keeps_its_secret_in_a_credential(
    make_host, tmp_path
):
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("needs systemd-socket-activate: apt install systemd")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    credentials.joinpath("one-secret").write_text(SECRET + "\n")
    port = free_port()
    host = make_host(bots="one: plugin = greet; secret = file:one-secret", host="port = 1\n")
    environment = [f"--setenv={name}" for name in ("PYTHONPATH", "CREDENTIALS_DIRECTORY", "PATH")]
    host.prefix = [program, f"--listen=127.0.0.1:{port}", "--fdname=public", *environment]
    host.launch({"CREDENTIALS_DIRECTORY": str(credentials)})
    host.port = port
    # the activator starts the host at the first connection
    host.said(f"Listening on 127.0.0.1:{port}")
    assert host.deliver("one").text.endswith("from a@example.com")
    assert os.path.exists(host.folder / "state")
