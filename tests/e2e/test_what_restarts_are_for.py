"""A plugin that does not open is shown with its traceback, and one that was upgraded meanwhile in the same words everywhere."""

from __future__ import annotations

import pytest
from tests.e2e.site import free_port

PLUGINS = """
def deeper():
    raise OSError("no such service")
class OnLoop(Plugin):
    async def open(self):
        deeper()
class InThread(Plugin):
    def open(self):
        deeper()
def fine(event):
    return "x"
"""
BOTS = """loop: plugin = OnLoop
thread: plugin = InThread
process: plugin = OnLoop; run = process
fine: plugin = fine"""


@pytest.mark.full
def test_a_failed_open_is_told_with_its_line_and_an_upgrade_in_the_same_words_everywhere(site):
    options = f"operator_port = {free_port()}\noperator_token = a token of the operator's, for tests"
    host = site(PLUGINS, BOTS, options).start()
    line = next(
        n for n, text in enumerate((host.folder / "handlers.py").read_text().splitlines(), 1) if "raise" in text
    )
    place = f"{host.folder}/handlers.py"
    assert host.deliver("process", task=5, comment=1).status >= 500, "its process opens the plugin for the first event"
    for bot in ("loop", "thread", "process"):
        said = host.until(
            lambda bot=bot: [one for one in host.lines() if one.get("bot") == bot and one["level"] == "error"]
        )
        assert "open raised OSError: no such service" in said[0]["message"]
        assert f"{place}:{line}" in said[0]["message"]
        assert f'File "{place}", line {line}, in deeper' in said[0]["trace"]
    for bot in ("loop", "process"):
        shown = host.text("bots", bot)
        assert f"{place}:{line}" in "".join(shown.split()), "a long reason is folded"
        assert f'File "{place}", line {line}, in deeper' in shown

    info = host.folder / "handlers-1.0.dist-info" / "METADATA"
    info.write_text(info.read_text().replace("Version: 1.0", "Version: 2.0"))
    words = "installed 2.0, running 1.0: restart"
    assert words in host.text("bots", "fine")
    assert [words in row["problem"] for row in host.command("plugins", code=1) if row["plugin"] == "fine"] == [True]
    assert [words in one["text"] for one in host.command("doctor", code=1)["checks"] if one["check"] == "bot fine"] == [
        True
    ]
    assert f"fine: {words}" in host.command("reload", "--wait")["notes"]
    assert host.said(f"plugin fine: {words}")["level"] == "warning"
    assert host.stop() == 0
