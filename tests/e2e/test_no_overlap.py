"""A plugin with a port of its own is reloaded with `overlap = no`; the events that come meanwhile wait."""

from __future__ import annotations

import pytest
from tests.e2e.site import free_port

PLUGINS = """
import socket, time
class Rules(Settings):
    port: int
    text: str
class Listens(Plugin[Rules]):
    def open(self):
        self.held = socket.create_server(("127.0.0.1", self.settings.port))
    def close(self):
        self.held.close()
    def handle(self, event):
        if event.task_id == 1:
            (self.folder / "runs").write_text("yes")
            time.sleep(1.5)
        return self.settings.text
"""


@pytest.mark.parametrize("run", ["auto", "process"])
def test_a_plugin_with_a_port_of_its_own_is_reloaded_when_the_old_one_is_closed(site, run):
    port = free_port()
    keys = f"plugin = Listens; overlap = no; run = {run}; port = {port}; text = "
    host = site(PLUGINS, f"one: {keys}old").start()
    assert host.deliver("one", task=2, comment=2).text == "old"
    slow = host.deliver_later("one", task=1, comment=1)
    host.until(lambda: list(host.folder.rglob("runs")))
    host.write(PLUGINS, f"one: {keys}new")
    host.said("reloaded: 1 bot; changed: one")
    assert host.deliver("one", task=3, comment=3).text == "new"
    assert slow.result().text == "old"
    assert host.stop() == 0
    assert not [line for line in host.lines() if line["level"] == "error"]
