"""What a plugin does to the loop that all share: the other bots do not notice."""

from __future__ import annotations

import json
import urllib.request

import pytest
from tests.e2e.site import free_port

PLUGINS = """
import asyncio, pathlib, time
HERE = pathlib.Path(__file__).parent
async def cancels(event):
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    return "cleaned up"
async def stops(event):
    asyncio.get_running_loop().stop()
    return "stopped"
async def fills(event):
    await asyncio.gather(*[asyncio.to_thread(time.sleep, 20) for _ in range(40)])
async def slow(event):
    (HERE / f"began-{event.task_id}").write_text("yes")
    await asyncio.sleep(1)
    return "slow"
async def greet(event):
    return "hello"
"""
BOTS = """
cancels: plugin = cancels
stops: plugin = stops
fills: plugin = fills; answer_within = 1s; login = bot@x; api_url = http://127.0.0.1:9
slow: plugin = slow
other: plugin = greet
own: plugin = greet; run = process
"""


@pytest.mark.full
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_plugin_that_cleans_up_what_is_not_its_own_hurts_no_other(site, loop):
    page = free_port()
    host = site(PLUGINS, BOTS, f"operator_port = {page}\ndrain = 1s\n").start({"BOTHOST_LOOP": loop})
    for task, (plugin, said) in enumerate({"cancels": "cleaned up", "stops": "stopped"}.items(), 1):
        running = host.deliver_later("slow", task=task, comment=1)
        host.wrote(f"began-{task}")
        assert host.deliver(plugin, comment=1).text == said
        assert running.result(10).status in {200, 500}
        assert host.deliver("slow", task=task, comment=1, attempt="2/3").text == "slow"
        assert host.deliver("own", task=task, comment=1).text == "hello"
        assert host.deliver("other", task=task, comment=1).text == "hello"
    assert host.deliver("fills", comment=1).status == 200
    ini = host.folder / "bots.ini"
    ini.write_text(ini.read_text().replace("[bot:other]", "[bot:another]"))
    host.said("reloaded:", 10)
    host.until(lambda: host.deliver("another", comment=3).status == 200, 10)
    assert host.deliver("another", comment=2).text == "hello"
    assert readiness(page)["loops_down"] == []
    host.said("a plugin has stopped the event loop, which goes on")
    assert host.stop() == 0


def readiness(port: int) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
        return json.loads(answer.read())
