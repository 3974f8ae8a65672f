"""Acknowledged events of a bot that was renamed are told of at once, and moved to the new name."""

from __future__ import annotations

import subprocess
import sys

from tests.e2e.test_reload import ini, rewrite, until_reloaded

PLUGINS = """
import asyncio, pathlib
HERE = pathlib.Path(__file__).parent
async def slow(event):
    (HERE / "began").write_text("yes")
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    return None
"""


def test_events_of_a_renamed_bot_are_said_and_moved_and_run_there(site):
    host = site(PLUGINS, "one: plugin = slow; answer_within = 1s; concurrency = 1; login = bot@x").start()
    running = host.deliver_later("one", task=71, comment=1)
    host.wrote("began")
    assert host.deliver("one", task=72, comment=2).status == 200  # parked: acknowledged, and not begun
    assert running.result().status == 200
    rewrite(host, ini(host).replace("[bot:one]", "[bot:uno]"))
    until_reloaded(host, 1)
    line = host.said("which is not in bots.ini")
    assert line["bot"] == "one"
    assert "deliveries move --from one --to NEW" in line["message"]
    found = subprocess.run(
        [sys.executable, "-m", "bothost", "doctor", "--config", str(host.folder / "bots.ini")],
        capture_output=True, text=True, check=False, env=host.environment(),
    )  # fmt: skip
    assert "events of one" in found.stdout
    told = host.command("deliveries", "move", "--from", "one", "--to", "uno")
    assert told["moved"] == 1
    (host.folder / "go").write_text("yes")
    host.until(
        lambda: (
            {"uno:72:comment:2": "answered"}.items()
            <= {one["id"]: one["state"] for one in host.command("deliveries", "list")}.items()
        )
    )
    assert host.stop() == 0
