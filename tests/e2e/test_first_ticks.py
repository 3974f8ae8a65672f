"""Timers tick from the moment their bot comes into service, whatever brought it there."""

from __future__ import annotations

PLUGINS = r"""
class Clockwork(Plugin):
    @every("1s")
    def often(self, tick):
        self.log.info("tick of %s", self.bot)
    def handle(self, event):
        return "x"
"""


def test_timers_tick_after_a_start_a_reload_and_a_resume(site):
    host = site(PLUGINS, "one: plugin = Clockwork").start()
    host.said("tick of one", 15)
    host.write(PLUGINS, "one: plugin = Clockwork\ntwo: plugin = Clockwork")
    host.said("tick of two", 15)
    host.command("pause", "one")
    host.said("paused")
    before = len(ticks(host))
    host.command("resume", "one")
    host.said("resumed")
    host.until(lambda: len(ticks(host)) > before + 1, 15)
    assert host.stop() == 0


def ticks(host):
    return [line for line in host.lines() if line["message"] == "tick of one"]
