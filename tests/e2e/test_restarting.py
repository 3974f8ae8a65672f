"""`bothost restart BOT`: a bot's plugin is closed and opened anew, and nothing that waits for it is lost."""

from __future__ import annotations

PLUGINS = """
import os, pathlib, time
HERE = pathlib.Path(__file__).parent
class Opened(Plugin):
    def open(self):
        if (HERE / "broken").exists():
            raise RuntimeError("the licence is gone")
        self.number = len(list(HERE.glob("open-*")))
        (HERE / f"open-{self.number}").write_text("yes")
    def close(self):
        (HERE / f"closed-{self.number}").write_text("yes")
    async def handle(self, event):
        return f"instance {self.number}"
async def child(event):
    return f"process {os.getpid()}"
def hangs(event):
    if event.task_id == 1:
        (HERE / "hangs").write_text("yes")
        while not (HERE / "go").exists():
            time.sleep(0.02)
    (HERE / f"ran-{event.task_id}").write_text("yes")
    return "free"
"""
BOTS = """
one: plugin = Opened
child: plugin = child; run = process
hangs: plugin = hangs; concurrency = 1; timeout = 1s
off: plugin = child; enabled = no
"""


def test_a_restart_opens_a_bot_anew_and_says_what_came_of_it(site):
    host = site(PLUGINS, BOTS).start()
    assert host.deliver("one", comment=1).text == "instance 0"
    (told,) = host.command("restart", "one")["done"].values()
    assert told == "restarted"
    assert host.deliver("one", comment=2).text == "instance 1"
    assert host.wrote("closed-0")
    before = host.deliver("child", comment=1).text
    host.command("restart", "child")
    assert host.deliver("child", comment=2).text not in ("", before)
    # a new instance that does not open leaves the old one in service, and says why
    (host.folder / "broken").write_text("yes")
    (told,) = host.command("restart", "one", code=1)["done"].values()
    assert "not restarted: the old instance stays" in told
    assert "the licence is gone" in told
    assert host.deliver("one", comment=3).text == "instance 1"
    (told,) = host.command("restart", "off", code=1)["done"].values()
    assert told == "not restarted: it is off: enabled = no"
    assert "did you mean 'child'" in host.command("restart", "chlid", code=2)["error"]
    line = host.said("restart: restarted")
    assert (line["bot"], "on the command line" in line["by"]) == ("one", True)
    assert host.stop() == 0


def test_a_stuck_bot_serves_again_after_a_restart_and_what_waited_runs(site):
    host = site(PLUGINS, BOTS).start()
    late = host.deliver_later("hangs", task=1, comment=1)
    host.wrote("hangs")
    host.said("stuck: every permit (1)")
    assert late.result().status == 500
    assert host.deliver("hangs", task=2, comment=1).status == 503
    assert host.deliver("hangs", task=3, comment=1, attempt="3/3").body == b"{}"
    host.command("restart", "hangs")
    assert host.deliver("hangs", task=2, comment=1, attempt="2/3").text == "free"
    assert host.wrote("ran-3")
    (host.folder / "go").write_text("yes")
    host.said("a call past its time has ended")
    assert host.deliver("hangs", task=4, comment=1).text == "free"
    assert host.stop() == 0
