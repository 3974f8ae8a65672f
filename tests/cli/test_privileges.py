"""What a command says of files that it may not use, and of a database without a journal."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.postgres_server import PostgresServer

from bothost.cli.commands import run
from bothost.cli.privileges import explained
from bothost.text import user_name


def test_a_refusal_names_the_folders_owner_and_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bothost", "deliveries", "list"])
    owner = pwd.getpwuid(os.geteuid()).pw_name
    told = explained(tmp_path / "never" / "there")
    assert told.startswith(f"{tmp_path} belongs to {owner}, and this command runs as {owner}")
    assert told.endswith(f"sudo -u {owner} bothost deliveries list")


@pytest.mark.full
def test_a_database_without_a_journal_says_whose_environment_to_use(
    tmp_path: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ini = tmp_path / "bots.ini"
    ini.write_text(f"[host]\njournal = {postgres.new_database()}\n")
    ini.chmod(0o600)
    assert run(["deliveries", "list", "--config", str(ini)]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "this database holds no journal yet" in told
    assert "run this command with the service's environment" in told


def test_a_configuration_that_may_not_be_read_names_its_owner(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # outside tmp_path, whose parents only their owner may pass
        os.chmod(name, 0o755)
        ini = Path(name) / "bots.ini"
        ini.write_text("[host]\n")
        ini.chmod(0o000)
        code = (
            "import os, sys; from bothost.config import read\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"
            "print(read(sys.argv[1], {}).all_problems()[0].text)"
        )
        told = subprocess.run([sys.executable, "-c", code, str(ini)], capture_output=True, check=True, text=True).stdout
    ours = user_name(65534 if os.geteuid() == 0 else os.geteuid())
    assert f"cannot be read: it belongs to {user_name(os.geteuid())}, and {ours} may not read it" in told
