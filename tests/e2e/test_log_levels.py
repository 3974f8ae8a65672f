"""What a host logs by its level, and what the lines of plugins and timers carry."""

from __future__ import annotations

import signal

import pytest

PLUGINS = r"""
import logging
class OnLoop(Plugin):
    async def handle(self, event):
        self.log.debug("seen %s", event.comment.text)
        logging.getLogger("a.package").debug("of a package")
        return "x"
    @hook("page", anyone, methods=("GET",))
    async def page(self, request):
        self.log.info("page")
        return "x"
class InThread(Plugin):
    def handle(self, event):
        self.log.debug("seen %s", event.comment.text, extra={"step": 2})
        return "x"
class Ticks(Plugin):
    @every("1s")
    async def often(self):
        self.log.info("often")
    @every("1s")
    def fails(self):
        raise ValueError("on purpose")
"""
BOTS = (
    "loop: plugin = OnLoop\nthread: plugin = InThread\nprocess: plugin = InThread; run = process\nticks: plugin = Ticks"
)


def of(host, bot, message):
    return next((line for line in host.lines() if line.get("bot") == bot and line["message"] == message), None)


def test_lines_of_handlers_name_event_and_task_and_a_reload_changes_the_level(site):
    host = site(PLUGINS, BOTS, "log_level = debug\n").start()
    for number, bot in enumerate(("loop", "thread", "process")):
        assert host.deliver(bot, task=5, comment=number + 1).text == "x"
        line = host.until(lambda bot=bot: of(host, bot, "seen hi"))
        assert (line["level"], line["logger"]) == ("debug", "bothost.plugin")
        assert (line["task"], line["event"]) == (5, f"{bot}:5:comment:{number + 1}")
        assert line.get("step") == (None if bot == "loop" else 2)
    assert host.said("of a package")["level"] == "debug"

    often = host.until(lambda: of(host, "ticks", "often"))
    assert often["event"].startswith("timer:ticks:often:")
    assert "task" not in often
    ran = host.until(lambda: [line for line in host.lines() if line["message"].startswith("timer often")])[0]
    assert (ran["level"], ran["bot"], ran["timer"], ran["outcome"]) == ("info", "ticks", "often", "ran")
    assert ran["due"].endswith("+00:00")
    assert ran["ms"] >= 0
    failed = host.until(lambda: [line for line in host.lines() if line["message"].startswith("timer fails")])[0]
    assert failed["outcome"] == "failed"

    ini = host.folder / "bots.ini"
    ini.write_text(ini.read_text().replace("log_level = debug", "log_level = warning"))
    host.until(lambda: {line["level"] for line in host.lines()[-2:]} == {"error"})
    before = len(host.lines())
    assert host.deliver("loop", task=6, comment=9).text == "x"
    host.until(lambda: len(host.lines()) > before)
    assert {line["level"] for line in host.lines()[before:]} == {"error"}
    assert host.stop() == 0


@pytest.mark.full
def test_the_command_line_sets_the_level_before_the_file_does_in_every_worker(site):
    host = site(PLUGINS, BOTS, "log_level = warning\nprocesses = 2\n")
    host.options = ["--log-level", "debug"]
    host.start()
    host.tell(signal.SIGHUP)
    host.said("reloaded")
    assert host.deliver("loop", task=5, comment=1).text == "x"
    assert host.until(lambda: of(host, "loop", "seen hi"))["level"] == "debug"
    assert host.stop() == 0
