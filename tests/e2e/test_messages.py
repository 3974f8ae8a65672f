"""What an operator is told, in one life of a host: which bots a reload changed, replies that were not posted, who retried."""

from __future__ import annotations

import pytest
from tests.e2e.site import free_port

pytestmark = pytest.mark.full

PLUGINS = """
import asyncio, pathlib
HERE = pathlib.Path(__file__).parent
async def greet(event):
    if event.task_id == 7 and not (HERE / "mended").exists():
        raise ValueError("not yet")
    return "hello"
async def late(event):
    await asyncio.sleep(2.0)
    return "late"
"""


def test_what_a_reload_did_what_was_not_posted_and_who_retried(site, playing):
    bots = f"one: plugin = greet\ntwo: plugin = greet; on_error = ignore; api_url = {playing.url}\ngone: plugin = greet\nbare: plugin = late; answer_within = 1s; api_url = {playing.url}"
    host = site(PLUGINS, bots, f"operator_port = {free_port()}").start()
    assert host.deliver("bare", task=playing.task(), comment=1).body == b"{}"
    line = host.said("reply NOT posted: bare has no login; set it, then bothost deliveries retry bare:")
    assert line["event"].startswith("bare:")
    # a reload names the bots: changed, added, removed, kept and why
    ini = host.folder / "bots.ini"
    text = (
        ini.read_text()
        .replace("[bot:gone]", "[bot:new]")
        .replace("[bot:one]\nplugin = greet", "[bot:one]\nplugin = gret")
    )
    ini.write_text(text.replace("[bot:two]", "[bot:two]\nconcurrency = 3"))
    said = host.said("reloaded: ")["message"]
    assert said == "reloaded: 4 bots; changed: two; added: new; removed: gone; kept as they were: one"
    assert "gret" in host.said("keeps its old version")["message"]
    # a failed event that is retried by hand: the log and the history say who
    assert host.deliver("two", task=7, comment=1, attempt="3/3").body == b"{}"
    (host.folder / "mended").write_text("yes")
    key = "two:7:comment:1"
    host.command("deliveries", "retry", key)
    line = host.said("run again by hand, asked by ")
    assert (line["event"], line["message"].endswith("on the command line")) == (key, True)
    steps = host.until(lambda: len(found := host.command("deliveries", "show", key)["history"]) > 4 and found)
    told = [(step["what"], step["number"], step["outcome"].partition(" (")[0]) for step in steps]
    assert told[:4] == [
        ("arrived", 1, ""),
        ("run", 1, "[bot:two] greet raised ValueError: not yet"),
        ("retried", "", ""),
        ("run", 2, "replied"),
    ]
    assert steps[2]["who"] in line["message"]
    lines = [line for line in host.lines() if line.get("task") == 7 or key in line["message"]]
    assert [line for line in lines if line.get("event") != key] == [], "every line of an event has its id"
    assert host.stop() == 0
