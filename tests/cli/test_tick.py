"""`tick` names what is near where it finds no bot, no timer or no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothost.cli.commands import run


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
