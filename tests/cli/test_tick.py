"""`tick` names what is near where it finds no bot, no timer or no time."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bothost.cli.commands import run
from bothost.cli.host_client import ticked_at_host
from bothost.config import read


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["remindr", "remind"], "did you mean 'reminder'?"),
        (["reminder", "remined"], "did you mean 'remind'?"),
        (["greets", "remind"], "its plugin 'autoreply' has none"),
        (["reminder", "remind", "--at", "soon"], "--at 'soon' is no time"),
    ],
)
def test_what_cannot_tick_says_what_is_near(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    ini = tmp_path / "bots.ini"
    ini.write_text(
        "[bot:reminder]\nplugin = reminder\nsecret = a-key-for-trials-only\nform = 5\n"
        "[bot:greets]\nplugin = autoreply\nsecret = a-key-for-trials-only-2\n"
    )
    ini.chmod(0o600)
    assert run(["tick", *words, "--config", str(ini)]) == 2
    assert part in capsys.readouterr().err


def test_a_host_that_gives_no_answer_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ini = tmp_path / "bots.ini"
        ini.write_text(
            f"[host]\noperator_port = {silent.getsockname()[1]}\noperator_token = operator-token-0123456789\n"
        )
        host = read(ini, {}).host
        assert host is not None
        assert ticked_at_host(host, "one", "daily", datetime.now(UTC), 0.2) is None
    assert "gave no answer within 0.2 s, so what only it knows is missing here" in capsys.readouterr().err
