"""`bothost tick` runs a timer once: on the running host, beside one whose page cannot be asked, or in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.e2e.site import free_port

PLUGINS = r"""
class Rules(Settings):
    key: Secret
class Clockwork(Plugin[Rules]):
    @cron("0 0 1 1 *")
    async def yearly(self, tick):
        self.log.info("due %s with %s", tick.due.isoformat(), self.settings.key.reveal())
        print("printed")
        await self.store.add("ticks", 1)
    @cron("0 0 1 1 *")
    def breaks(self):
        raise ValueError("on purpose")
"""
BOTS = "clock: plugin = Clockwork; key = a-key-that-nobody-may-see"
AT = "2026-03-02T09:00+03:00"


def tick(host, *words):
    """What `bothost tick` says, and its exit code."""
    command = [sys.executable, "-m", "bothost", "tick", *words, "--config", str(host.folder / "bots.ini")]
    env = {**os.environ, "PYTHONPATH": str(host.folder)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.full
def test_a_timer_is_run_by_hand_on_the_host_and_without_one(site):
    options = f"operator_port = {free_port()}\noperator_token = a token of the operator's, for tests"
    host = site(PLUGINS, BOTS, options).start()
    for number in (1, 2):  # the same tick again is a new one
        told = json.loads(tick(host, "clock", "yearly", "--at", AT, "--json").stdout)
        assert (told["state"], told["error"]) == ("answered", "")
        assert "due 2026-03-02T06:00:00+00:00 with •••" in "".join(told["lines"])
        assert host.text("store", "get", "clock", "ticks").strip() == str(number)
    failed = tick(host, "clock", "breaks")
    assert failed.returncode == 1
    assert "[bot:clock] timer breaks raised ValueError: on purpose" in failed.stdout
    assert "handlers.py" in failed.stdout
    assert host.command("deliveries", "list", "--kind", "timer")[0]["state"] == "failed"
    host.command("pause", "clock")
    host.until(lambda: [row["state"] for row in host.command("bots") if row["bot"] == "clock"] == ["paused"])
    paused = tick(host, "clock", "yearly")
    assert (paused.returncode, "is paused" in paused.stderr) == (1, True), paused.stderr
    assert host.stop() == 0

    alone = tick(host, "clock", "yearly", "--at", AT)
    assert alone.returncode == 0, alone.stderr
    assert "due 2026-03-02T06:00:00+00:00 with •••" in alone.stdout
    assert "clock yearly: ran in" in alone.stdout
    assert "printed" in alone.stderr
    assert host.text("store", "get", "clock", "ticks").strip() == "3"


@pytest.mark.full
def test_where_another_worker_ran_the_timer_the_command_says_whose_log_has_its_lines(site):
    options = f"processes = 2\noperator_port = {free_port()}\noperator_token = a token of the operator's, for tests"
    host = site(PLUGINS, BOTS, options)
    host.launch()
    host.said("all 2 workers serve")
    here = elsewhere = None
    while here is None or elsewhere is None:  # either worker may be asked, and either may run it
        told = json.loads(tick(host, "clock", "yearly", "--at", AT, "--json").stdout)
        if told["elsewhere"]:
            elsewhere = told
        else:
            here = told
    assert "due 2026-03-02T06:00:00+00:00 with •••" in "".join(here["lines"])
    assert (elsewhere["state"], elsewhere["lines"]) == ("answered", [])
    pids = {row["pid"] for row in host.command("hosts")}
    assert int(elsewhere["elsewhere"].rpartition(":")[2]) in pids
    assert host.stop() == 0
